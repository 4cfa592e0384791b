"""Sets of a run: coresets, the whole set, the start, what was condensed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import coresets, data, optimizers
from dcjax.artefact import Artefact
from dcjax.base import Batch
from dcjax.runs import _build, _condense, _costs, _networks
from dcjax.runs._build import Built
from dcjax.runs._stage import MEMORY, Stage, Work, tree

# Updates between two looks at whether a stop was asked for, at most.
_PIECE = 100


def selection_stage(built: Built, name: str) -> Stage:
  """A coreset: positions `[C, ipc]` of real images within their classes."""
  ipc, key = built.config.ipc, built.keys['herding']
  settings: dict[str, Any] = {'ipc': ipc, 'seed': built.config.seed}

  def make(_, features=None):
    if name == 'random':
      chosen = coresets.random(built.keys['random'], built.dataset.counts, ipc)
      return {'chosen': np.asarray(chosen)}
    labels = np.asarray(built.real.local.labels)
    if name == 'forgetting':
      chosen = coresets.forgetting(_forgetting(built, key), labels, ipc)
    elif name == 'k_means':
      start = jax.random.fold_in(key, 1)
      chosen = coresets.k_means(features['features'], labels, ipc, start)
    else:
      choose = getattr(coresets, name)
      chosen = choose(jnp.asarray(features['features']), labels, ipc)
    return {'chosen': np.asarray(chosen)}

  inputs: tuple[str, ...] = ('data',)
  if name in _costs.BY_FEATURES:
    inputs = ('data', 'features')
  work = 0.0
  if name == 'forgetting':
    settings |= _feature_settings(built)
    work = _costs.selection(built)
  return Stage(f'select/{name}', make, inputs, settings, tree(), work)


def features_stage(built: Built, work: Work) -> Stage:
  """Embeddings of a network trained on the whole real set, class by class.

  Raises:
    ValueError: if the network exposes none; before anything is trained.
  """
  _check_embedding(built)

  def make(_):
    return {'features': np.asarray(_features(built, work))}

  return Stage(
    'features',
    make,
    ('data',),
    _feature_settings(built),
    tree(),
    _costs.selection(built),
    shared=True,
  )


def _check_embedding(built):
  network, shape = built.network, (1, *built.dataset.image_shape)

  def outputs(key):
    return network.apply(network.init(key), jnp.zeros(shape), False)[0]

  if jax.eval_shape(outputs, jax.random.key(0)).embedding is None:
    raise ValueError(
      f'evaluation.baselines: {", ".join(_costs.BY_FEATURES)} choose by '
      f'embeddings, and network {network.name!r} exposes none; leave them out'
    )


def _feature_settings(built):
  config = built.config
  return {
    'network': config.network,
    'steps': config.evaluation.herding_steps,
    'seed': config.seed,
  }


def _features(built, work):
  """Embeddings by a network that is trained a piece at a time."""
  steps = built.config.evaluation.herding_steps
  piece = max(n for n in range(1, _PIECE + 1) if steps % n == 0)
  training = _networks.on_real(
    built,
    built.network,
    batch_size=_costs.BASELINE_BATCH,
    optimizer=_baseline_optimizer(),
    augment=built.normalise,
    num_batches=piece,
  )
  variables = _networks.train(
    work,
    built,
    'features',
    training,
    built.keys['herding'][None],
    steps // piece,
    fixed=built.real.local,
    unit=f'{piece} steps' if piece > 1 else 'step',
  )
  own = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), variables)

  @jax.jit
  def embed(variables, data):
    return coresets.embed(built.network, variables, data, built.normalise)

  return embed(own, built.real.local)


def _forgetting(built, key):
  """How often each real image is forgotten, in as many updates as herding."""
  size = _costs.BASELINE_BATCH
  per_epoch = max(1, len(built.dataset.labels) // size)
  return coresets.forgetting_events(
    built.network,
    built.real.local,
    key,
    optimizer=_baseline_optimizer(),
    # One epoch alone holds no event.
    epochs=max(2, built.config.evaluation.herding_steps // per_epoch),
    normalise=built.normalise,
    batch_size=size,
  )


def _baseline_optimizer():
  return optimizers.sgd(0.01, momentum=0.9, weight_decay=5e-4)


def set_stage(built: Built, name: str, of: str) -> Stage:
  """A set: images `[C, M, H, W, D]` in [0, 1] and labels `[C, M, K]`.

  Args:
    built: the objects of the run.
    name: of the set.
    of: the stage that holds it: `'artefact'`, `'start'` or a selection.
  """

  def make(_, found):
    if isinstance(found, Artefact):
      return found.batch()
    if name == 'initial':
      formation = _build.evaluation_formation(built)
      params = jax.tree.map(jnp.asarray, _condense.unflattened(found))
      return formation.decode(params)
    if name == 'whole':
      return whole(built.dataset)
    return hard_batch(chosen_images(built, found))

  return Stage(f'set/{name}', make, ('data', of), {}, MEMORY)


def chosen_images(built: Built, found: Any) -> np.ndarray:
  """Real images `[C, ipc, H, W, D]` that a selection stage has chosen."""
  return data.images_at(built.dataset, found['chosen'])


def hard_batch(images: np.ndarray) -> Batch:
  """Images `[C, M, H, W, D]` labelled by their class."""
  classes, count = images.shape[:2]
  labels = np.eye(classes, dtype=np.float32)[:, None]
  return Batch(images, np.broadcast_to(labels, (classes, count, classes)))


def whole(dataset: data.Dataset) -> Batch:
  """All real images with hard labels.

  Returns:
    Images `[1, M, H, W, D]` in [0, 1] and labels `[1, M, K]`: one class axis of
    length 1, as classes differ in size.

  Raises:
    ValueError: if only a window of the images is in memory.
  """
  if dataset.stream is not None:
    raise ValueError(
      f'baseline whole: only a window of {dataset.name} is in memory; leave '
      'the window out'
    )
  real = dataset.images.astype(np.float32) / dataset.scale
  labels = np.eye(dataset.num_classes, dtype=np.float32)[dataset.labels]
  return Batch(real[None], labels[None])
