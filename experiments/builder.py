"""Turns a config into the parts of a run, and checks it first."""

import os
from typing import Any, NamedTuple

import _config_checks
import codebook_start
import devices
import generators
import jax
import jax.numpy as jnp
import network_specs
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
  sharding,
  whitening,
)
from dcjax.base import Formation, Network
from dcjax.condensing import Condenser
from dcjax.data import Dataset
from dcjax.evaluation import Evaluator, Protocol
from dcjax.inner import InnerData
from dcjax.utils import check_choice

BASELINES = _config_checks.BASELINES
_BASE_SIZES = {
  'mnist': 28,
  'speech': 64,
  'wav_folder': 64,
  'imagenet10': 224,
  'imagenet100': 224,
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
    mesh: the devices, None for one.
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
  mesh: jax.sharding.Mesh | None = None


def load_dataset(config: ConfigDict) -> Dataset:
  """Loads the data set that the config names, whitened if it says so.

  Raises:
    ValueError: `data.zca` is unknown, or set for images outside [0, 1].
  """
  form = config.data.zca
  check_choice('data.zca', form, ('none', *whitening.FORMS))
  folder = config.data.dir or os.environ.get('DCJAX_DATA_DIR') or None
  options = _given(config.data.options)
  dataset = data.load(config.data.name, folder, **options)
  return dataset if form == 'none' else dataset.whitened(form)


def _given(section):
  """The options of a section that are not left to their default."""
  return {k: v for k, v in section.to_dict().items() if v is not None}


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
  spec = _given(config.formation)
  if spec.get('factor') == 1 and spec['name'] == 'uniform':
    spec['name'] = 'identity'
  if spec['name'] == 'identity':
    spec.pop('factor', None)
  defaults = {'value_range': dataset.value_range}
  if spec['name'] == 'codebook':
    spec = generators.codebook_spec(spec, config, dataset)
  elif dataset.zca is not None:  # the middle of whitened images
    defaults['padding'] = 0.0
  formation = formations.build({**defaults, **spec})
  if 'labels' in config:
    return formations.with_labels(formation, config.labels.start)
  return formation


def evaluation_formation(run: Run) -> Formation:
  """The formation that makes training images in the end.

  `bound` caps what a condensation step decodes; its stored images are then used
  through `uniform`, as in the reference.
  """
  spec = dict(run.formation.spec)
  if spec['name'] != 'bound':
    return run.formation
  del spec['cap']
  return formations.build({**spec, 'name': 'uniform'})


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
      batch_norm=augment.is_batch_norm_convnet(config.network),
    )

  chosen = of(config.augment.family)
  tested = chosen
  if config.evaluation.family != 'auto':
    tested = of(config.evaluation.family)
  chosen = chosen | {
    'evaluate': tested['evaluate'],
    'evaluate_single': tested['single'],
    'evaluate_per_image': tested['per_image'],
    'cutmix_probability': tested['cutmix_probability'],
  }
  chosen['mesh'] = None
  for name in ('match', 'train', 'evaluate'):
    if config.augment[name] != 'auto':
      chosen[name] = config.augment[name]
  if config.augment.cutmix >= 0:
    chosen['cutmix_probability'] = config.augment.cutmix
    chosen['train_cutmix_probability'] = config.augment.cutmix
  return chosen


def build(config: ConfigDict, devices_per_class: int = 0) -> Run:
  """Builds a run from its config, for all devices there are.

  Args:
    config: the settings.
    devices_per_class: see `sharding.make_mesh`; what a run computes does not
      depend on it.

  Raises:
    ValueError: naming the field, its value and what is allowed.
    FileNotFoundError: if the data are not there; says how to get them.
  """
  # Settings first: loading a large set takes minutes.
  _config_checks.check_settings(config)
  check_choice('network', config.network.name, networks.names())
  if config.inner.get('pool'):
    import pretrain

    pretrain.require(config)
  generators.require(config)
  dataset = load_dataset(config)
  _check_sizes(config, dataset)
  network = build_network(config, dataset)
  _config_checks.check_layers(config, network, dataset.image_shape)
  formation = build_formation(config, dataset)
  formation = codebook_start.prepared(config, dataset, network, formation)
  mesh = devices.mesh_of(dataset, devices_per_class)
  strategies = choose_strategies(config, dataset) | {'mesh': mesh}
  normalise = augment.normalise(dataset.mean, dataset.std)
  rate = image_learning_rate(config, dataset)
  # An unknown operation is heard of now, not after condensation.
  recipes.treatment_of(dataset, strategies, 'evaluate', 'sample')
  # Only what judges the images is rounded; what tests them is not.
  judge = networks.with_precision(network, config.precision)
  condenser = recipes.make_condenser(
    config, dataset, judge, formation, rate, strategies
  )
  pool = None
  if config.inner.get('pool'):
    pool = pretrain.load(config.inner.pool, network)
  if mesh is not None and pool is not None:
    pool = sharding.place(pool, sharding.replicated(mesh))
  return Run(
    config,
    dataset,
    network,
    formation,
    condenser,
    InnerData(devices.real_data(dataset, mesh), pool),
    rate,
    strategies,
    normalise,
    evaluation.PROTOCOLS[config.evaluation.protocol](config.evaluation.epochs),
    mesh,
  )


def local_data(run: Run) -> InnerData:
  """The real data on one device, for what every process computes alone."""
  if run.mesh is None:
    return run.inner_data
  return InnerData(devices.real_data(run.dataset, None), None)


def data_at(run: Run, outer: int) -> InnerData:
  """The data that an outer iteration sees: all, or its window of a stream."""
  dataset, data = run.dataset, run.inner_data
  if dataset.stream is None:
    return data
  if run.mesh is None:
    images = jnp.asarray(dataset.stream.window(outer))
  else:
    images = sharding.place_images(
      run.mesh,
      dataset,
      lambda classes: dataset.stream.window(outer, classes),
    )
  return data._replace(real=data.real._replace(images=images))


def build_network(config: ConfigDict, dataset: Dataset) -> Network:
  """Makes the network of a config, or raises a ValueError."""
  spec = config.network.to_dict()
  if spec['name'] in networks.names():
    try:
      network_specs.resolve(spec)
    except ValueError as error:
      raise ValueError(
        f'{error}; the config argument network={spec["name"]} brings the '
        'right options'
      ) from error
  return networks.build(spec, dataset.image_shape, dataset.num_classes)


def treatment(run: Run, name: str, sharing: str):
  """Normalisation and the named strategy (`match`, `train`, `evaluate`)."""
  return recipes.treatment_of(run.dataset, run.strategies, name, sharing)


def initial_params(run: Run, key: jax.Array):
  """Draws the stored numbers that condensation starts from."""
  codebook = run.formation.spec['name'] == 'codebook'
  if codebook and not codebook_start.fits_images(run.config):
    blank = generators.blank_images(run.config, run.formation)
    return run.formation.init(key, blank)
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
    seeds='auto' if run.mesh is None else sharding.seed_strategy(run.mesh),
  )
