"""The condensed set with everything needed to use it."""

import pathlib
import platform
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax

import dcjax
from dcjax import formations, specs
from dcjax.artefact import Artefact, in_eight_bits
from dcjax.runs import _augment, _build, _condense
from dcjax.runs._build import Built
from dcjax.runs._labels import REGIMES, Labels
from dcjax.runs._observers import Observer
from dcjax.runs._stage import ARTEFACT, Stage
from dcjax.utils import count_cpus


def stage(built: Built, teachers: Sequence[Observer]) -> Stage:
  """The stage that writes `condensed.npz`."""

  def make(params, labels):
    params = _condense.unflattened(params)
    return stored(built, artefact_of(built, params, labels, teachers))

  settings = {
    'protocol': _protocol(built, Labels('hard'), teachers),
    'project': built.config.get('project', 'end'),
    **as_stored(built),
  }
  return Stage(
    'artefact', make, ('condense', 'labels'), settings, ARTEFACT, sole=False
  )


def check_storage(built: Built) -> None:
  """Raises a ValueError unless the set can be stored as `storage` says."""
  if built.config.storage == 'uint8':
    try:
      formations.quantised(8, built.formation)
    except ValueError as error:
      raise ValueError(f"storage 'uint8': {error}") from error


def stored(built: Built, made: Artefact) -> Artefact:
  """An artefact as `storage` says."""
  return made if built.config.storage == 'float32' else in_eight_bits(made)


def as_stored(built: Built) -> dict[str, Any]:
  """Settings of a stage that stores an artefact."""
  storage = built.config.storage
  return {} if storage == 'float32' else {'storage': storage}


def artefact_of(
  built: Built, params: Any, labels: Labels, teachers: Sequence[Observer] = ()
) -> Artefact:
  """Makes the artefact of stored numbers.

  Nothing that differs between two runs of the same settings goes in, so that a
  resumed run ends with the same bytes as one that never stopped.

  Args:
    built: the objects of the run.
    params: the stored numbers; see `_build.finished`.
    labels: of the set; stored ones lie beside the artefact.
    teachers: the observers that label.
  """
  dataset, config = built.dataset, built.config
  params = dict(_build.finished(built, params))
  own = None
  if 'labels' in params:  # what is stored may be logits
    own = built.formation.decode(params).labels
  formation = _build.evaluation_formation(built)
  spec = formations.stored_spec(formation, params)
  params = dict(formations.as_stored(formation, params))
  params.pop('labels', None)
  soft = own if labels.soft is None else labels.soft
  regime = REGIMES['image' if soft is not None else labels.regime]
  return Artefact(
    params=jax.tree.map(np.asarray, params),
    spec=spec,
    mean=dataset.mean,
    std=dataset.std,
    class_names=dataset.class_names,
    value_range=tuple(built.formation.spec['value_range']),
    labels=None if soft is None else np.asarray(soft),
    label_regime=regime,
    protocol=_at_own_rate(built, params, _protocol(built, labels, teachers)),
    provenance={
      'method': config.method.name,
      'dataset': dataset.name,
      'ipc': config.ipc,
      'seed': config.seed,
      'config': _build.plain(config),
      'spectrogram': dict(dataset.extra),
      **({} if dataset.zca is None else {'zca': config.zca}),
      'versions': versions(),
    },
    zca=dataset.zca,
  )


def _at_own_rate(built, params, protocol):
  """The protocol at the rate that the set learned, where it is one number."""
  learned = formations.numpy_step_size(built.formation.spec, params)
  if learned is None or np.ndim(learned):
    return protocol
  return protocol | {'learning_rate': float(learned)}


def _protocol(built, labels, teachers):
  """How networks are trained on the set."""
  config, protocol = built.config, built.protocol._asdict()
  found = {'network': built.network.name, **protocol}
  word = config.augment.get('evaluate', 'auto')
  mix = config.augment.get('mix', 'auto')
  if not _augment.is_pipeline(word):
    probability = built.strategies['cutmix_probability']
    if mix != 'auto':
      probability = specs.parse('augment.mix', mix).get('probability', 1.0)
    return found | {
      'augmentation': built.strategies['evaluate'],
      'one_operation': built.strategies['evaluate_single'],
      'one_draw_per_image': built.strategies['evaluate_per_image'],
      'cutmix_probability': probability,
    }
  section = config.evaluation
  beside = {'labels_file': 'labels.npz'} if labels.stored is not None else {}
  return found | {
    'loss': section.loss,
    'hard_weight': section.hard_weight,
    'temperature': section.temperature,
    'augmentation': word,
    'flips': built.flips,
    'mix': mix,
    'teachers': [o.word for o in teachers],
    **beside,
  }


def versions() -> dict[str, str]:
  """Versions of Python and of the packages that decide the numbers."""
  return {
    'dcjax': dcjax.__version__,
    'jax': jax.__version__,
    'numpy': np.__version__,
    'optax': optax.__version__,
    'python': platform.python_version(),
  }


def environment() -> dict[str, Any]:
  """Device, CPUs, platform and versions, for `results.json`."""
  return {
    'device': str(jax.devices()[0].device_kind),
    'devices': jax.device_count(),
    'cpus': count_cpus(),
    'processor': processor(),
    'platform': platform.platform(),
    **versions(),
  }


def processor() -> str:
  """The name of the CPU, as far as the system tells."""
  try:
    text = pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8')
  except OSError:
    return platform.processor() or platform.machine()
  names = [x for x in text.splitlines() if x.startswith('model name')]
  return names[0].partition(':')[2].strip() if names else platform.machine()
