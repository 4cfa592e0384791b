"""What follows condensation: artefact, evaluations, results, pictures."""

import platform
import time
from typing import Any

import builder
import jax
import numpy as np
import optax
import pictures
import report
from progress import Progress

import dcjax
from dcjax import artefact, coresets, evaluation, formations, inner, optimizers

_REGIME = 'hard'


def make_artefact(parts: builder.Run, params: Any) -> artefact.Artefact:
  """The condensed set with everything needed to use it.

  Nothing that differs between two runs of the same settings goes in, so that a
  resumed run ends with the same bytes as one that never stopped.
  """
  dataset, config = parts.dataset, parts.config
  params = parts.formation.project(params)
  return artefact.Artefact(
    params=jax.tree.map(np.asarray, params),
    spec=dict(parts.formation.spec),
    mean=dataset.mean,
    std=dataset.std,
    class_names=dataset.class_names,
    value_range=tuple(parts.formation.spec['value_range']),
    label_regime=_REGIME,
    protocol={
      'network': parts.network.name,
      **parts.protocol._asdict(),
      'augmentation': parts.strategies['evaluate'],
      'cutmix_probability': parts.strategies['cutmix_probability'],
    },
    provenance={
      'method': config.method,
      'dataset': dataset.name,
      'ipc': config.ipc,
      'seed': config.seed,
      'config': _plain(config, without=('data',)),
      'spectrogram': dict(dataset.extra),
      'versions': versions(),
    },
  )


def _plain(config, without=()):
  import json

  plain = json.loads(config.to_json_best_effort())
  return {k: v for k, v in plain.items() if k not in without}


def versions() -> dict[str, str]:
  """Versions of Python and of the packages that decide the numbers."""
  return {
    'dcjax': dcjax.__version__,
    'jax': jax.__version__,
    'numpy': np.__version__,
    'optax': optax.__version__,
    'python': platform.python_version(),
  }


def evaluate_all(parts, folder, keys, params, stop) -> None:
  """Evaluates the condensed set, its start and the baselines, each once."""
  wanted = ['condensed', 'initial', *parts.config.evaluation.baselines]
  shared = _Evaluator(parts)
  for name in wanted:
    if name in folder.evaluations():
      continue
    images = training_images(parts, keys, params, name)
    entry = shared.run(name, images, keys['evaluate'], _seeds(parts))
    folder.add_evaluation(name, entry)
    if stop.asked:
      from experiment import Interrupted

      raise Interrupted(
        f'stopped after evaluating {name}; the same command goes on from here'
      )


def evaluate_checkpoint(parts, folder, keys, params, outer, seconds) -> None:
  """Evaluates the condensed set at an outer iteration, with one network."""
  name = f'outer_{outer}'
  if name in folder.evaluations():
    return
  images = training_images(parts, keys, params, 'condensed')
  entry = _Evaluator(parts).run(name, images, keys['evaluate'], _seeds(parts))
  folder.add_evaluation(name, {**entry, 'outer': outer, 'at': seconds})


def _seeds(parts):
  return parts.config.evaluation.seeds


def training_images(parts, keys, params, name: str) -> np.ndarray:
  """The images `[C, M, H, W, D]` of a named set, in [0, 1]."""
  if name == 'condensed':
    return parts.formation.decode(parts.formation.project(params)).images
  if name == 'initial':
    start = builder.initial_params(parts, keys['init'])
    return parts.formation.decode(start).images
  ipc = parts.config.ipc
  if name == 'random':
    chosen = coresets.random(keys['random'], parts.dataset.counts, ipc)
  else:
    features = trained_features(parts, keys['herding'])
    labels = np.asarray(parts.inner_data.real.labels)
    chosen = getattr(coresets, name)(features, labels, ipc)
  return builder.real_images(parts.dataset, chosen)


