"""Losses and gradients of many networks at once: what one update of the training loop needs.

`gradients_for` chooses the way: written out for plain ReLU networks, where the matrix products are
then all that takes time; `torch.func` and autograd for any other.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from memhelpers.engine.ensemble import Ensemble, Weights
from memhelpers.engine.perturbations import Noise, all_perturbed
from memhelpers.engine.templates import is_plain_mlp
from memhelpers.errors import ArgumentError

# Gradients of each member's mean loss, parameter by parameter; each may be changed at once.
NamedGradients = Iterator[tuple[str, Tensor]]
# Losses [m, b] in nats, logits [m, b, classes], and the gradients.
Found = tuple[Tensor, Tensor, NamedGradients]
# Of logits [m, b, classes] and labels [m, b], the losses [m, b] whose mean each member descends.
Loss = Callable[[Tensor, Tensor], Tensor]
# Of an ensemble of m, images [m, b, C, H, W], labels [m, b], the noise of this update, and a loss
# other than the cross-entropy.
Gradients = Callable[[Ensemble, Tensor, Tensor, Noise, Loss | None], Found]

# Not in PyTorch's documented interface, hence `None` where a version or a platform lacks it.
_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_SMALL_PRODUCT = 2**20  # multiplications; below, finding oneDNN's kernel takes longer than it saves


def gradients_for(network: nn.Module, precision: str) -> Gradients:
    """The fastest way at hand; in `bf16`, products are in bfloat16, the rest in float32."""
    return MlpGradients(network, precision) if is_plain_mlp(network) else by_autograd(precision)


def example_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of every example, in nats: [..., classes] and [...] give [...]."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    flat = cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="none")
    return flat.view(y.shape)


def checked_losses(loss: Loss, logits: Tensor, y: Tensor) -> Tensor:
    """What a caller's loss gives for logits in the precision of losses; an `ArgumentError` if it is
    not a number an example."""
    losses = loss(logits if logits.dtype == torch.float64 else logits.float(), y)
    if not isinstance(losses, Tensor) or losses.shape != y.shape:
        allowed = f"a function that returns the losses of all examples, {list(y.shape)}"
        raise ArgumentError("loss", getattr(losses, "shape", losses), allowed)
    return losses


def by_autograd(precision: str) -> Gradients:
    """Gradients of any network, through one stacked forward pass."""

    def gradients(
        ensemble: Ensemble, x: Tensor, y: Tensor, noise: Noise, loss: Loss | None = None
    ) -> Found:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = ensemble(x, training=True, noise=noise)
        losses = checked_losses(loss or example_losses, logits, y)
        weights = ensemble.parameters
        # The sum keeps the members apart: no gradient of one depends on another's loss.
        total, trained = losses.mean(1).sum(), list(weights.values())
        found = torch.autograd.grad(total, trained, allow_unused=True, materialize_grads=True)
        return losses.detach(), logits.detach(), zip(weights, found, strict=True)

    return gradients


class MlpGradients:
    """Gradients of plain ReLU networks, written out (see `templates.is_plain_mlp`).

    With a_0 the images and a_l = relu(a_{l-1} W_l' + b_l), the backward signal of the last layer is
    d_L = (softmax(z) - onehot(y)) / b; then dL/dW_l = d_l' a_{l-1}, dL/db_l = sum of d_l over the
    batch, and d_{l-1} = d_l W_l where a_{l-1} > 0. Buffers are used again at the next update, and
    each gradient is handed over at once, so that its weights are changed while both are still in
    the cache. Noise on the activations is differentiated by autograd, for itself.
    """

    def __init__(self, network: nn.Module, precision: str):
        names = [name for name, _ in network.named_parameters()]
        self.layers = list(zip(names[::2], names[1::2], strict=True))  # (weight, bias)
        self.dtype = torch.bfloat16 if precision == "bf16" else None
        self.ensemble: Ensemble | None = None
        self.weights: Weights = {}  # of this ensemble, in the type of the products
        self.room: dict[tuple, Tensor] = {}

    @torch.no_grad()
    def __call__(
        self, ensemble: Ensemble, x: Tensor, y: Tensor, noise: Noise, loss: Loss | None = None
    ) -> Found:
        """See `Gradients`; what is returned is overwritten by the next call."""
        if ensemble is not self.ensemble:
            self.ensemble, self.room = ensemble, {}
            self.weights = {k: self._rounded(w.detach()) for k, w in ensemble.parameters.items()}
        images = self._rounded(all_perturbed(x, 0, noise).flatten(2))
        activations = [(images, images)]  # before and after the noise
        for layer, (weight, bias) in enumerate(self.layers, start=1):
            w, shift = self.weights[weight].mT, self.weights[bias]
            z = self._product(weight, activations[-1][1], w, shift)
            if layer < len(self.layers):
                relu = z.relu_().detach()
                with torch.enable_grad():  # for the noise alone, which keeps a graph
                    a = all_perturbed(relu.requires_grad_(bool(noise)), layer, noise)
                activations.append((relu, a))
        losses, signal = _losses_by_logits(loss, z, y) if loss else _softmax_losses(z, y)
        return losses, z, self._backward(activations, signal.to(z.dtype))

    @torch.no_grad()
    def _backward(self, activations: list[tuple], signal: Tensor) -> NamedGradients:
        for weight, bias in reversed(self.layers):
            (relu, a), d = activations.pop(), signal
            if activations:
                signal = self._product(f"signal of {weight}", d, self.weights[weight])
            yield weight, self._widened(weight, self._product(f"gradient of {weight}", d.mT, a))
            yield bias, self._widened(bias, d.sum(1))
            if activations:
                if a is not relu:
                    (signal,) = torch.autograd.grad(a, (relu,), signal)
                signal.mul_(relu.sign_())  # the activations have served: their sign is ReLU's mask
            if self.dtype is not None:  # both have been changed meanwhile
                for name in (weight, bias):
                    self.weights[name].copy_(self.ensemble.parameters[name])

    def _rounded(self, value: Tensor) -> Tensor:
        return value if self.dtype is None else value.to(self.dtype)

    def _widened(self, name: str, gradient: Tensor) -> Tensor:
        """In the type of the weights, so that no later step has to make room for it."""
        if self.dtype is None:
            return gradient
        key = (f"widened gradient of {name}", *gradient.shape)
        if key not in self.room:
            self.room[key] = torch.empty_like(gradient, dtype=torch.float32)
        return self.room[key].copy_(gradient)

    def _product(self, name: str, a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
        """[m, i, j] times [m, j, k], plus a bias [m, k]; in the same place at each update."""
        if onednn_is_faster(a, b):
            return onednn_product(a[0], b[0], None if bias is None else bias[0])[None]
        shape = (len(a), a.shape[1], b.shape[2])
        if (name, *shape) not in self.room:
            self.room[name, *shape] = a.new_empty(shape)
        out = self.room[name, *shape]
        if len(a) > 1 and bias is not None:
            torch.baddbmm(bias[:, None], a, b, out=out)
        elif len(a) > 1:
            torch.bmm(a, b, out=out)
        elif bias is not None:
            torch.addmm(bias[0], a[0], b[0], out=out[0])
        else:
            torch.mm(a[0], b[0], out=out[0])
        return out


def _softmax_losses(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy [m, b], and the derivative of its mean over b by the logits."""
    log_p = (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(-1)
    labels = y[..., None]
    losses = -log_p.gather(-1, labels)[..., 0]
    signal = log_p.exp_()
    signal.scatter_add_(-1, labels, signal.new_full(labels.shape, -1.0))
    return losses, signal.div_(y.shape[1])


def _losses_by_logits(loss: Loss, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The same for any loss; autograd goes no further back than the logits."""
    with torch.enable_grad():
        logits = logits.detach().requires_grad_()
        losses = checked_losses(loss, logits, y)
        return losses.detach(), torch.autograd.grad(losses.mean(1).sum(), logits)[0]


def onednn_is_faster(a: Tensor, b: Tensor) -> bool:
    """Whether oneDNN takes a float32 product: MKL reaches half its rate on some processors."""
    alone = len(a) == 1 and a.dtype == torch.float32 and a.device.type == "cpu"
    return _ONEDNN is not None and alone and a.numel() * b.shape[2] > _SMALL_PRODUCT


def onednn_product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """[i, j] times [j, k], plus a bias [k]."""
    return _ONEDNN(a, b.T, bias, "none", [], "")
