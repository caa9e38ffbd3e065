"""The networks of the book: templates, for which `initialize` draws each member's weights.

A template is an ordinary `torch.nn.Module` which takes images [n, C, H, W] and gives logits
[n, classes]. Any that is built of linear, convolution and batch-norm layers will do.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from memhelpers.engine.templates import Shape, dry_run, initialize, parameter_count
from memhelpers.errors import ArgumentError, check_positive_int


def mlp(shape: Shape, hidden: Sequence[int], classes: int) -> nn.Sequential:
    """Fully connected ReLU network of any depth and width.

    Counting up the hidden layers:

    - `mlp((1, 8, 8), [], 10)` is `[Flatten, Linear(64, 10)]`, a logistic regression;
    - `mlp((1, 8, 8), [32], 10)` is `[Flatten, Linear(64, 32), ReLU, Linear(32, 10)]`;
    - `mlp((1, 8, 8), [32, 16], 10)` is
      `[Flatten, Linear(64, 32), ReLU, Linear(32, 16), ReLU, Linear(16, 10)]`.

    Args:
        shape: (C, H, W) of one image; it is flattened.
        hidden: units of each hidden layer, first to last; empty for logistic regression.
        classes: number of logits.

    Source:
        Arpit et al. 2017, Secs. 3-4: `mlp((1, 28, 28), [4096, 4096], 10)`, 20,037,642 parameters;
        Sec. 3.2: `mlp((1, 14, 14), [16, 16], 10)`, 3,594 parameters.
    """
    if not isinstance(hidden, Sequence) or isinstance(hidden, str):
        raise ArgumentError("hidden", hidden, "a width for each hidden layer, such as [16, 16]")
    for width in hidden:
        check_positive_int("hidden", width)
    widths = [prod(_check_shape(shape)), *hidden, check_positive_int("classes", classes)]
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])  # no ReLU on the logits


def paper_cnn(shape: Shape, classes: int) -> nn.Sequential:
    """The paper's small AlexNet-style network; 1,170,386 parameters on 3x32x32 and 10 classes.

    Crop 2 pixels on each side, then twice 5x5 convolution of 200 channels, batch norm, ReLU and
    3x3 max pooling, then dense layers of 384 and 192 units with batch norm and ReLU. Padding and
    stride are not in the paper; here none and the pool's size (declared choice).

    Arguments and errors as in `mlp`; the images are at least 32x32.

    Source:
        Arpit et al. 2017, Sec. 2; Zhang et al. 2017, appendix A.
    """
    channels, height, width = _check_shape(shape)
    if min(height, width) < 32:
        raise ArgumentError("shape", shape, "images of at least 32x32 pixels")
    sides = [((side - 8) // 3 - 4) // 3 for side in (height, width)]
    return nn.Sequential(
        OrderedDict(
            crop=nn.ZeroPad2d(-2),
            features=nn.Sequential(
                *_convolution(channels, 200), *_convolution(200, 200), nn.Flatten()
            ),
            classifier=nn.Sequential(
                *_dense(200 * sides[0] * sides[1], 384),
                *_dense(384, 192),
                nn.Linear(192, check_positive_int("classes", classes)),
            ),
        )
    )


def _check_shape(shape: Shape) -> Shape:
    if not isinstance(shape, Sequence) or len(shape) != 3:
        raise ArgumentError("shape", shape, "(channels, height, width) of an image")
    return tuple(check_positive_int("shape", size) for size in shape)


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 5), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(3)]


def _dense(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
