"""What a run gives a method for its parameters, beside what the config says."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dcjax import (
  augment,
  coresets,
  inner,
  kernels,
  methods,
  networks,
  objectives,
  optimizers,
  specs,
)
from dcjax.base import Network
from dcjax.condensing import real_batches
from dcjax.runs import _augment, _image_optimizer
from dcjax.runs._build import Built, build_network
from dcjax.training import Mix


class Given(NamedTuple):
  """What a method can be given, beside what the config says.

  Attributes:
    built: the objects of the run.
    observers: networks that look at the images, frozen.
    soft_labels: `[C, K]` of the embedding network, or None.
  """

  built: Built
  observers: Sequence[Network] = ()
  soft_labels: Any = None


ABSENT = object()


def _optimizer(given):
  made = _image_optimizer.optimizer(given.built)
  return ABSENT if made is None else made


def _objective(given):
  word = given.built.config.get('objective', '')
  if not word:
    return ABSENT
  generative = functools.partial(
    methods.generative_objective,
    judge(given),
    given.built.dataset.image_shape,
    condition_dim=given.built.formation.spec.get('embedding_dim'),
  )
  makers = {**objectives.FACTORIES, 'generative': generative}
  return specs.call('objective', makers, specs.parse('objective', word))


def _source(given):
  config = given.built.config
  word = config.get('source', '')
  if not word:
    return ABSENT
  counts = given.built.dataset.counts

  def representative(
    batch_size=config.method.batch_real, every=10, num_steps=20
  ):
    if looks_through_observers(given.built) and len(given.observers) > 1:
      raise ValueError(
        f'source {word!r}: clusters the features of one network; '
        f'observers.matching names {len(given.observers)}'
      )
    return coresets.representative_batches(
      (given.observers or [judge(given)])[0],
      counts,
      batch_size,
      given.built.normalise,
      every=every,
      num_steps=num_steps,
    )

  makers = {
    'real': lambda batch_size=config.method.batch_real: real_batches(
      counts, batch_size
    ),
    'representative': representative,
  }
  return specs.call('source', makers, specs.parse('source', word))


def _loop(given):
  """Where networks come from, where it is not the method's own."""
  word = given.built.config.get('inner', '')
  if not word:
    return ABSENT
  dataset = given.built.dataset
  network = judge(given)

  def real(batches=8, batch_size=64, learning_rate=0.01, weight_decay=5e-4):
    return inner.train_on_real(
      network,
      optimizers.sgd(learning_rate, momentum=0.9, weight_decay=weight_decay),
      num_images=int(dataset.counts.sum()),
      num_classes=dataset.num_classes,
      batch_size=batch_size,
      num_batches=batches,
      augment=_augment_of(given, 'train'),
      mix=train_mix(given.built),
    )

  def synthetic(epochs=1, batch_size=256, learning_rate=0.01):
    return inner.train_on_synthetic(
      network,
      optimizers.sgd(learning_rate, momentum=0.0),
      epochs=epochs,
      batch_size=batch_size,
      augment=_augment_of(given, 'train'),
    )

  makers = {
    'observers': lambda: inner.observers(len(given.observers)),
    'random': lambda: inner.resample(network),
    'real': real,
    'synthetic': synthetic,
  }
  return specs.call('inner', makers, specs.parse('inner', word))


def judge(given: Given) -> Network:
  """Only what judges the images is rounded; what tests them is not."""
  built, section = given.built, given.built.config.method
  network = built.network
  if section.get('network'):
    network = build_network('method.network', section.network, built.dataset)
  if section.get('drawn'):
    network = networks.drawn_as(network, section.drawn)
  precision = built.config.execution.get('precision', 'auto')
  return networks.with_precision(network, precision)


def looks_through_observers(built: Built) -> bool:
  """Whether frozen observers take the place of a method's own networks."""
  return built.config.get('inner', '') == 'observers'


def is_unrolled(built: Built) -> bool:
  """Whether the method differentiates a training of networks on the set."""
  section = built.config.get('method', {})
  return 'passes' in section or 'unrolled_steps' in section


def unroll(built: Built) -> objectives.Unroll:
  """How networks are trained on the set, where that is differentiated."""
  section = built.config.method
  if 'passes' in section:
    return methods.dd_unroll(
      built.config.ipc, section.passes, normalise=built.normalise
    )
  return methods.adam_unroll(
    section.unrolled_steps,
    section.unrolled_learning_rate,
    per_class=section.unrolled_per_class or None,
    augment=_augment_of(Given(built), 'train'),
  )


