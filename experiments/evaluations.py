"""Evaluations of a run: which sets, on what images, and each only once."""

import time
from collections.abc import Callable
from typing import Any

import builder
import fresh
import jax
import numpy as np
from progress import Progress
from workdir import Interrupted

from dcjax import coresets, evaluation, formations, inner, optimizers
from dcjax.base import Batch


def regime(labels: Any) -> str:
  """How images with these labels (None: their class) are labelled."""
  return 'hard' if labels is None else 'one soft label per image'


def evaluate_all(parts, folder, keys, params, stop) -> None:
  """Evaluates the condensed set, its start and the baselines, each once."""
  wanted = ['condensed', 'initial', *parts.config.evaluation.baselines]
  if parts.config.evaluation.get('fresh'):
    wanted.append(fresh.NAME)
  shared = Evaluations(parts, stop)
  for name in wanted:
    if name in folder.evaluations():
      continue
    if name == fresh.NAME:
      folder.add_evaluation(name, fresh.run(parts, keys, params, stop))
      continue
    batch = training_images(parts, keys, params, name)
    folder.add_evaluation(name, shared.run(name, batch, keys['evaluate']))
    if stop.agreed():
      raise Interrupted(
        f'stopped after evaluating {name}; the same command goes on from here'
      )


def evaluate_checkpoint(
  parts, folder, keys, params, outer, seconds, stop
) -> None:
  """Evaluates the condensed set as it is after an outer iteration."""
  name = f'outer_{outer}'
  if name in folder.evaluations():
    return
  batch = training_images(parts, keys, params, 'condensed')
  entry = Evaluations(parts, stop).run(name, batch, keys['evaluate'])
  folder.add_evaluation(name, {**entry, 'outer': outer, 'at': seconds})


def training_images(parts, keys, params, name: str) -> Batch:
  """The named set: images `[C, M, H, W, D]` in [0, 1], labels `[C, M, K]`."""
  formation = builder.evaluation_formation(parts)
  if name == 'condensed':
    if formation.spec['name'] == 'codebook':
      # The exact images that its file decodes to, not JAX's.
      import stages  # which in turn needs this module

      return stages.make_artefact(parts, params).batch()
    return formation.decode(parts.formation.project(params))
  if name == 'initial':
    return formation.decode(builder.initial_params(parts, keys['init']))
  images = builder.real_images(parts.dataset, select(parts, keys, name))
  labels = np.eye(parts.dataset.num_classes, dtype=np.float32)[:, None]
  shape = (*images.shape[:2], parts.dataset.num_classes)
  return Batch(images, np.broadcast_to(labels, shape))


def select(parts, keys, name: str) -> jax.Array:
  """Positions `[C, ipc]` within their classes that a baseline keeps."""
  ipc, key = parts.config.ipc, keys['herding']
  if name == 'random':
    return coresets.random(keys['random'], parts.dataset.counts, ipc)
  labels = np.asarray(builder.local_data(parts).real.labels)
  if name == 'forgetting':
    return coresets.forgetting(forgetting_events(parts, key), labels, ipc)
  features = trained_features(parts, key)
  if name == 'k_means':
    start_key = jax.random.fold_in(key, 1)
    return coresets.k_means(features, labels, ipc, start_key)
  return getattr(coresets, name)(features, labels, ipc)


def forgetting_events(parts, key, batch_size: int = 64) -> jax.Array:
  """How often each real image is forgotten, in as many updates as herding."""
  per_epoch = max(1, len(parts.dataset.labels) // batch_size)
  return coresets.forgetting_events(
    parts.network,
    builder.local_data(parts).real,
    key,
    optimizer=_baseline_optimizer(),
    # One epoch alone holds no event.
    epochs=max(2, parts.config.evaluation.herding_steps // per_epoch),
    normalise=parts.normalise,
    batch_size=batch_size,
  )


def trained_features(parts, key) -> jax.Array:
  """Embeddings of a network trained on the whole real set, class by class."""
  config = parts.config
  loop = inner.train_on_real(
    parts.network,
    _baseline_optimizer(),
    num_images=int(parts.dataset.counts.sum()),
    num_classes=parts.dataset.num_classes,
    batch_size=64,
    num_batches=config.evaluation.herding_steps,
    augment=parts.normalise,
  )

  @jax.jit
  def train(key, data):
    state = loop.init(key, data)
    state, _ = loop.update(key, state, data, None)
    return coresets.embed(
      parts.network, state.variables, data.real, parts.normalise
    )

  return train(key, builder.local_data(parts))


def _baseline_optimizer():
  return optimizers.sgd(0.01, momentum=0.9, weight_decay=5e-4)


def train_and_test(
  name: str,
  evaluator: evaluation.Evaluator,
  data: evaluation.TrainingSet,
  key: jax.Array,
  *,
  protocol: evaluation.Protocol,
  seeds: int,
  stop: Any = None,
  watch: Callable[[float], None] | None = None,
) -> evaluation.Evaluation:
  """Trains networks on a set with progress, and tests them.

  Args:
    name: of the set.
    evaluator: see `evaluation.evaluator`.
    data: the set.
    key: decides the networks.
    protocol: the evaluator's.
    seeds: networks.
    stop: whether the program was asked to stop, or None.
    watch: called with the fraction done.

  Raises:
    Interrupted: if a stop is asked for; this evaluation is then lost.
  """
  epochs = protocol.epochs
  progress = Progress(f'evaluating {name}', epochs, unit='ep')

  def report(done):
    progress.update(round(done * epochs))
    if watch is not None:
      watch(done)
    if stop is not None and stop.agreed() and done < 1:
      raise Interrupted(
        f'stopped while evaluating {name}; the same command goes on from here'
      )

  try:
    return evaluation.evaluate(
      evaluator,
      data,
      key,
      protocol=protocol,
      num_seeds=seeds,
      progress=report,
    )
  finally:
    progress.close()


class Evaluations:
  """One evaluation program for all sets of a run."""

  def __init__(self, parts, stop=None):
    self._parts, self._stop = parts, stop
    self._evaluator = builder.build_evaluator(parts)
    formation = builder.evaluation_formation(parts)
    decoded = formations.decoded_count(formation, parts.config.ipc)
    self._longest = parts.dataset.num_classes * decoded

  def run(self, name: str, batch: Batch, key: jax.Array) -> dict[str, Any]:
    """Trains networks on a set; returns what `evaluations.json` records.

    Raises:
      Interrupted: if a stop is asked for; this evaluation is then lost.
    """
    parts, began = self._parts, time.monotonic()
    classes, epochs = parts.dataset.num_classes, parts.protocol.epochs
    flat = np.asarray(batch.images).reshape(-1, *parts.dataset.image_shape)
    labels = np.asarray(batch.labels).reshape(-1, classes)
    result = train_and_test(
      name,
      self._evaluator,
      evaluation.training_set(flat, labels, classes, self._longest),
      key,
      protocol=parts.protocol,
      seeds=parts.config.evaluation.seeds,
      stop=self._stop,
    )
    hard = bool(np.all((labels == 0) | (labels == 1)))
    return {
      **result.summary(),
      'images': int(flat.shape[0]),
      'network': parts.network.name,
      'epochs': epochs,
      'label_regime': regime(None if hard else labels),
      'seconds': round(time.monotonic() - began, 3),
    }
