"""What a run will do, and about how long and how much memory it will take."""

import pathlib
import time
from collections.abc import Iterator
from typing import Any

import builder
import jax
import jax.numpy as jnp
import recipes
from progress import duration

from dcjax import data, formations
from dcjax.base import Batch, Variables
from dcjax.objectives import cross_entropy

# A network's convolutions reach about this share of the speed of a large
# matrix product: measured on a CPU with ConvNet-3 of width 32 and 128.
_EFFICIENCY = 0.35
# Baselines that look at the embeddings of a network trained on real data, in
# batches of this size.
_BY_FEATURES = ('herding', 'k_center', 'k_means')
_BASELINE_BATCH = 64


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
    f'  {_time(seconds)} on {jax.devices()[0].device_kind} (rough; without '
    f'compilation), about {memory / 2**30:.1f} GiB of memory',
    *particulars(parts),
    f'  in {path}',
  ]
  return '\n'.join(lines)


def particulars(parts: Any) -> Iterator[str]:
  """Lines that only some runs have: several devices, a stream of data.

  Args:
    parts: of a run, with `mesh` and `dataset`.
  """
  if parts.mesh is not None:
    shape = ' x '.join(f'{n} {name}' for name, n in parts.mesh.shape.items())
    yield (
      f'  on {parts.mesh.size} devices ({shape}) of {jax.process_count()} '
      'process(es)'
    )
  if parts.dataset.stream is not None:
    yield f'  {data.describe_memory(parts.dataset)}'


def _time(seconds):
  return 'unknown time' if seconds is None else f'about {duration(seconds)}'


def _formation(parts):
  spec = parts.formation.spec
  factor = f' factor {spec["factor"]}' if 'factor' in spec else ''
  return f'{spec["name"]}{factor}'


def _decoded(parts):
  return formations.decoded_count(parts.formation, parts.config.ipc)


def estimate(parts: builder.Run) -> tuple[float | None, float]:
  """Returns rough seconds and bytes of a run, from counted operations.

  Operations are counted from the traced program and divided by the measured
  speed of a matrix product. Seconds are None where JAX cannot count them.
  """
  config = parts.config
  compared = min(_decoded(parts), config.matching.most_synthetic)
  flops, activations = _cost_of_one_image(parts)
  images = images_processed(parts)
  seconds = flops and images * flops / machine_speed()
  at_once = config.matching.batch_real + 4 * compared
  if jax.default_backend() != 'cpu':
    at_once *= parts.dataset.num_classes
  real = parts.inner_data.real.images.nbytes
  return seconds, (real + at_once * activations) / jax.device_count()


def images_processed(parts: builder.Run) -> float:
  """Returns how many forward and backward passes of one image a run takes.

  A synthetic image in matching counts three times, for the second derivative;
  an image that is only embedded counts a third.
  """
  outer = parts.config.schedule.outer * _outer_images(parts)
  return outer + _images_after(parts)


def _outer_images(parts):
  """Images of one outer iteration."""
  config = parts.config
  classes, decoded = parts.dataset.num_classes, _decoded(parts)
  classes = config.matching.get('classes_per_step') or classes
  compared = min(decoded, config.matching.most_synthetic)
  per_step = classes * (config.matching.batch_real + 3 * compared)
  per_step += _network_images(config, classes * decoded)
  early = 0
  if 'early_batches' in config.inner:
    early = recipes.early_batches(config, parts.dataset)
  return config.schedule.inner * per_step + early * config.inner.get(
    'batch_size', 0
  )


def _images_after(parts):
  """Images of the evaluations and the selection of baselines."""
  config = parts.config.evaluation
  return _evaluation_images(parts) + sum(
    _selection_images(parts, b) for b in config.baselines
  )


def outer_operations(parts: builder.Run) -> float | None:
  """Returns the floating-point operations of one outer iteration, counted.

  None where JAX cannot count them.
  """
  flops, _ = _cost_of_one_image(parts)
  return flops and _outer_images(parts) * flops


def whole_run(parts: builder.Run, seconds: float, done: int) -> str:
  """Says how long a run takes in all, from its first outer iterations.

  Args:
    parts: the run.
    seconds: of the iterations so far.
    done: how many these were.
  """
  per_outer = seconds / done
  condensing = (parts.config.schedule.outer - done) * per_outer
  after = per_outer * _images_after(parts) / _outer_images(parts)
  return (
    f'measured: {duration(condensing)} of condensation and about '
    f'{duration(after)} of evaluation to go'
  )


def _evaluation_images(parts):
  """Images that train the networks of all evaluations."""
  config = parts.config.evaluation
  formation = builder.evaluation_formation(parts)
  ipc = parts.config.ipc
  decoded = formations.decoded_count(formation, ipc)
  # The condensed set and its start, and it again along the way.
  of_a_class = (2 + len(config.at)) * decoded + len(config.baselines) * ipc
  classes = parts.dataset.num_classes
  return classes * of_a_class * config.epochs * config.seeds


def _selection_images(parts, baseline):
  """Images that train, and are embedded by, the network of a baseline."""
  steps = parts.config.evaluation.herding_steps
  real = len(parts.dataset.labels)
  if baseline in _BY_FEATURES:
    return steps * _BASELINE_BATCH + real / 3
  if baseline == 'forgetting':  # at least two epochs
    return max(steps * _BASELINE_BATCH, 2 * real)
  return 0


def _network_images(config, synthetic):
  """Images that train the network after each image step."""
  if 'batches' in config.inner:
    return config.inner.batches * config.inner.batch_size
  return config.inner.get('epochs', 0) * synthetic


def _cost_of_one_image(parts):
  """Operations (None: unknown) and bytes of a forward and backward pass."""
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

  lowered = jax.jit(gradient).lower(variables, images, labels)
  # Not every platform counts; some say -1.
  flops = (lowered.cost_analysis() or {}).get('flops', 0)
  outputs, _ = jax.eval_shape(
    lambda v, x: parts.network.apply(v, x, True), variables, images
  )
  taps = sum(tap.size for tap in outputs.taps) or images.size
  # Before pooling a block holds four times its output, a few times over.
  activations = taps / size * 4 * 4 * 12
  return flops / size if flops > 0 else None, activations


def machine_speed() -> float:
  """Floating-point operations a second of networks on all devices, roughly."""
  return _EFFICIENCY * matmul_speed() * jax.device_count()


def matmul_speed():
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