def _relabel(given):
  """TESLA labels its batches anew, by the expert; they are not augmented."""
  return given.built.normalise if given.built.config.method.relabel else None


def _steps(given):
  section = given.built.config.method
  return ABSENT if 'steps' in section else _image_optimizer.steps(given.built)


def _batch_size(given):
  """Of the set, in a step of the training that is matched."""
  section = given.built.config.method
  if 'synthetic_batch' not in section:
    return ABSENT
  return section.synthetic_batch or None


def _kernel(given):
  word = given.built.config.method.kernel
  return kernels.build(specs.parse('method.kernel', word))


def _augment_of(given, name):
  built = given.built
  return _augment.augment_of(
    built.dataset, built.strategies, name, built.placement
  )


def _target_augment(given):
  """Of the real images alone, before what they share with the stored ones."""
  word = given.built.config.augment.get('real', 'none')
  if word == 'none':
    return ABSENT
  try:
    return augment.sequence(word, sharing='sample')
  except ValueError as error:
    raise ValueError(f'augment.real {word!r}: {error}') from error


def train_mix(built: Built) -> Mix | None:
  """CutMix of the batches that train networks, or None."""
  return _augment.mixing(
    'augment.train_mix',
    built.config.augment.get('train_mix', 'auto'),
    built.strategies['train_cutmix_probability'],
  )


def _classes(given):
  word = str(given.built.config.execution.classes)
  if not word.isdigit() and word not in ('auto', 'scan', 'vmap'):
    raise ValueError(
      f"execution.classes {word!r}: must be 'auto', 'scan', 'vmap' or a number"
    )
  return given.built.placement.classes(int(word) if word.isdigit() else word)


def early_batches(built: Built) -> int:
  """Network updates before a network's first image step.

  `early_epochs` are over all images, also where only a window is in memory.
  """
  section = built.config.method
  images = int(built.real.counts.sum())
  per_epoch = max(1, images // section.network_batch_size)
  return section.early_batches + section.get('early_epochs', 0) * per_epoch


def _spread(given):
  spread = given.built.placement.spread()
  return spread[0] if spread else ABSENT


def _sweep(given):
  """Numbers that do not all belong to one class are not stepped one by one."""
  shared = _image_optimizer.formation_name(given.built) in (
    'basis',
    'codebook',
    'learnable',
  )
  return bool(given.built.config.method.sweep and not shared)


def _flip(given):
  """Where the method mirrors, and mirrored images look like their class."""
  return given.built.flips and given.built.config.method.get('flip', True)


def _smallest_crop(given):
  """The whole image is no crop; CDA's crops end at their smallest."""
  section = given.built.config.method
  whole = section.smallest_crop == 1 and section.name != 'cda'
  return None if whole else section.smallest_crop


# Parameter of a method -> what a run gives for it.
SUPPLIED: dict[str, Callable[[Given], Any]] = {
  # Trainings on the set draw for every image; matching shares its draws.
  'augment': lambda given: _augment_of(given, 'train'),
  'batch_size': _batch_size,
  'classes': _classes,
  'counts': lambda given: given.built.dataset.counts,
  'early_batches': lambda given: early_batches(given.built),
  'flip': _flip,
  'formation': lambda given: given.built.formation,
  'kernel': _kernel,
  'learning_rate': lambda given: _image_optimizer.rate(given.built),
  'loop': _loop,
  'match_augment': lambda given: _augment_of(given, 'match'),
  'mean': lambda given: given.built.dataset.mean,
  'network': lambda given: (given.observers or [judge(given)])[0],
  'normalise': lambda given: given.built.normalise,
  'objective': _objective,
  'observers': lambda given: list(given.observers),
  'optimizer': _optimizer,
  'patch_size': lambda given: given.built.config.statistics.patch_size,
  'soft_labels': lambda given: given.soft_labels,
  'real_augment': lambda given: _augment_of(given, 'train'),
  'relabel': _relabel,
  'smallest_crop': _smallest_crop,
  'source': _source,
  'spread': _spread,
  'std': lambda given: given.built.dataset.std,
  'steps': _steps,
  'sweep': _sweep,
  'target_augment': _target_augment,
  'train_augment': lambda given: _augment_of(given, 'train'),
  'train_mix': lambda given: train_mix(given.built),
  'unroll': lambda given: unroll(given.built),
}