def trained_features(parts, key) -> jax.Array:
  """Embeddings of a network trained on the whole real set, class by class."""
  config = parts.config
  loop = inner.train_on_real(
    parts.network,
    optimizers.sgd(0.01, momentum=0.9, weight_decay=5e-4),
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

  return train(key, parts.inner_data)


class _Evaluator:
  """One evaluation program for all sets of a run."""

  def __init__(self, parts):
    self._parts = parts
    self._evaluator = builder.build_evaluator(parts)
    decoded = formations.decoded_count(parts.formation, parts.config.ipc)
    self._longest = parts.dataset.num_classes * decoded

  def run(self, name, images, key, seeds) -> dict[str, Any]:
    parts, began = self._parts, time.monotonic()
    classes = parts.dataset.num_classes
    flat = np.asarray(images).reshape(-1, *parts.dataset.image_shape)
    labels = np.repeat(np.arange(classes), flat.shape[0] // classes)
    data = evaluation.training_set(flat, labels, classes, self._longest)
    progress = Progress(f'evaluating {name}', parts.protocol.epochs, unit='ep')
    result = evaluation.evaluate(
      self._evaluator,
      data,
      key,
      protocol=parts.protocol,
      num_seeds=seeds,
      progress=lambda done: progress.update(
        round(done * parts.protocol.epochs)
      ),
    )
    progress.close()
    return {
      **result.summary(),
      'images': int(flat.shape[0]),
      'network': parts.network.name,
      'epochs': parts.protocol.epochs,
      'label_regime': _REGIME,
      'seconds': round(time.monotonic() - began, 3),
    }


def summarise(parts, folder, condensed, seconds) -> dict[str, Any]:
  """Collects `results.json`."""
  entries = folder.evaluations()
  stored = artefact.storage(condensed)
  finals = {k: v for k, v in entries.items() if not k.startswith('outer_')}
  one_image = int(np.prod(parts.dataset.image_shape)) * 4
  for name in finals.keys() & set(builder.BASELINES):
    finals[name]['bytes'] = finals[name]['images'] * one_image
  return {
    'method': parts.config.method,
    'dataset': parts.dataset.name,
    'ipc': parts.config.ipc,
    'formation': dict(parts.formation.spec),
    'headline': 'condensed',
    'evaluations': finals,
    'storage': stored,
    'seconds': {
      'condense': round(seconds, 3),
      'evaluate': round(sum(e['seconds'] for e in entries.values()), 3),
    },
    'environment': {
      'device': str(jax.devices()[0].device_kind),
      'devices': jax.device_count(),
      'platform': platform.platform(),
      **versions(),
    },
    'checkpoints': _checkpoint_curve(entries, finals, parts, seconds),
    'config_file': folder.config_file,
    'label_regime': _REGIME,
  }


def _checkpoint_curve(entries, finals, parts, seconds):
  points = [
    {
      'outer': entry['outer'],
      'seconds': entry['at'],
      'accuracy_mean': entry['last_mean'],
      'accuracy_std': entry['last_std'],
    }
    for name, entry in entries.items()
    if name.startswith('outer_')
  ]
  for name, outer, at in (
    ('initial', 0, 0.0),
    ('condensed', parts.config.schedule.outer, seconds),
  ):
    if name in finals:
      points.append(
        {
          'outer': outer,
          'seconds': at,
          'accuracy_mean': finals[name]['last_mean'],
          'accuracy_std': finals[name]['last_std'],
        }
      )
  return sorted(points, key=lambda p: p['outer'])


def _rows(images):
  """One row a class; single images of ten classes share a row."""
  images = np.asarray(images)
  if images.shape[1] == 1 and images.shape[0] % 10 == 0:
    return images.reshape(-1, 10, *images.shape[2:])
  return images


def show(parts, folder, keys, condensed, results) -> None:
  """Writes `images.png` and `report.html`."""
  value_range = parts.dataset.value_range
  start = builder.initial_params(parts, keys['init'])['images']
  ipc = parts.config.ipc
  real = builder.real_images(
    parts.dataset, coresets.random(keys['random'], parts.dataset.counts, ipc)
  )
  grids = {
    name: pictures.image_grid(_rows(images), value_range=value_range)
    for name, images in (
      ('real', real),
      ('initial', start),
      ('condensed', condensed.params['images']),
    )
  }
  pictures.save_png(folder.path / 'images.png', grids['condensed'])
  report.write_report(
    folder.path,
    config=folder.config,
    results=results,
    metrics=folder.metrics(),
    pictures=grids,
  )
