"""Turns a config into the parts of a run, and checks it first."""

import os
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import recipes
from ml_collections import ConfigDict

from dcjax import (
  augment,
  data,
  evaluation,
  formations,
  initialisation,
  methods,
  networks,
  whitening,
)
from dcjax.base import Formation, Network
from dcjax.condensing import Condenser
from dcjax.data import Dataset, to_device
from dcjax.evaluation import Evaluator, Protocol
from dcjax.inner import InnerData
from dcjax.utils import check_at_least, check_choice

BASELINES = ('random', 'herding', 'k_center', 'k_means', 'forgetting')
_BASE_SIZES = {'mnist': 28, 'speech': 64, 'wav_folder': 64}
_CHOICES = {
  'evaluation.protocol': evaluation.PROTOCOLS,
  'init.mode': ('random', 'mix', 'noise', 'normal'),
  'init.order': ('random', 'first'),
  'augment.family': augment.STRATEGIES,
  'evaluation.family': ('auto', *augment.STRATEGIES),
  'images.decay': ('none', 'cosine', 'halved'),
  'labels.start': formations.LABEL_STARTS,
}
_STRATEGIES = ('auto', 'scan', 'vmap')  # or a number of classes at a time
_LEAST = {
  'ipc': 1,
  'schedule.outer': 1,
  'schedule.inner': 1,
  'matching.batch_real': 1,
  'matching.most_synthetic': 1,
  'inner.batches': 0,
  'inner.batch_size': 1,
  'inner.early_batches': 0,
  'inner.epochs': 0,
  'inner.learning_rate': 0,
  'inner.weight_decay': 0,
  'evaluation.epochs': 1,
  'evaluation.seeds': 1,
  'evaluation.herding_steps': 1,
}


class Run(NamedTuple):
  """Everything a run is made of.

  Attributes:
    config: its settings.
    dataset: the real data.
    network: what judges and what is evaluated.
    formation: stored numbers -> images.
    condenser: the method.
    inner_data: the real data on the device, and the pool.
    learning_rate: of the images, after scaling.
    strategies: augmentation strategy names in use.
    normalise: of images.
    protocol: of evaluation.
  """

  config: ConfigDict
  dataset: Dataset
  network: Network
  formation: Formation
  condenser: Condenser
  inner_data: InnerData
  learning_rate: float
  strategies: dict[str, Any]
  normalise: Any
  protocol: Protocol


def load_dataset(config: ConfigDict) -> Dataset:
  """Loads the data set that the config names, whitened if it says so.

  Raises:
    ValueError: `data.zca` is unknown, or set for images outside [0, 1].
  """
  form = config.data.zca
  check_choice('data.zca', form, ('none', *whitening.FORMS))
  folder = config.data.dir or os.environ.get('DCJAX_DATA_DIR') or None
  options = config.data.options.to_dict()
  dataset = data.load(config.data.name, folder, **options)
  return dataset if form == 'none' else dataset.whitened(form)


