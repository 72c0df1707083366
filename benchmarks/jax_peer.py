"""The same network, step of training and kernel in JAX, as one would write them for a processor: batches stand last.

Channels first and images last makes a convolution one product of matrices, which XLA's own convolutions on a processor
are slower than where there are few channels. Weights are those of the published network in torch, by the same names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax  # reads the flags when it is imported
import jax.numpy as jnp
import numpy as np

from nasbench_robust.cells import EDGES
from nasbench_robust.images import TensorImages
from nasbench_robust.networks import Network
from nasbench_robust.settings import TrainingSettings

Array = Any
Arrays = dict[str, Array]
Normalise = Callable[[str, Array], Array]  # the output of a convolution, by the name of its batch normalisation
PIXELS = (1, 2, 3)  # all axes but that of channels
MOMENTUM, BN_EPS, BN_RATE = 0.9, 1e-5, 0.1


def arrays_of(network: Network) -> tuple[Arrays, Arrays]:
    """Return the weights of a network, and its running means and variances."""
    weights = {name: jnp.array(value.detach().numpy()) for name, value in network.named_parameters()}
    running = {name: jnp.array(value.numpy()) for name, value in network.named_buffers() if "running" in name}
    return weights, running


def by_channel(values: Array) -> Array:
    """Return values that stand beside features, shape (channels, height, width, images)."""
    return values.reshape(-1, 1, 1, 1)


def convolved(features: Array, weight: Array, stride: int = 1) -> Array:
    """Return a convolution, whose weight has torch's shape, as one product of matrices."""
    out, _, size, _ = weight.shape
    padded = jnp.pad(features, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    height, width = features.shape[1:3]
    windows = [padded[:, y : y + height : stride, x : x + width : stride] for y in range(size) for x in range(size)]
    columns = jnp.concatenate(windows, axis=0)
    return jnp.tensordot(weight.transpose(0, 2, 3, 1).reshape(out, -1), columns, 1)


def pooled(features: Array) -> Array:
    """Return averages over 3x3 pixels, of those that there are."""
    padded = jnp.pad(features, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    places = np.arange(features.shape[1])
    counts = 3.0 - (places % (len(places) - 1) == 0)
    sums = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    return sums * (1 / np.outer(counts, counts)).astype(np.float32)[None, :, :, None]


def halved(features: Array) -> Array:
    """Return averages over 2x2 pixels."""
    channels, height, width, images = features.shape
    return features.reshape(channels, height // 2, 2, width // 2, 2, images).mean((2, 4))


def logits_of(network: Network) -> Callable[[Arrays, Array, Normalise], Array]:
    """Return a function from weights, images and a normalisation to logits, shape (images, classes)."""
    mean, std = (
        jnp.array(values.numpy().reshape(-1, 1, 1, 1)) for values in (network.normalise.mean, network.normalise.std)
    )
    operations, per_stage, last = network.cell.operations, network.skeleton.cells_per_stage, len(network.cells)

    def layer(weights: Arrays, name: str, features: Array, normalise: Normalise, stride: int = 1) -> Array:
        return normalise(f"{name}.2", convolved(jax.nn.relu(features), weights[f"{name}.1.weight"], stride))

    def cell(weights: Arrays, name: str, features: Array, normalise: Normalise) -> Array:
        nodes = [features, 0.0, 0.0, 0.0]
        for edge, ((source, target), operation) in enumerate(zip(EDGES, operations, strict=True)):
            if operation.startswith("nor_conv"):
                nodes[target] += layer(weights, f"{name}.edges.{edge}", nodes[source], normalise)
            elif operation != "none":
                nodes[target] += pooled(nodes[source]) if operation == "avg_pool_3x3" else nodes[source]
        return nodes[3]

    def block(weights: Arrays, name: str, features: Array, normalise: Normalise) -> Array:
        inner = layer(weights, f"{name}.convolutions.0", features, normalise, stride=2)
        shortcut = convolved(halved(features), weights[f"{name}.shortcut.1.weight"])
        return shortcut + layer(weights, f"{name}.convolutions.1", inner, normalise)

    def logits(weights: Arrays, images: Array, normalise: Normalise) -> Array:
        features = normalise("stem.1", convolved((images - mean) / std, weights["stem.0.weight"]))
        for place in range(last):
            part = block if place % (per_stage + 1) == per_stage else cell
            features = part(weights, f"cells.{place}", features, normalise)
        features = jax.nn.relu(normalise("last_activation.0", features)).mean(PIXELS[:2])
        return features.T @ weights["classifier.weight"].T + weights["classifier.bias"]

    return logits


def folded(weights: Arrays, running: Arrays) -> tuple[Arrays, Normalise]:
    """Return weights with the scales of eval mode's batch normalisation in those of convolutions, and what is left."""
    scaled, left = dict(weights), {}
    for name in (name.removesuffix(".running_var") for name in running if name.endswith("var")):
        scale = weights[f"{name}.weight"] / jnp.sqrt(running[f"{name}.running_var"] + BN_EPS)
        left[name] = scale, weights[f"{name}.bias"] - running[f"{name}.running_mean"] * scale
        parent, _, place = name.rpartition(".")
        if (convolution := f"{parent}.{int(place) - 1}.weight") in weights:
            scaled[convolution] = weights[convolution] * by_channel(scale)
            left[name] = 1.0, left[name][1]

    def normalise(name: str, features: Array) -> Array:
        scale, shift = left[name]
        return (features if isinstance(scale, float) else features * by_channel(scale)) + by_channel(shift)

    return scaled, normalise


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the losses of images."""
    return -jax.nn.log_softmax(logits)[jnp.arange(len(labels)), labels]


def training_step(network: Network, settings: TrainingSettings, images: TensorImages) -> Callable[[], Any]:
    """Return a function that takes one step of adversarial training; it is compiled at its first call."""
    logits, attack, size = logits_of(network), settings.attack, settings.skeleton.image_size
    steps, step_size = attack.schedule
    pixels = jnp.array(images.train.pixels.numpy().transpose(0, 2, 3, 1))  # rows that are cropped lie together
    labels = jnp.array(images.train.labels.numpy())

    def augmented(key: Array) -> Array:
        padding = settings.crop_padding
        padded = jnp.pad(pixels, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
        corners, flips = jax.random.split(key)
        starts = jax.random.randint(corners, (len(labels), 2), 0, 2 * padding + 1)

        def crop(image: Array, start: Array) -> Array:
            return jax.lax.dynamic_slice(image, (start[0], start[1], 0), (size, size, image.shape[2]))

        cropped = jax.vmap(crop)(padded, starts).transpose(3, 1, 2, 0)
        if not settings.flip:
            return cropped
        return jnp.where(jax.random.bernoulli(flips, 0.5, (len(labels),)), cropped[:, :, ::-1], cropped)

    def step(weights: Arrays, speed: Arrays, running: Arrays, key: Array) -> tuple[Any, ...]:
        augmenting, starting = jax.random.split(key)
        clean = augmented(augmenting)
        low, high = jnp.maximum(clean - attack.eps, 0), jnp.minimum(clean + attack.eps, 1)
        fixed, normalise = folded(weights, running)
        slope = jax.grad(lambda seen: cross_entropy(logits(fixed, seen, normalise), labels).sum())
        start = jnp.clip(
            clean + jax.random.uniform(starting, clean.shape, minval=-attack.eps, maxval=attack.eps), low, high
        )
        seen = jax.lax.fori_loop(
            0, steps, lambda _, now: jnp.clip(now + step_size * jnp.sign(slope(now)), low, high), start
        )

        def loss(weights: Arrays) -> Array:
            update: Arrays = {}

            def by_batch(name: str, features: Array) -> Array:
                mean, variance, count = features.mean(PIXELS), features.var(PIXELS), features[0].size
                for part, value in (("running_mean", mean), ("running_var", variance * count / (count - 1))):
                    update[f"{name}.{part}"] = (1 - BN_RATE) * running[f"{name}.{part}"] + BN_RATE * value
                scale = weights[f"{name}.weight"] / jnp.sqrt(variance + BN_EPS)
                return (features - by_channel(mean)) * by_channel(scale) + by_channel(weights[f"{name}.bias"])

            answers = logits(weights, seen, by_batch)
            return cross_entropy(answers, labels).mean(), (update, (answers.argmax(1) == labels).sum())

        (value, (running, correct)), slopes = jax.value_and_grad(loss, has_aux=True)(weights)
        speed = {name: MOMENTUM * speed[name] + slopes[name] + settings.weight_decay * weights[name] for name in speed}
        return {name: weights[name] - 0.01 * speed[name] for name in speed}, speed, running, value, correct

    compiled, state = jax.jit(step, donate_argnums=(0, 1, 2)), {}
    weights, running = arrays_of(network)
    state["all"] = weights, jax.tree.map(jnp.zeros_like, weights), running
    keys = iter(jax.random.split(jax.random.key(0), 10_000))

    def take() -> tuple[float, int]:
        *state["all"], value, correct = compiled(*state["all"], next(keys))
        return float(value), int(correct)

    return take


def kernel(network: Network, images: np.ndarray) -> Callable[[], np.ndarray]:
    """Return a function that computes the kernel of the sum of the logits in eval mode."""
    logits, (weights, running) = logits_of(network), arrays_of(network)
    batch = jnp.array(images.transpose(1, 2, 3, 0))

    def scalar(weights: Arrays, image: Array) -> Array:
        fixed, normalise = folded(weights, running)
        return logits(fixed, image[..., None], normalise).sum()

    @jax.jit
    def compute(weights: Arrays, batch: Array) -> Array:
        slopes = jax.vmap(jax.grad(scalar), (None, -1))(weights, batch)
        # One product: a sum of one for each weight came out of XLA 0.10 without 9 of the 10 that the last bias adds.
        rows = jnp.concatenate([slope.reshape(len(slope), -1) for slope in slopes.values()], axis=1)
        return rows @ rows.T

    return lambda: np.asarray(compute(weights, batch))
