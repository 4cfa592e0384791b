"""How the images of a set are labelled: by class, or by teachers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import formations, labelling, trees
from dcjax.evaluation import Protocol
from dcjax.runs import _augment, _build, _condense
from dcjax.runs._build import Built
from dcjax.runs._observers import Observer
from dcjax.runs._stage import MEMORY, Kind, Stage

# How a config names the labels -> what artefact and report say.
REGIMES = {
  'hard': 'hard',
  'image': 'one soft label per image',
  'online': 'online teacher',
  'stored': 'stored soft labels per crop',
}


class Labels(NamedTuple):
  """How the images of a set are labelled.

  Attributes:
    regime: of `REGIMES`.
    soft: `[C, N, K]` probabilities of `'image'`, else None.
    stored: `StoredLabels` of `'stored'`, else None.
  """

  regime: str
  soft: Any = None
  stored: Any = None

  @property
  def nbytes(self) -> int:
    """Bytes that the labels take; 0 where nothing is kept."""
    if self.stored is not None:
      return int(self.stored.nbytes)
    return 0 if self.soft is None else int(np.asarray(self.soft).nbytes)


HARD = Labels('hard')


def stage(
  built: Built, teachers: Sequence[Observer], of: str = 'condense'
) -> Stage:
  """The labels of the condensed set."""
  regime = built.config.labels.regime
  inputs = (of, *(o.stage for o in teachers))

  def label(found, *made):
    return make(built, teachers, made, _decoded(built, found).images)

  settings = dict(built.config.labels)
  settings['project'] = built.config.get('project', 'end')
  if regime in ('hard', 'online'):
    return Stage('labels', lambda *_: Labels(regime), (), {'r': regime}, MEMORY)
  if regime == 'image':
    kind = Kind(
      'stages/{}.npz',
      lambda path, value, note: trees.save(path, {'soft': value.soft}, note),
      lambda path: Labels('image', soft=trees.load(path)['soft']),
    )
  else:
    settings |= {
      'epochs': built.protocol.epochs,
      'batch_size': built.protocol.batch_size,
      'augment': built.config.augment.get('evaluate', 'auto'),
      'flips': built.flips,
      'seed': built.config.seed,
    }
    kind = Kind(
      'labels.npz',
      lambda path, value, note: labelling.save_labels(path, value.stored),
      lambda path: Labels('stored', stored=labelling.load_labels(path)),
    )
  return Stage('labels', label, inputs, settings, kind)


def _decoded(built, found):
  params = jax.tree.map(jnp.asarray, _condense.unflattened(found))
  formation = _build.evaluation_formation(built)
  return formation.decode(_build.finished(built, params))


def make(
  built: Built,
  teachers: Sequence[Observer],
  made: Sequence[Mapping[str, Any]],
  images: Any,
) -> Labels:
  """Labels a set in the regime of the config.

  Args:
    built: the objects of the run.
    teachers: the observers that label.
    made: their variables.
    images: `[C, N, H, W, D]` in [0, 1].
  """
  section = built.config.labels
  looking = [o.network for o in teachers]
  numbers = [jax.tree.map(jnp.asarray, m['variables']) for m in made]
  if section.regime == 'image':
    soft = labelling.soft_labels(
      looking,
      numbers,
      jnp.asarray(images),
      normalise=built.normalise,
      temperature=section.temperature,
    )
    return Labels('image', np.asarray(soft))
  if section.regime in ('hard', 'online'):
    return Labels(section.regime)
  crop = _augment.operations(built.config.augment.evaluate)
  return Labels(
    'stored',
    stored=labelling.store(
      looking,
      numbers,
      jnp.asarray(images).reshape(-1, *images.shape[2:]),
      built.keys['labels'],
      epochs=built.protocol.epochs,
      batch_size=built.protocol.batch_size,
      normalise=built.normalise,
      scale=(crop.get('resized_crop', 1.0), 1.0),
      flips=built.flips and 'flip' in crop,
    ),
  )


def check(built: Built) -> None:
  """Raises a ValueError unless stored labels fit the students' augmentation."""
  config = built.config
  if config.labels.regime == 'hard':
    return
  if config.labels.regime == 'stored':
    allowed = {'resized_crop', 'flip'}
    word = config.augment.get('evaluate', 'auto')
    if (
      not _augment.is_pipeline(word) or set(_augment.operations(word)) - allowed
    ):
      raise ValueError(
        f'augment.evaluate {word!r}: stored labels are those of cropped and '
        "mirrored images; must be made of 'resized_crop' and 'flip', or "
        "labels.regime 'online'"
      )
    if config.augment.get('mix', 'auto') != 'cutmix':
      raise ValueError(
        f'augment.mix {config.augment.mix!r}: stored labels are those of '
        "cut-mixed images; must be 'cutmix', or labels.regime 'online'"
      )


def as_loss_wants(
  built: Built, protocol: Protocol, answers: np.ndarray, stored: bool
) -> np.ndarray:
  """Labels around zero for squared error, probabilities for cross-entropy.

  Args:
    built: the objects of the run.
    protocol: of the evaluation.
    answers: `[M, K]`.
    stored: whether they are in the form that the formation stores.
  """
  form = formations.label_form(built.formation) if stored else 'probabilities'
  shift = 1 / answers.shape[-1]
  if protocol.loss == 'squared':
    return answers if form == 'centred' else answers - shift
  if form == 'centred':
    return np.asarray(formations.as_probabilities(answers + shift))
  return answers


def regime_of(labels: Labels, answers: np.ndarray) -> str:
  """What labels are, in words; see `REGIMES`."""
  soft = not bool(np.all((answers == 0) | (answers == 1)))
  return REGIMES['image' if labels.regime == 'hard' and soft else labels.regime]
