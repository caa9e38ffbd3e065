"""The same networks in JAX: compiled, scanned over the batches, and `vmap` over the networks.

In bfloat16 the images and a copy of the weights are rounded for the products; the weights
themselves, their updates and the losses stay float32.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from memhelpers.data import Dataset

Weights = list[tuple[jax.Array, jax.Array]]

# What a product of bfloat16 numbers is kept as. XLA sums in float32 anyway. On a CPU it is faster
# where the sum is not rounded again; on a GPU where all three products of a layer are bfloat16.
BF16_RESULT = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16


def is_on(device: str) -> bool:
    """Whether JAX computes on this device: `cpu` or `cuda`."""
    return jax.default_backend() == {"cuda": "gpu"}.get(device, device)


class Trainer:
    """Trains MLPs of one size on one dataset; compiled at the first call of each way."""

    def __init__(
        self,
        data: Dataset,
        hidden: Sequence[int],
        batch_size: int,
        learning_rate: float,
        precision: str = "fp32",
    ):
        self.widths = [prod(data.shape), *hidden, data.n_classes]
        self.dtype = {"fp32": jnp.float32, "bf16": jnp.bfloat16}[precision]
        self.x = jnp.asarray(data.train.x.cpu().flatten(1).numpy(), self.dtype)
        self.y = jnp.asarray(data.train.y.cpu().numpy())
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self.one = jax.jit(self._network)
        self.many = jax.jit(jax.vmap(self._network, in_axes=(0, 0, None, None)))

    def one_after_another(self, seeds: Sequence[int]) -> list[Weights]:
        """Jit and scan, a network at a time."""
        trained = [self.one(*_keys([seed])[0], self.x, self.y) for seed in seeds]
        return jax.block_until_ready(trained)

    def all_at_once(self, seeds: Sequence[int]) -> Weights:
        """jit, scan and vmap: weights [m, ...]."""
        return jax.block_until_ready(self.many(*_keys(seeds).swapaxes(0, 1), self.x, self.y))

    def _network(self, init: jax.Array, order: jax.Array, x: jax.Array, y: jax.Array) -> Weights:
        """One epoch of one network; the last batch, which is smaller, is an update of its own."""
        positions = jax.random.permutation(order, len(y))
        whole = len(y) // self.batch_size * self.batch_size
        batches = positions[:whole].reshape(-1, self.batch_size)

        def update(weights: Weights, some: jax.Array) -> tuple[Weights, None]:
            gradients = jax.grad(_loss)(weights, x[some], y[some], self.dtype)
            step = lambda w, g: w - self.learning_rate * g  # noqa: E731
            return jax.tree.map(step, weights, gradients), None

        weights = jax.lax.scan(update, self._glorot(init), batches)[0]
        return update(weights, positions[whole:])[0] if whole < len(y) else weights

    def _glorot(self, key: jax.Array) -> Weights:
        weights = []
        for draw, (inputs, outputs) in zip(
            jax.random.split(key, len(self.widths) - 1), pairwise(self.widths), strict=True
        ):
            bound = (6 / (inputs + outputs)) ** 0.5
            w = jax.random.uniform(draw, (inputs, outputs), minval=-bound, maxval=bound)
            weights.append((w, jnp.zeros(outputs)))
        return weights

    def accuracies(self, trained: list[Weights], data: Dataset) -> list[float]:
        """Test accuracy of each network."""
        x, y = (jnp.asarray(t.cpu().numpy()) for t in (data.test.x.flatten(1), data.test.y))
        return [float((_logits(weights, x).argmax(1) == y).mean()) for weights in trained]


def unstacked(weights: Weights) -> list[Weights]:
    """Weights [m, ...] as a list of m."""
    return [jax.tree.map(lambda w: w[k], weights) for k in range(len(weights[0][0]))]  # noqa: B023


def _keys(seeds: Sequence[int]) -> jax.Array:
    """Two independent keys a seed, [m, 2, ...]."""
    return jax.vmap(lambda seed: jax.random.split(jax.random.PRNGKey(seed)))(np.asarray(seeds))


def _logits(weights: Weights, x: jax.Array, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    for w, b in weights[:-1]:
        x = jax.nn.relu(_dense(w, b, x, dtype))
    return _dense(*weights[-1], x, dtype).astype(jnp.float32)


def _dense(w: jax.Array, b: jax.Array, x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    result = BF16_RESULT if dtype == jnp.bfloat16 else dtype
    product = jnp.matmul(x.astype(dtype), w.astype(dtype), preferred_element_type=result)
    return product + b.astype(result)


def _loss(weights: Weights, x: jax.Array, y: jax.Array, dtype: jnp.dtype) -> jax.Array:
    log_p = jax.nn.log_softmax(_logits(weights, x, dtype))
    return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()
