"""Second derivatives of the mean loss along given directions, for many networks at once.

For a direction v in the space of the weights, the mean loss L(theta, x) of a batch has

    H v = d/dtheta <grad L, v>    and    M v = d/dx <grad L, v>,

the Hessian-vector product and its mixed companion, both the change of the gradients along v
(Pearlmutter 1994), here for k directions of each of m networks together.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

from memhelpers.engine.ensemble import Weights
from memhelpers.engine.templates import is_plain_mlp

# (weights [m, ...], x [m, b, ...], y [m, b], directions [m, k, ...])
#   -> (H v by name [m, k, ...], M v [m, b, k, d]) with d numbers an image
Products = Callable[[Weights, Tensor, Tensor, Weights], tuple[Weights, Tensor]]


def products(network: nn.Module) -> Products:
    """The fastest way at hand: by hand for a plain ReLU network, else by `torch.func`."""
    return MlpProducts(network) if is_plain_mlp(network) else general_products(network)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each example in nats, [n, classes] and [n] to [n]; twice differentiable."""
    return logits.logsumexp(-1) - logits.gather(-1, y[:, None])[:, 0]


def general_products(network: nn.Module) -> Products:
    """Second derivatives of any network in which each example has a loss of its own."""

    def of_one(weights: Weights, x: Tensor, y: Tensor, directions: Weights):
        def loss(weights: Weights, x: Tensor) -> Tensor:
            return cross_entropy(functional_call(network, weights, (x,)), y).mean()

        def gradients(weights: Weights) -> tuple[Weights, Tensor]:
            return grad(loss, argnums=(0, 1))(weights, x)

        return vmap(lambda v: jvp(gradients, (weights,), (v,))[1])(directions)

    def of_all(weights: Weights, x: Tensor, y: Tensor, directions: Weights):
        by_weights, by_image = vmap(of_one)(weights, x, y, directions)
        return by_weights, by_image.flatten(3).transpose(1, 2)

    return of_all


class MlpProducts:
    """The same for a plain ReLU network, written out: about ten matrix products a layer.

    With activations a_l = relu(z_l), z_l = a_{l-1} W_l' + b_l and backward signals d_l, each
    quantity q has a rate of change Rq along the direction (V_l, v_l); ReLU's mask does not move.
    Rates are kept as [m, b, k, units], so that every product is one batched matrix product.
    """

    def __init__(self, network: nn.Module):
        names = [name for name, _ in network.named_parameters()]
        self.layers = list(zip(names[::2], names[1::2], strict=True))  # (weight, bias)

    def __call__(self, weights: Weights, x: Tensor, y: Tensor, directions: Weights):
        """See `Products`."""
        inputs, rates, probabilities = self._forward(weights, x, directions)
        return self._backward(weights, directions, inputs, rates, probabilities, y)

    def _forward(self, weights: Weights, x: Tensor, directions: Weights):
        """Inputs a_{l-1} of each layer and their rates; the probabilities and the logits' rate."""
        a, rate = x.flatten(2), None
        inputs, rates = [], []
        for weight, bias in self.layers:
            inputs.append(a)
            rates.append(rate)
            w, v = weights[weight], directions[weight]
            z = torch.baddbmm(weights[bias][:, None], a, w.mT)
            moved = (a @ v.flatten(1, 2).mT).unflatten(2, v.shape[1:3])
            moved.add_(directions[bias][:, None])
            rate = moved if rate is None else moved.add_(_each(rate, w.mT))
            if weight != self.layers[-1][0]:  # no ReLU on the logits
                a, rate = z.relu(), rate * (z > 0).to(z.dtype)[:, :, None]
        return inputs, [*rates, rate], z.softmax(-1)

    def _backward(self, weights, directions, inputs, rates, p: Tensor, y: Tensor):
        batch = y.shape[1]
        signal = (p - nn.functional.one_hot(y, p.shape[-1])) / batch
        moved = (p[:, :, None] * rates[-1]).div_(batch)
        rate = moved.sub_(p[:, :, None] * moved.sum(-1, keepdim=True))
        products: Weights = {}
        backward = zip(self.layers[::-1], inputs[::-1], rates[-2::-1], strict=True)
        for (weight, bias), a, a_rate in backward:
            w, v = weights[weight], directions[weight]
            products[bias] = rate.sum(1)
            products[weight] = (rate.flatten(2).mT @ a).unflatten(1, rate.shape[2:])
            if a_rate is not None:
                crossed = (signal.mT @ a_rate.flatten(2)).unflatten(2, a_rate.shape[2:])
                products[weight] += crossed.transpose(1, 2)
            sideways = v.transpose(1, 2).flatten(2)  # [m, outputs, k * inputs]
            rate = _each(rate, w).add_((signal @ sideways).unflatten(2, (v.shape[1], -1)))
            signal = signal @ w
            if a_rate is not None:
                on = (a > 0).to(a.dtype)
                signal, rate = signal * on, rate * on[:, :, None]
        return products, rate


def _each(rate: Tensor, matrix: Tensor) -> Tensor:
    """[m, b, k, i] times [m, i, o] for every b and k."""
    return (rate.flatten(1, 2) @ matrix).unflatten(1, rate.shape[1:3])
