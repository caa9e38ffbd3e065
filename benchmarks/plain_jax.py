"""The same networks in JAX: compiled, scanned over the batches, and `vmap` over the networks."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from memhelpers.data import Dataset

Weights = list[tuple[jax.Array, jax.Array]]


class Trainer:
    """Trains MLPs of one size on one dataset; compiled at the first call of each way."""

    def __init__(self, data: Dataset, hidden: Sequence[int], batch_size: int, learning_rate: float):
        self.widths = [prod(data.shape), *hidden, data.n_classes]
        self.x = jnp.asarray(data.train.x.cpu().flatten(1).numpy())
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
            gradients = jax.grad(_loss)(weights, x[some], y[some])
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


def _logits(weights: Weights, x: jax.Array) -> jax.Array:
    for w, b in weights[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = weights[-1]
    return x @ w + b


def _loss(weights: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
    log_p = jax.nn.log_softmax(_logits(weights, x))
    return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()
