"""The methods by name: how a config becomes a condenser."""

from collections.abc import Callable
from typing import Any

import generators
import optax
from ml_collections import ConfigDict

from dcjax import (
  augment,
  data,
  formations,
  methods,
  objectives,
  optimizers,
  sharding,
)
from dcjax.base import Formation
from dcjax.condensing import Condenser

# Formations whose numbers do not all belong to one class: no class by class.
_SHARED = ('codebook', 'learnable')


def treatment_of(
  dataset: Any, strategies: dict[str, Any], name: str, sharing: str
):
  """Normalisation and the named strategy (`match`, `train`, `evaluate`).

  `evaluate` may come from another family than the rest, see `builder`, and
  from `augment.dc_evaluation`, which knows other operations.
  """
  normalise = augment.chain(
    *_placement(strategies['mesh'], name),
    augment.normalise(dataset.mean, dataset.std),
  )
  if name == 'evaluate' and strategies[name] == 'imagenet':
    return augment.chain(_imagenet_evaluation(dataset), normalise)
  if name == 'evaluate' and strategies['evaluate_per_image']:
    return augment.chain(normalise, augment.dc_evaluation(strategies[name]))
  sequence = augment.sequence(
    strategies[name],
    sharing=sharing,
    single=strategies['evaluate_single' if name == 'evaluate' else 'single'],
  )
  return augment.chain(normalise, sequence)


def _imagenet_evaluation(dataset):
  """Crops, flips and colours of IDC's evaluation on ImageNet."""
  height, width, channels = dataset.image_shape
  if height != width or channels != 3:
    raise ValueError(
      f"augment.evaluate 'imagenet': images of {dataset.name} are {height}x"
      f'{width}x{channels}; must be square and of 3 channels'
    )
  return augment.imagenet_evaluation(height)


def _placement(mesh, name):
  """Where on a mesh the images are treated; nothing on one device."""
  if mesh is None or name == 'evaluate':  # there, networks are spread
    return ()
  return (
    (sharding.spread_class if name == 'match' else sharding.spread)(mesh),
  )


def cutmix(probability: float):
  """CutMix as the training loop takes it, or None for probability 0."""
  if not probability:
    return None

  def mix(key, images, labels, weights):
    return augment.cutmix(
      key, images, labels, probability=probability, weights=weights
    )

  return mix


def _idc(config, dataset, network, formation, rate, strategies):
  return methods.idc(
    network,
    formation,
    dataset.counts,
    learning_rate=rate,
    distance=config.matching.distance,
    tensors=config.matching.tensors,
    momentum=config.images.momentum,
    sweep=config.images.sweep and config.formation.name not in _SHARED,
    optimizer=_codebook_steps(config, rate) or _at_once(config, rate),
    train_mix=cutmix(strategies['train_cutmix_probability']),
    train_augment=treatment_of(dataset, strategies, 'train', 'sample'),
    network_batches=config.inner.batches,
    network_batch_size=config.inner.batch_size,
    network_learning_rate=config.inner.learning_rate,
    network_weight_decay=config.inner.weight_decay,
    early_batches=early_batches(config, dataset),
    inner_steps=config.schedule.inner,
    **_common(config, dataset, strategies),
  )


