"""Labels of the observers, and students that learn from them."""

import functools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import statistics_parts
from _stage_files import Stages, digest, digest_arrays
from evaluations import train_and_test
from observers import Observer
from outlook import Outlook
from statistics_parts import REGIMES, Parts

from dcjax import evaluation, labelling, sharding
from dcjax.base import Network
from dcjax.evaluation import Evaluator
from dcjax.labelling import StoredLabels

_STORED = 'labels.npz'


class Labels(NamedTuple):
  """How the images of a set are labelled.

  Attributes:
    regime: `'online'`, `'stored'`, `'image'` or `'hard'`.
    soft: `[C, N, K]` probabilities of `'image'`, else None.
    stored: of `'stored'`, else None.
  """

  regime: str
  soft: np.ndarray | None = None
  stored: StoredLabels | None = None

  @property
  def name(self) -> str:
    """What artefact and report say."""
    return REGIMES.get(self.regime, 'hard')

  @property
  def nbytes(self) -> int:
    """Bytes that the labels take; 0 where nothing is kept."""
    if self.stored is not None:
      return self.stored.nbytes
    return 0 if self.soft is None else int(np.asarray(self.soft).nbytes)


HARD = Labels('hard')


def make_labels(
  parts: Parts,
  teachers: tuple[Observer, ...],
  images: np.ndarray,
  key: jax.Array,
) -> Labels:
  """Labels a set in the regime of the config.

  Args:
    parts: of the run.
    teachers: the observers that label.
    images: `[C, N, H, W, D]` in [0, 1].
    key: decides the views of stored labels.
  """
  section = parts.config.evaluation
  built = [o.plan.network for o in teachers]
  numbers = [o.variables for o in teachers]
  regime = parts.config.labels.regime
  if regime == 'image':
    soft = labelling.soft_labels(
      built,
      numbers,
      jnp.asarray(images),
      normalise=parts.normalise,
      temperature=parts.config.labels.temperature,
    )
    return Labels(regime, np.asarray(soft))
  if regime == 'online':
    return Labels(regime)
  flat = jnp.asarray(images).reshape(-1, *images.shape[2:])
  return Labels(
    regime,
    stored=labelling.store(
      built,
      numbers,
      flat,
      key,
      epochs=section.epochs,
      batch_size=parts.protocol.batch_size,
      normalise=parts.normalise,
      scale=(section.smallest_crop, 1.0),
      flips=parts.flips,
    ),
  )


def relabel(
  parts: Parts,
  teachers: tuple[Observer, ...],
  images: np.ndarray,
  key: jax.Array,
  stages: Stages,
) -> Labels:
  """The labels of the condensed set; stored ones are made once.

  Args:
    parts: of the run.
    teachers: the observers that label.
    images: `[C, N, H, W, D]` in [0, 1], the condensed set.
    key: see `make_labels`.
    stages: of the run.

  Raises:
    ValueError: if `labels.npz` is damaged, or of other images, teachers or
      batches.
  """
  if parts.config.labels.regime != 'stored':
    return make_labels(parts, teachers, images, key)
  section = parts.config.evaluation
  settings = digest(
    digest_arrays(images),
    [o.identity for o in teachers],
    section.epochs,
    parts.protocol.batch_size,
    section.smallest_crop,
    parts.flips,
    parts.config.seed,
  )
  path = stages.path(_STORED)
  if stages.is_done('labels', settings, _STORED):
    stored = labelling.load_labels(path)
    count = images.shape[0] * images.shape[1]
    labelling.check_stored(
      stored,
      batch_size=parts.protocol.batch_size,
      num_images=count,
      num_classes=parts.dataset.num_classes,
    )
    return Labels('stored', stored=stored)
  began = time.monotonic()
  made = make_labels(parts, teachers, images, key)
  if sharding.is_main():
    labelling.save_labels(path, made.stored)
  stages.finish(
    'labels',
    settings,
    time.monotonic() - began,
    f'{made.nbytes / 2**20:.1f} MiB of stored labels',
  )
  return made


