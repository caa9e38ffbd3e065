"""What the engine must know of a template: its sizes, its initial weights, whether it is an MLP."""

from functools import partial
from math import prod

import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from memhelpers.errors import ArgumentError, check_choice

Shape = tuple[int, int, int]  # channels, height and width of an image


def is_plain_mlp(network: nn.Module) -> bool:
    """Whether it is as `mlp` gives it: flatten, then linear layers with ReLU between.

    Only that may be written out: no subclass, no hook, no frozen or shared parameter.
    """
    layers = list(network) if type(network) is nn.Sequential else []
    kinds = [type(layer) for layer in layers]
    depth = len(kinds) // 2
    if not depth or kinds != [nn.Flatten, nn.Linear, *[nn.ReLU, nn.Linear] * (depth - 1)]:
        return False
    trained = [p for p in network.parameters() if p.requires_grad]  # each once
    hooked = any(vars(m)[kind] for m in network.modules() for kind in vars(m) if "_hooks" in kind)
    return len(trained) == 2 * depth and not hooked


def parameter_count(network: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def check_template(network: object, shape: Shape, classes: int) -> None:
    """Make sure, before anything is trained, that an ensemble computes what the network does."""
    if not isinstance(network, nn.Module):
        raise ArgumentError("network", network, "a torch.nn.Module, as `networks.mlp` gives it")
    _check_weights(network)
    logits = dry_run(network, shape)[0]
    if logits < classes:
        raise ArgumentError("network", f"{logits} logits", f"one a class of the data ({classes})")
    weights = {k: p.expand(2, *p.shape) for k, p in network.named_parameters()}
    buffers = {k: b.expand(2, *b.shape).clone() for k, b in network.named_buffers()}
    images = torch.linspace(0, 1, 4 * prod(shape)).view(2, 2, *shape)
    images = images.to(next(iter(weights.values())).dtype)
    try:
        network.train()
        put_out = vmap(partial(functional_call, network))(weights | buffers, (images,))
    except Exception as error:  # whatever its layers raise
        said = str(error).partition("\n")[0].partition(". ")[0]
        allowed = "one that does the same for every image, without noise of its own (see `perturb`)"
        raise ArgumentError("network", f"one that cannot be stacked ({said})", allowed) from error
    finally:
        network.eval()
    if (put_out >= 0).all() and torch.allclose(put_out.sum(-1), torch.ones(2, 2).to(put_out)):
        allowed = "logits: the loss has the softmax in it"
        raise ArgumentError("network", "one that puts out probabilities", allowed)


def _check_weights(network: nn.Module) -> None:
    """Make sure that `initialize` can draw all weights, each has one name, and some are trained."""
    named = dict(network.named_parameters(remove_duplicate=False))
    if lazy := [name for name, parameter in named.items() if is_lazy(parameter)]:
        raise ArgumentError("network", f"lazy layers, such as {lazy[0]}", "sizes that are known")
    if away := {str(p.device) for p in named.values()} - {"cpu"}:
        raise ArgumentError("network", f"a template on {away}", "one on the CPU; its copies move")
    if not any(parameter.requires_grad for parameter in named.values()):
        raise ArgumentError("network", "no trained parameter", "at least one")
    if shared := named.keys() - dict(network.named_parameters()).keys():
        raise ArgumentError("network", f"shared weights, such as {min(shared)}", "no layer twice")
    for module in network.modules():
        own = dict(module.named_parameters(recurse=False)).keys()
        if isinstance(module, nn.Linear | nn.Conv2d):
            known = own in ({"weight"}, {"weight", "bias"})
        else:
            known = isinstance(module, _BatchNorm) or not own
        if not known or isinstance(module, _DropoutNd):
            allowed = "Linear, Conv2d, BatchNorm, and layers without weights and noise of their own"
            raise ArgumentError("network", type(module).__name__, allowed)


@torch.no_grad()
def dry_run(network: nn.Module, shape: Shape) -> tuple[int, int]:
    """The number of logits, and of all numbers that the layers put out for one image.

    The image passes on torch's meta device, where nothing is computed. The template is in
    evaluation mode from here on. An `ArgumentError` says what it does not take, or give.
    """
    outputs: list[int] = []
    layers = [module for module in network.modules() if not list(module.children())]
    hooks = [
        m.register_forward_hook(lambda *seen: outputs.append(seen[-1].numel())) for m in layers
    ]
    state = {k: v.to("meta") for k, v in network.state_dict().items()}
    image = torch.empty(1, *shape, device="meta", dtype=next(network.parameters()).dtype)
    try:
        logits = functional_call(network.eval(), state, (image,))
    except Exception as error:  # whatever its layers raise
        said = str(error).partition("\n")[0]
        given = f"one that fails on an image of shape {tuple(shape)} ({said})"
        allowed = "one made for it, whose tensors are parameters or buffers and decide no branch"
        raise ArgumentError("network", given, allowed) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2:
        shown = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ArgumentError("network", f"output {shown}", "logits [n, classes]")
    return logits.shape[1], sum(outputs)


@torch.no_grad()
def initialize(network: nn.Module, generator: torch.Generator, scheme: str) -> None:
    """Draw all weights of `network` in place, on the CPU; biases 0, batch norm as the identity.

    Layers that are frozen as a whole keep the weights that they have. Schemes are `glorot_uniform`
    (the default of Keras 1; the paper names none, a declared choice), `he_normal`, `lecun_normal`.

    Raises:
        ArgumentError: the scheme is unknown, or a layer has weights or noise of another kind.
    """
    _check_weights(network)
    draw = INITIALIZATIONS[check_choice("init", scheme, INITIALIZATIONS)]
    for module in network.modules():
        frozen = not any(p.requires_grad for p in module.parameters(recurse=False))
        if frozen and list(module.parameters(recurse=False)):
            continue  # its weights are the reader's, such as trained ones
        if isinstance(module, nn.Linear | nn.Conv2d):
            draw(module.weight, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, _BatchNorm):
            module.reset_parameters()  # and its running statistics


INITIALIZATIONS = {
    "glorot_uniform": nn.init.xavier_uniform_,
    "he_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "lecun_normal": partial(nn.init.kaiming_normal_, nonlinearity="linear"),
}
