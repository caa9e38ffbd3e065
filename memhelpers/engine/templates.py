"""What the engine must know of a template: its sizes, its initial weights, whether it is an MLP."""

from functools import partial

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

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
    flat = (layers[0].start_dim, layers[0].end_dim) == (1, -1)
    return flat and len(trained) == 2 * depth and not hooked


def parameter_count(network: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def dry_run(network: nn.Module, shape: Shape) -> tuple[int, int]:
    """The number of logits, and of all numbers that the layers put out for one image.

    The image passes on torch's meta device, where nothing is computed. The template is in
    evaluation mode from here on.

    Raises:
        ArgumentError: the network does not take an image of `shape`, or gives no [n, classes].
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
    except RuntimeError as error:
        given = f"one that fails on an image of shape {tuple(shape)}"
        raise ArgumentError("network", given, f"a network made for it ({error})") from error
    finally:
        for hook in hooks:
            hook.remove()
    if logits.dim() != 2:
        raise ArgumentError("network", f"output {tuple(logits.shape)}", "logits [n, classes]")
    return logits.shape[1], sum(outputs)


@torch.no_grad()
def initialize(network: nn.Module, generator: torch.Generator, scheme: str) -> None:
    """Draw all weights of `network` in place, on the CPU; biases 0, batch norm as the identity.

    Schemes are `glorot_uniform` (the default of Keras 1; the paper names none, a declared choice),
    `he_normal` and `lecun_normal`.

    Raises:
        ArgumentError: the scheme is unknown, or a layer is neither linear, convolution nor batch
            norm, random (its noise would have no seed of its own), or not on the CPU.
    """
    if away := {str(p.device) for p in network.parameters()} - {"cpu"}:
        raise ArgumentError("network", f"a template on {away}", "one on the CPU; its copies move")
    draw = INITIALIZATIONS[check_choice("init", scheme, INITIALIZATIONS)]
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            draw(module.weight, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, _BatchNorm):
            module.reset_parameters()  # and its running statistics
        elif list(module.parameters(recurse=False)) or isinstance(module, _DropoutNd):
            allowed = "Linear, Conv2d, BatchNorm, and layers without weights and noise"
            raise ArgumentError("network", type(module).__name__, allowed)


INITIALIZATIONS = {
    "glorot_uniform": nn.init.xavier_uniform_,
    "he_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
    "lecun_normal": partial(nn.init.kaiming_normal_, nonlinearity="linear"),
}
