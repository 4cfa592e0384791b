"""What a run will do, and about how long and how much memory it will take."""

import pathlib
import time

import builder
import jax
import jax.numpy as jnp
from progress import duration

from dcjax import formations
from dcjax.base import Batch, Variables
from dcjax.objectives import cross_entropy

# A network's convolutions reach about this share of the speed of a large
# matrix product: measured on a CPU with ConvNet-3 of width 32 and 128.
_EFFICIENCY = 0.35


def describe(parts: builder.Run, path: pathlib.Path) -> str:
  """Returns a few lines: what, how long, how much memory, where."""
  config, dataset = parts.config, parts.dataset
  decoded = _decoded(parts)
  steps = config.schedule.outer * config.schedule.inner
  counts = (
    f'{dataset.counts.min()}'
    if dataset.counts.min() == dataset.counts.max()
    else f'{dataset.counts.min()} to {dataset.counts.max()}'
  )
  seconds, memory = estimate(parts)
  h, w, d = dataset.image_shape
  lines = [
    f'{config.method} on {dataset.name}: {dataset.num_classes} classes of '
    f'{counts} images {h}x{w}x{d}',
    f'  stores {config.ipc} images per class ({_formation(parts)}), trains on '
    f'{decoded} per class',
    f'  {config.schedule.outer} outer x {config.schedule.inner} inner '
    f'iterations = {steps} image steps, network {parts.network.name}, image '
    f'learning rate {parts.learning_rate:.4g}',
    f'  then {config.evaluation.seeds} networks x {config.evaluation.epochs} '
    f'epochs for each of: '
    + ', '.join(('condensed', 'initial', *config.evaluation.baselines)),
    f'  about {duration(seconds)} on {jax.devices()[0].device_kind} (rough; '
    f'without compilation), about {memory / 2**30:.1f} GiB of memory',
    f'  in {path}',
  ]
  return '\n'.join(lines)


def _formation(parts):
  spec = parts.formation.spec
  factor = f' factor {spec["factor"]}' if 'factor' in spec else ''
  return f'{spec["name"]}{factor}'


def _decoded(parts):
  return formations.decoded_count(parts.formation, parts.config.ipc)


def estimate(parts: builder.Run) -> tuple[float, float]:
  """Returns rough seconds and bytes of a run, from counted operations.

  One image costs a forward and a backward pass; a synthetic one in matching
  about three times that, for the second derivative. Operations are counted from
  the traced program and divided by the measured speed of a matrix product.
  """
  config = parts.config
  classes = parts.dataset.num_classes
  decoded = _decoded(parts)
  compared = min(decoded, config.matching.most_synthetic)
  per_step = classes * (config.matching.batch_real + 3 * compared)
  per_step += _network_images(config, classes * decoded)
  steps = config.schedule.outer * config.schedule.inner
  ipc, epochs = config.ipc, config.evaluation.epochs
  trained = classes * (2 * decoded + len(config.evaluation.baselines) * ipc)
  trained += classes * decoded * len(config.evaluation.at)
  images = steps * per_step + trained * epochs * config.evaluation.seeds
  flops, activations = _cost_of_one_image(parts)
  seconds = images * flops / (_EFFICIENCY * _matmul_speed())
  at_once = config.matching.batch_real + 4 * compared
  if jax.default_backend() != 'cpu':
    at_once *= classes
  return seconds, parts.inner_data.real.images.nbytes + at_once * activations


def _network_images(config, synthetic):
  """Images that train the network after each image step."""
  if 'batches' in config.inner:
    return config.inner.batches * config.inner.batch_size
  return config.inner.get('epochs', 0) * synthetic


def _cost_of_one_image(parts):
  """Operations and bytes of activations of a forward and backward pass."""
  size = 8
  variables = jax.eval_shape(parts.network.init, jax.random.key(0))
  images = jax.ShapeDtypeStruct((size, *parts.dataset.image_shape), jnp.float32)
  labels = jax.ShapeDtypeStruct((size, parts.dataset.num_classes), jnp.float32)

  def gradient(variables, images, labels):
    def loss(params):
      outputs, _ = parts.network.apply(
        Variables(params, variables.state), images, True
      )
      return cross_entropy(outputs.logits, Batch(images, labels))

    return jax.grad(loss)(variables.params)

  cost = jax.jit(gradient).lower(variables, images, labels).cost_analysis()
  outputs, _ = jax.eval_shape(
    lambda v, x: parts.network.apply(v, x, True), variables, images
  )
  taps = sum(tap.size for tap in outputs.taps) or images.size
  # Before pooling a block holds four times its output, a few times over.
  return cost['flops'] / size, taps / size * 4 * 4 * 12


def _matmul_speed():
  """Floating-point operations a second of a matrix product on this device."""
  n = 1024
  product = jax.jit(lambda a: a @ a)
  a = jnp.ones((n, n))
  product(a).block_until_ready()
  began = time.perf_counter()
  repeats = 5
  for _ in range(repeats):
    result = product(a)
  result.block_until_ready()
  return repeats * 2 * n**3 / (time.perf_counter() - began)