def early_batches(config: ConfigDict, dataset: data.Dataset) -> int:
  """Network updates before a network's first image step.

  Args:
    config: `inner.early_batches`, plus `inner.early_epochs` over all images,
      also where only a window of them is in memory.
    dataset: the real data.
  """
  counts = dataset.counts if dataset.stream is None else dataset.stream.counts
  per_epoch = max(1, int(counts.sum()) // config.inner.batch_size)
  epochs = config.inner.get('early_epochs') or 0
  return config.inner.early_batches + epochs * per_epoch


def _at_once(config, rate):
  """The image optimiser under a falling rate; None: the recipe's own."""
  if config.images.decay == 'none':
    return None
  return optimizers.sgd(
    _schedule(config, rate), momentum=config.images.momentum
  )


def _codebook_steps(config, rate):
  """How codes and generator are stepped; None where images are."""
  if 'generator' not in config:
    return None
  return methods.codebook_optimizer(
    rate,
    config.generator.learning_rate,
    config.schedule.outer * config.schedule.inner,
    config.images.momentum,
    config.generator.largest_gradient,
    config.generator.optimizer,
  )


def _schedule(config, rate):
  """The image rate: fixed, halved as in CAFE, or falling by a cosine to 0."""
  if config.images.decay == 'none':
    return rate
  steps = config.schedule.outer * config.schedule.inner
  if config.images.decay == 'halved':
    return methods.cafe_learning_rate(rate, steps)
  return optax.cosine_decay_schedule(rate, steps)


def _dc(config, dataset, network, formation, rate, strategies):
  return methods.dc(
    network,
    formation,
    dataset.counts,
    dataset.std,
    learning_rate=_schedule(config, rate),
    momentum=config.images.momentum,
    optimizer=_codebook_steps(config, rate),
    distance=config.matching.distance,
    tensors=config.matching.tensors,
    normalise=augment.normalise(dataset.mean, dataset.std),
    train_augment=treatment_of(dataset, strategies, 'train', 'sample'),
    epochs=config.inner.epochs,
    network_batch_size=config.inner.batch_size,
    network_learning_rate=config.inner.learning_rate,
    image_steps=config.schedule.inner,
    **_common(config, dataset, strategies),
  )


def _dm(config, dataset, network, formation, rate, strategies):
  return methods.dm(
    network,
    formation,
    dataset.counts,
    dataset.std,
    learning_rate=_schedule(config, rate),
    momentum=config.images.momentum,
    optimizer=_codebook_steps(config, rate),
    image_steps=config.schedule.inner,
    **_common(config, dataset, strategies),
  )


def _cafe(config, dataset, network, formation, rate, strategies):
  return methods.cafe(
    network,
    formation,
    dataset.counts,
    dataset.std,
    learning_rate=_schedule(config, rate),
    momentum=config.images.momentum,
    layer_weights=config.matching.layer_weights,
    last_weight=config.matching.last_weight,
    discrimination=config.matching.discrimination,
    image_steps=config.schedule.inner,
    **_on_synthetic(config, dataset, strategies),
  )


def _label_distillation(config, dataset, network, formation, rate, strategies):
  return methods.label_distillation(
    network,
    formation,
    dataset.counts,
    form=config.matching.form,
    learning_rate=_schedule(config, rate),
    unrolled_learning_rate=config.matching.unrolled_learning_rate,
    regularisation=config.matching.regularisation,
    label_steps=config.schedule.inner,
    **_on_synthetic(config, dataset, strategies),
  )


def _generative(config, dataset, network, formation, rate, strategies):
  matching = config.matching
  terms = objectives.GenerativeTerms._fields
  return methods.generative(
    network,
    formation,
    dataset.counts,
    steps=config.schedule.outer * config.schedule.inner,
    inner_steps=config.schedule.inner,
    terms=objectives.generative_terms(
      **{name: matching[name] for name in terms if name in matching}
    ),
    condition=matching.condition,
    codes=matching.codes,
    codes_per_step=matching.most_synthetic,
    classes_per_step=matching.classes_per_step,
    batch_real=matching.batch_real,
    soft_labels=generators.soft_labels(config, formation),
    match_augment=treatment_of(dataset, strategies, 'match', 'batch'),
    train_augment=treatment_of(dataset, strategies, 'train', 'sample'),
    codes_learning_rate=rate,
    generator_learning_rate=config.generator.learning_rate,
    largest_gradient=config.generator.largest_gradient,
    optimizer=config.generator.optimizer,
    momentum=config.images.momentum,
    discriminator_learning_rate=config.discriminator.learning_rate,
    discriminator_widths=config.discriminator.widths,
    network_batches=config.inner.batches,
    network_batch_size=config.inner.batch_size,
    network_learning_rate=config.inner.learning_rate,
    early_batches=config.inner.early_batches,
  )


def _on_synthetic(config, dataset, strategies):
  """What joint methods share whose networks train on the synthetic set."""
  common = _common(config, dataset, strategies)
  del common['classes']  # They see all classes at once.
  return {
    'train_augment': treatment_of(dataset, strategies, 'train', 'sample'),
    'epochs': config.inner.epochs,
    'network_batch_size': config.inner.batch_size,
    'network_learning_rate': config.inner.learning_rate,
    **common,
  }


def _common(config, dataset, strategies):
  mesh, classes = strategies['mesh'], str(config.matching.classes)
  classes = int(classes) if classes.isdigit() else classes
  if mesh is not None:
    classes = sharding.class_strategy(mesh, classes)
  return {
    'match_augment': treatment_of(dataset, strategies, 'match', 'batch'),
    'batch_real': config.matching.batch_real,
    'most_synthetic': config.matching.most_synthetic,
    'classes': classes,
  }


# Methods that look through trained observers; see `statistics_run`.
WITH_OBSERVERS = ('rded', 'sre2l', 'cda', 'gvbsm', 'edc')


def make_condenser(
  config: ConfigDict,
  dataset: data.Dataset,
  network: Any,
  formation: Formation,
  rate: float,
  strategies: dict[str, Any],
) -> Condenser:
  """Makes the condenser of a config's method.

  Args:
    config: its `method` is one of `CONDENSERS`.
    dataset: the real data.
    network: judges the images.
    formation: of the stored numbers; a codebook is trained with the statistics
      of its batches, whatever the method.
    rate: image learning rate.
    strategies: augmentation strategies by name.
  """
  make = CONDENSERS[config.method]
  own = config.method == 'generative'
  if formation.spec['name'] != 'codebook' or own:
    return make(config, dataset, network, formation, rate, strategies)
  shown = formations.in_training(formation)
  made = make(config, dataset, network, shown, rate, strategies)
  return methods.calibrated(made, formation)


# name -> (config, dataset, network, formation, image learning rate,
# augmentation strategies) -> the condenser.
CONDENSERS: dict[str, Callable[..., Condenser]] = {
  'idc': _idc,
  'dc': _dc,
  'dsa': _dc,
  'dm': _dm,
  'cafe': _cafe,
  'generative': _generative,
  'label_distillation': _label_distillation,
}
