"""What observers see of real images, and where synthetic images start."""

import pathlib
from collections import OrderedDict

import builder
import jax
import jax.numpy as jnp
import numpy as np
import pretrain
import statistics_data
import statistics_parts
from _stage_files import Stages, digest, load_tree
from observers import Observer, file_of, kept_in
from outlook import Outlook
from progress import say
from statistics_parts import Parts

from dcjax import initialisation, methods, sharding, statistics
from dcjax.statistics import LayerStatistics, Moments, Targets


def targets(
  parts: Parts,
  observers: tuple[Observer, ...],
  stages: Stages,
  data: str,
  workdir: pathlib.Path,
  outlook: Outlook | None = None,
) -> tuple[Targets, ...]:
  """What the layers of every observer see of real images, measured once.

  Where runs share a folder of observers, they share these statistics.

  Args:
    parts: of the run.
    observers: for matching.
    stages: of the run.
    data: identity of the data.
    workdir: the run's folder.
    outlook: hears when an observer is done.

  Raises:
    ValueError: if a file is damaged, or the stage's is of other settings.
  """
  left = outlook or Outlook({})
  config = parts.config
  settings = digest(
    [o.identity for o in observers],
    data,
    config.statistics.to_dict(),
    parts.flips,
    _layers(config),
    _of_classes(config),
  )
  of_classes = _of_classes(config)
  like = tuple(_structure(parts, o, of_classes) for o in observers)

  def make():
    found = []
    for position, observer in enumerate(observers):
      found.append(_of_observer(parts, observer, data, workdir))
      left.finish('statistics', str(position))
    return tuple(found)

  return stages.tree('statistics', settings, like, make)


def _layers(config):
  """SRe2L and CDA match what BatchNorm keeps; the others measure."""
  return 'batch_norm' if config.method in ('sre2l', 'cda') else 'all'


def _of_classes(config):
  """Whether the statistics of classes count: alpha below 1."""
  return config.synthesis.get('alpha', 1.0) < 1


def _of_observer(parts, observer, data, workdir):
  """Its running statistics, those of its file, or measured ones."""
  if _layers(parts.config) == 'batch_norm':
    network, shape = observer.plan.network, parts.dataset.image_shape
    return Targets(
      statistics.running_statistics(network, observer.variables, shape)
    )
  if not parts.config.observers.dir:
    return _used(parts, _measure(parts, observer))
  path = _shared_file(parts, observer, data, workdir)
  there = path.exists()
  sharding.barrier(f'looked for {path.name}')  # Now the first one may write.
  if there:
    say(f'statistics of {observer.plan.word}: found in {path.parent}')
    return _used(parts, load_tree(path, _structure(parts, observer, True)))
  found = _measure(parts, observer)
  if sharding.is_main():
    pretrain.save(path, found)
  return _used(parts, found)


def _used(parts, found):
  """Without the statistics of classes where they do not count."""
  return found if _of_classes(parts.config) else found._replace(classes=None)


def _shared_file(parts, observer, data, workdir):
  """Where an observer's statistics are kept, named by all that decides them."""
  dataset, config = parts.dataset, parts.config
  settings = digest(
    observer.identity,
    data,
    config.statistics.to_dict(),
    config.observers.padding,  # Imported observers do not know of these.
    config.observers.smallest_crop,
    parts.flips,
    np.asarray(dataset.mean).tolist(),
    np.asarray(dataset.std).tolist(),
  )
  folder = kept_in(parts, workdir)
  of = file_of(folder, observer.plan, observer.identity)
  return of.with_name(f'{of.stem}-statistics-{settings[:16]}.npz')


def _structure(parts, observer, of_classes):
  """The pytree that `_measure` returns, with other leaves."""
  kinds = statistics.observed_layers(
    observer.plan.network, parts.dataset.image_shape, _layers(parts.config)
  )
  pair = Moments(0, 0)
  layers = OrderedDict(
    (name, LayerStatistics(pair, pair if kind == 'convolution' else None))
    for name, kind in kinds.items()
  )
  return Targets(layers, layers if of_classes else None)


def _measure(parts, observer):
  """The statistics of all images and of each class; the same in every run."""
  dataset, section = parts.dataset, parts.config.statistics
  network, variables = observer.plan.network, observer.variables
  shape, classes = dataset.image_shape, dataset.num_classes
  collector = statistics.collector(
    network,
    shape,
    classes,
    patch_size=section.patch_size,
    class_variance=section.class_variance,
  )
  add = statistics.accumulator(
    collector,
    classes,
    augment=statistics_parts.observer_augment(parts),
    batch_size=section.batch_size,
  )
  data_at = statistics_data.passes(parts, section.images_per_class)
  state, placed = statistics_data.everywhere(
    parts, (collector.init(variables), variables)
  )
  for number in range(statistics_data.windows(parts)):
    key = jax.random.fold_in(jax.random.key(0), number)
    draw = statistics_data.everywhere(parts, key)
    state = add(state, placed, data_at(number).real, draw)
  return collector.finish(sharding.to_host(state), variables)


def start(
  parts: Parts,
  observers: tuple[Observer, ...],
  key: jax.Array,
  stages: Stages,
  data: str,
) -> np.ndarray:
  """The images that synthesis starts from, or RDED's set; made once.

  Args:
    parts: of the run.
    observers: that score the crops of RDED.
    key: decides the draw.
    stages: of the run.
    data: identity of the data.

  Returns:
    `[C, ipc, H, W, D]` in [0, 1].

  Raises:
    ValueError: if a class holds too few images for RDED.
  """
  config = parts.config
  scoring = [o.identity for o in observers] if _is_rded(config) else []
  settings = digest(
    config.start.to_dict(), config.ipc, config.seed, data, scoring
  )
  make = {'noise': _noise, 'real': _real, 'rded': _rded}[config.start.mode]
  return stages.tree(
    'start',
    settings,
    {'images': 0},
    lambda: {'images': make(parts, observers, key)},
  )['images']


def _is_rded(config):
  return config.start.mode == 'rded'


def _noise(parts, observers, key):
  """Standard normal in normalised units, as SRe2L starts; clipped to [0, 1]."""
  del observers
  dataset = parts.dataset
  shape = (dataset.num_classes, parts.config.ipc, *dataset.image_shape)
  noise = jax.random.normal(key, shape) * np.asarray(dataset.std)
  return jnp.clip(noise + np.asarray(dataset.mean), 0.0, 1.0)


def _real(parts, observers, key):
  del observers
  chosen = initialisation.select(key, parts.dataset.counts, parts.config.ipc)
  return builder.real_images(parts.dataset, chosen)


def _rded(parts, observers, key):
  section = parts.config.start
  return methods.rded(
    [o.plan.network for o in observers],
    [o.variables for o in observers],
    statistics_data.local_real(parts),
    parts.config.ipc,
    key,
    normalise=parts.normalise,
    factor=section.factor,
    candidates=section.candidates,
    crops=section.crops,
    ratio=tuple(section.ratio),
    best_of_image=section.best_of_image,
  )
