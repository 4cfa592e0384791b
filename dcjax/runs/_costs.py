"""What a run will do: operations counted from shapes, memory, in words.

A pass forward is counted from its traced program; one backward costs about two.
"""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import data, formations
from dcjax.base import Network
from dcjax.runs import _build, _watch
from dcjax.runs._build import Built
from dcjax.runs._flops_step import forward, iteration
from dcjax.runs._observers import Observer
from dcjax.runs._outlook import Outlook
from dcjax.runs._stage import Stage
from dcjax.trajectories import expert_bytes
from dcjax.utils import count_cpus, platform

# A network's convolutions reach about this share of the speed of a large
# matrix product: measured on a CPU with ConvNet-3 of width 32 and 128.
_EFFICIENCY = 0.35
# Training costs about as much as three passes forward.
_TRAINING = 3
# Baselines that look at the embeddings of a network trained on real data, in
# batches of this size.
BY_FEATURES = ('herding', 'nearest_mean', 'k_center', 'k_means')
BASELINE_BATCH = 64
# Methods whose classes were measured to be faster on several devices of a CPU.
_SHARED = ('dc', 'dm', 'dsa', 'idc')


def condensation(built: Built, observers: Sequence[Observer]) -> float:
  """Operations of the whole condensation; 0: not counted."""
  section, config = built.config.method, built.config
  if 'iterations' not in section:
    return (iteration(built) or 0.0) * config.outer
  shape = built.dataset.image_shape
  costs = [forward(o.network, shape) for o in observers]
  total = built.dataset.num_classes * config.ipc
  calm = 1 if section.get('flatness') else 0
  return (_TRAINING + calm) * section.iterations * total * float(np.mean(costs))


def real_images(built: Built, images_per_class: int) -> int:
  """Real images of one pass, all windows together."""
  counts = built.real.counts
  if images_per_class:
    counts = np.minimum(counts, images_per_class)
  return int(counts.sum())


def observer(built: Built, wanted: Observer) -> float:
  """Operations of training an observer."""
  images = real_images(built, built.config.observers.images_per_class)
  one = forward(wanted.network, built.dataset.image_shape)
  return _TRAINING * wanted.epochs * images * one


def training(built: Built, network: Network, epochs: int) -> float:
  """Operations of training an expert on all real images."""
  one = forward(network, built.dataset.image_shape)
  # Flat minima take a second gradient in every step.
  gradients = 2 if built.config.experts.rho else 1
  return gradients * _TRAINING * epochs * real_images(built, 0) * one