def check(config: ConfigDict, dataset: Dataset) -> None:
  """Checks the settings against each other and the data.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  check_choice('method', config.method, recipes.CONDENSERS)
  for field, least in _LEAST.items():
    if _has(config, field):
      check_at_least(field, _get(config, field), least)
  if not 0 < config.images.learning_rate < float('inf'):
    raise ValueError(
      f'images.learning_rate {config.images.learning_rate}: must be above 0 '
      'and finite'
    )
  if not 0 <= config.images.momentum < 1:
    raise ValueError(
      f'images.momentum {config.images.momentum}: must be in [0, 1)'
    )
  if not config.augment.cutmix <= 1:
    raise ValueError(
      f'augment.cutmix {config.augment.cutmix}: must be a probability, or '
      "below 0 for the reference's choice"
    )
  for fraction in config.evaluation.at:
    if not isinstance(fraction, float | int) or not 0 < fraction <= 1:
      raise ValueError(f'evaluation.at {fraction!r}: must be in (0, 1]')
  for name in config.evaluation.baselines:
    check_choice('evaluation.baselines', name, BASELINES)
  for field, known in _CHOICES.items():
    if _has(config, field):
      check_choice(field, _get(config, field), known)
  if isinstance(config.matching.classes, str):
    check_choice('matching.classes', config.matching.classes, _STRATEGIES)
  _check_sizes(config, dataset)


def _get(config, dotted):
  for name in dotted.split('.'):
    config = config[name]
  return config


def _has(config, dotted):
  section, _, name = dotted.rpartition('.')
  return not section or (section in config and name in config[section])


def _check_sizes(config, dataset):
  smallest = int(np.argmin(dataset.counts))
  holds = int(dataset.counts[smallest])
  if config.ipc > holds:
    raise ValueError(
      f'ipc {config.ipc}: class {dataset.class_names[smallest]!r} of '
      f'{dataset.name} holds {holds} images; ipc must be at most {holds}'
    )
  formation = build_formation(config, dataset)
  shape = (dataset.num_classes, config.ipc, *dataset.image_shape)
  # Decoding an abstract image reveals a factor larger than the image.
  blank = jax.ShapeDtypeStruct(shape, jnp.float32)
  jax.eval_shape(
    lambda images: formation.decode(formation.init(jax.random.key(0), images)),
    blank,
  )
  needed = config.ipc * formation.cells
  if config.init.mode == 'mix' and needed > holds:
    raise ValueError(
      f'init.mode mix: packs {formation.cells} real images into each of ipc = '
      f'{config.ipc} stored ones, {needed} for each class, but class '
      f'{dataset.class_names[smallest]!r} holds {holds}; use init.mode=random '
      'or a smaller ipc or factor'
    )


def build_formation(config: ConfigDict, dataset: Dataset) -> Formation:
  """Makes the formation; a `labels` section gives it stored labels."""
  spec = config.formation.to_dict()
  formation = formations.build({'value_range': dataset.value_range, **spec})
  if 'labels' in config:
    return formations.with_labels(formation, config.labels.start)
  return formation


def image_learning_rate(config: ConfigDict, dataset: Dataset) -> float:
  """The image learning rate, scaled by ipc and image size if asked for."""
  rate = config.images.learning_rate
  if not config.images.get('scale_learning_rate', False):
    return rate
  return rate * methods.learning_rate_multiplier(
    config.ipc,
    dataset.image_shape[0],
    _BASE_SIZES.get(dataset.name, 32),
  )


def choose_strategies(config: ConfigDict, dataset: Dataset) -> dict[str, Any]:
  """The augmentation of matching, network training and evaluation."""

  def of(family):
    return augment.STRATEGIES[family](
      dataset.name,
      config.formation.to_dict().get('factor', 1),
      config.ipc,
      channels=dataset.image_shape[2],
    )

  chosen = of(config.augment.family)
  tested = chosen
  if config.evaluation.family != 'auto':
    tested = of(config.evaluation.family)
  chosen = chosen | {
    'evaluate': tested['evaluate'],
    'evaluate_single': tested['single'],
    'cutmix_probability': tested['cutmix_probability'],
  }
  for name in ('match', 'train', 'evaluate'):
    if config.augment[name] != 'auto':
      chosen[name] = config.augment[name]
  if config.augment.cutmix >= 0:
    chosen['cutmix_probability'] = config.augment.cutmix
    chosen['train_cutmix_probability'] = config.augment.cutmix
  return chosen


def build(config: ConfigDict) -> Run:
  """Builds a run from its config.

  Raises:
    ValueError: naming the field, its value and what is allowed.
    FileNotFoundError: if the data are not there; says how to get them.
  """
  dataset = load_dataset(config)
  check(config, dataset)
  network = networks.build(
    config.network.to_dict(), dataset.image_shape, dataset.num_classes
  )
  formation = build_formation(config, dataset)
  strategies = choose_strategies(config, dataset)
  normalise = augment.normalise(dataset.mean, dataset.std)
  rate = image_learning_rate(config, dataset)

  make = recipes.CONDENSERS[config.method]
  condenser = make(config, dataset, network, formation, rate, strategies)
  real = to_device(dataset.images, dataset.labels, dataset.scale)
  return Run(
    config,
    dataset,
    network,
    formation,
    condenser,
    InnerData(real, load_pool(config.inner.get('pool', ''), network)),
    rate,
    strategies,
    normalise,
    evaluation.PROTOCOLS[config.evaluation.protocol](config.evaluation.epochs),
  )


def treatment(run: Run, name: str, sharing: str):
  """Normalisation and the named strategy (`match`, `train`, `evaluate`)."""
  return recipes.treatment_of(run.dataset, run.strategies, name, sharing)


def initial_params(run: Run, key: jax.Array):
  """Draws the stored numbers that condensation starts from."""
  per_class = run.config.ipc * run.formation.cells
  counts = run.dataset.counts
  mode = run.config.init.mode
  if mode == 'noise':
    shape = (len(counts), run.config.ipc, *run.dataset.image_shape)
    noise = initialisation.noise(key, shape)
    if run.dataset.zca is not None:
      noise = whitening.apply(run.dataset.zca, noise)
    return run.formation.init(key, noise)
  if mode == 'normal':  # DC's start: standard normal in normalised units
    shape = (len(counts), run.config.ipc, *run.dataset.image_shape)
    noise = jax.random.normal(key, shape) * np.asarray(run.dataset.std)
    return run.formation.init(key, noise + np.asarray(run.dataset.mean))
  per_class = per_class if mode == 'mix' else run.config.ipc
  chosen = initialisation.select(
    key, counts, per_class, order=run.config.init.order
  )
  images = jnp.asarray(real_images(run.dataset, chosen))
  if mode == 'mix':
    images = run.formation.pack(images)
  return run.formation.init(jax.random.fold_in(key, 1), images)


def real_images(dataset: Dataset, chosen) -> np.ndarray:
  """Real images `[C, n, H, W, D]` in [0, 1] at positions in their classes."""
  order, offsets, _ = dataset.class_index()
  indices = order[np.asarray(offsets)[:, None] + np.asarray(chosen)]
  return dataset.images[indices].astype(np.float32) / dataset.scale


def build_evaluator(run: Run) -> Evaluator:
  """Prepares the evaluation under the run's protocol."""
  return evaluation.evaluator(
    run.network,
    run.dataset.test_images,
    run.dataset.test_labels,
    protocol=run.protocol,
    normalise=run.normalise,
    scale=run.dataset.scale,
    augment=treatment(run, 'evaluate', 'sample'),
    mix=recipes.cutmix(run.strategies['cutmix_probability']),
  )


def load_pool(path: str, network: Network):
  """Loads pretrained networks stored by `pretrain.py`, or None for ''."""
  if not path:
    return None
  import pretrain

  return pretrain.load(path, network)