class Students:
  """Trains students on sets, all under one protocol."""

  def __init__(
    self,
    parts: Parts,
    teachers: tuple[Observer, ...],
    stop: Any = None,
    outlook: Outlook | None = None,
  ):
    """Remembers the parts; programs are made when they are needed.

    Args:
      parts: of the run.
      teachers: the observers that label.
      stop: whether the run was asked to stop, or None.
      outlook: hears how long the training takes.
    """
    self._parts, self._stop = parts, stop
    self._outlook = outlook or Outlook({})
    self._networks = tuple(o.plan.network for o in teachers)
    self._variables = tuple(o.variables for o in teachers)
    self._evaluator = functools.cache(self._build)

  def run(
    self,
    name: str,
    images: np.ndarray,
    labels: Labels,
    key: jax.Array,
    word: str = '',
  ) -> dict[str, Any]:
    """Trains students on a set; returns what `evaluations.json` records.

    Args:
      name: of the set, for the progress.
      images: `[C, N, H, W, D]` in [0, 1].
      labels: how they are labelled.
      key: decides the students and their batches.
      word: which student; '' is the config's network.

    Raises:
      ValueError: if stored labels do not belong to the images and batches.
      Interrupted: if a stop is asked for; this evaluation is then lost.
    """
    parts, began = self._parts, time.monotonic()
    kind = labels.regime if labels.regime in ('online', 'stored') else 'plain'
    evaluator, network = self._evaluator(word, kind)
    data = self._training_set(images, labels)
    result = train_and_test(
      name,
      evaluator,
      data,
      key,
      protocol=parts.protocol,
      seeds=parts.config.evaluation.seeds,
      stop=self._stop,
      watch=self._watch(name),
    )
    self._outlook.finish('students', name)
    online = labels.regime == 'online'
    return {
      **result.summary(),
      'images': int(data.images.shape[0]),
      'network': network.name,
      'epochs': parts.protocol.epochs,
      'label_regime': labels.name,
      'bytes': 4 * int(np.prod(images.shape)),
      'label_bytes': labels.nbytes,
      'teacher_bytes': (
        labelling.teacher_bytes(self._variables) if online else 0
      ),
      'seconds': round(time.monotonic() - began, 3),
    }

  def _watch(self, name):
    """Tells the outlook of every piece but the first, which is compiled."""
    before: list[tuple[float, float]] = []

    def heard(done):
      now = time.monotonic()
      if before:
        share, then = before.pop()
        piece = done - share
        self._outlook.update('students', name, done, piece, now - then)
      before.append((done, now))

    return heard

  def _training_set(self, images, labels):
    parts = self._parts
    classes, ipc = images.shape[:2]
    flat = np.asarray(images).reshape(-1, *images.shape[2:])
    answers = np.repeat(np.arange(classes), ipc)
    if labels.soft is not None:
      answers = np.asarray(labels.soft).reshape(-1, classes)
    data = evaluation.training_set(flat, answers, classes)
    if labels.regime == 'online':
      return data._replace(teacher=self._variables)
    if labels.stored is None:
      return data
    labelling.check_stored(
      labels.stored,
      batch_size=parts.protocol.batch_size,
      num_images=len(flat),
      num_classes=classes,
    )
    return data._replace(teacher=jax.tree.map(jnp.asarray, labels.stored))

  def _build(self, word: str, kind: str) -> tuple[Evaluator, Network]:
    """The programs for a student and a kind of labels."""
    parts = self._parts
    section, dataset = parts.config.evaluation, parts.dataset
    network = parts.students[word] if word else parts.network
    loss = labelling.student_loss(
      section.loss,
      hard_weight=section.hard_weight,
      temperature=section.temperature,
    )
    options: dict[str, Any]
    if kind == 'stored':
      draw, learn = labelling.stored_source(loss, parts.normalise)
      options = {'draw': draw, 'loss': learn}
    else:
      options = {
        'augment': statistics_parts.student_augment(parts),
        'mix': statistics_parts.student_mix(parts.config),
      }
    if kind == 'online':
      options['loss'] = labelling.online(self._networks, loss)
    seeds: Any = 'auto'
    if parts.mesh is not None:
      seeds = sharding.seed_strategy(parts.mesh)
    evaluator = evaluation.evaluator(
      network,
      dataset.test_images,
      dataset.test_labels,
      protocol=parts.protocol,
      normalise=parts.normalise,
      scale=dataset.scale,
      seeds=seeds,
      **options,
    )
    return evaluator, network