def evaluation(
  built: Built,
  network: Network,
  images: int,
  epochs: int,
  teachers: Sequence[Observer] = (),
) -> float:
  """Operations of training and testing networks on a set.

  Args:
    built: the objects of the run.
    network: that is tested.
    images: of the set.
    epochs: passes over it.
    teachers: that label every batch.
  """
  shape = built.dataset.image_shape
  one = forward(network, shape)
  taught = sum(forward(o.network, shape) for o in teachers)
  tests = len(built.protocol.test_points) * len(built.dataset.test_labels)
  # Networks take places on a mesh that others leave empty.
  devices = built.placement.size
  seeds = -(-built.config.evaluation.seeds // devices) * devices
  return seeds * (images * epochs * (_TRAINING * one + taught) + tests * one)


def selection(built: Built) -> float:
  """Operations of the network behind a coreset."""
  steps = built.config.evaluation.herding_steps
  images = _TRAINING * steps * BASELINE_BATCH + len(built.dataset.labels)
  return images * forward(built.network, built.dataset.image_shape)


def memory(built: Built) -> float:
  """Bytes that a device needs, roughly: real images and activations."""
  section = built.config.method
  network, shape = built.network, built.dataset.image_shape
  variables = jax.eval_shape(network.init, jax.random.key(0))
  image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  outputs, _ = jax.eval_shape(
    lambda v, x: network.apply(v, x, True), variables, image
  )
  taps = sum(tap.size for tap in outputs.taps) or image.size
  # Before pooling a block holds four times its output, a few times over.
  activations = taps * 4 * 4 * 12
  decoded = formations.decoded_count(built.formation, built.config.ipc)
  compared = min(decoded, section.get('most_synthetic', decoded))
  at_once = section.get('batch_real', 0) + 4 * compared
  if platform() != 'cpu':
    at_once *= built.dataset.num_classes
  else:
    at_once *= jax.local_device_count()  # all of them in one memory
  real = built.dataset.images.nbytes
  return (real + at_once * activations) / _watch.machines()


def outlook(stages: Sequence[Stage]) -> Outlook:
  """What is left of a run: the work of stages that are missing."""
  work = {stage.name: stage.work for stage in stages if stage.work}
  return Outlook(work, machine_speed() if work else None)


def machine_speed() -> float:
  """Floating-point operations a second of networks on all devices, roughly."""
  return _EFFICIENCY * _watch.peak()


def describe(built: Built, stages: Sequence[Stage], left: Outlook) -> str:
  """A few lines: what a run will do, how long, how much memory.

  Args:
    built: the objects of the run.
    stages: all of them.
    left: see `outlook`.
  """
  return '\n'.join(_lines(built, stages, left))


def _lines(built, stages, left) -> Iterator[str]:
  config, dataset = built.config, built.dataset
  counts = built.real.counts
  each = f'{counts.min()}'
  if counts.min() != counts.max():
    each += f' to {counts.max()}'
  h, w, d = dataset.image_shape
  name = config.get('method', {}).get('name', config.recipe)
  yield (
    f'{name} on {dataset.name}: {dataset.num_classes} classes of {each} images '
    f'{h}x{w}x{d}'
  )
  for note in getattr(dataset, 'notes', ()):
    yield f'  note: {note}'
  if 'formation' in config:
    decoded = formations.decoded_count(built.formation, config.ipc)
    spec = built.formation.spec
    factor = f' factor {spec["factor"]}' if 'factor' in spec else ''
    yield (
      f'  stores {config.ipc} images per class ({spec["name"]}{factor}), '
      f'trains on {decoded} per class'
    )
  yield from _steps(built)
  evaluated = [
    stage.name.partition('/')[2]
    for stage in stages
    if stage.name.startswith('evaluate/')
  ]
  if evaluated:
    yield (
      f'  then {config.evaluation.seeds} networks x {built.protocol.epochs} '
      f'epochs for each of: {"; ".join(evaluated)}'
    )
  yield from _idle_cores(built)
  time = left.describe()
  yield (
    f'  {time}, about {memory(built) / 2**30:.1f} GiB of memory'
    if 'method' in config
    else f'  {time}'
  )
  mesh = built.placement.mesh
  if mesh is not None:
    shape = ' x '.join(f'{n} {name}' for name, n in mesh.shape.items())
    yield (
      f'  on {mesh.size} devices ({shape}) of {jax.process_count()} process(es)'
    )
  if dataset.stream is not None:
    yield f'  {data.describe_memory(dataset)}'


def _idle_cores(built):
  """One device leaves some of several CPUs idle."""
  cpus = min(count_cpus(), built.dataset.num_classes)
  alone = platform() == 'cpu' and jax.device_count() == 1
  section = built.config.get('method', {})
  if alone and cpus > 1 and section.get('name') in _SHARED:
    yield (
      f'  on one device; --cpu_devices={cpus} shares the classes among CPUs, '
      'which takes a fifth to two fifths less time'
    )


def _experts(built):
  section, config = built.config.method, built.config
  epochs = section.last_start + section.length - 1
  size = expert_bytes(built.network, config.experts.count, epochs) / 2**30
  return (
    f'  {config.experts.count} experts of {epochs} epochs, {size:.2f} GiB of '
    'parameters in memory and in stages/'
  )


def _steps(built):
  config = built.config
  section = config.get('method', {})
  words = config.get('observers', {})
  for role in ('matching', 'labelling'):
    if words.get(role):
      yield f'  observers, {role}: {", ".join(words[role])}'
  if 'iterations' in section:
    total = built.dataset.num_classes * config.ipc
    size = min(config.batches.batch_size or total, total)
    yield f'  {section.iterations} steps in batches of {size} images'
    if built.placement.size > size:
      yield (
        f'  image batches of {size} are fewer than the devices: each of these '
        'computes all of them'
      )
  elif 'inner_steps' in section:
    if config.get('experts'):
      yield _experts(built)
    rate = _build.learning_rate(built)
    yield (
      f'  {config.outer} outer x {section.inner_steps} inner iterations = '
      f'{config.outer * section.inner_steps} steps, network '
      f'{built.network.name}'
      + (f', image learning rate {rate:.4g}' if rate else '')
    )
