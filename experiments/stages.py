"""What follows condensation: artefact, evaluations, results, pictures."""

import json
import os
import platform
from typing import Any

import _report_generative
import builder
import evaluations
import jax
import numpy as np
import optax
import pictures
import report
from ml_collections import ConfigDict
from workdir import Workdir

import dcjax
from dcjax import artefact, coresets, formations, whitening


def make_artefact(parts: builder.Run, params: Any) -> artefact.Artefact:
  """The condensed set with everything needed to use it.

  Nothing that differs between two runs of the same settings goes in, so that a
  resumed run ends with the same bytes as one that never stopped.
  """
  dataset, config = parts.dataset, parts.config
  params = dict(parts.formation.project(params))
  if parts.formation.spec['name'] == 'codebook':
    params = formations.as_stored(parts.formation, params)
  labels = params.pop('labels', None)
  whitened = {} if dataset.zca is None else {'zca': config.data.zca}
  return artefact.Artefact(
    params=jax.tree.map(np.asarray, params),
    spec=dict(builder.evaluation_formation(parts).spec),
    mean=dataset.mean,
    std=dataset.std,
    class_names=dataset.class_names,
    value_range=tuple(parts.formation.spec['value_range']),
    labels=labels,
    label_regime=evaluations.regime(labels),
    protocol={
      'network': parts.network.name,
      **parts.protocol._asdict(),
      'augmentation': parts.strategies['evaluate'],
      'one_operation': parts.strategies['evaluate_single'],
      'one_draw_per_image': parts.strategies['evaluate_per_image'],
      'cutmix_probability': parts.strategies['cutmix_probability'],
    },
    provenance={
      'method': config.method,
      'dataset': dataset.name,
      'ipc': config.ipc,
      'seed': config.seed,
      'config': portable(config),
      'spectrogram': dict(dataset.extra),
      **whitened,
      'versions': versions(),
    },
    zca=dataset.zca,
  )


def portable(config: ConfigDict) -> dict[str, Any]:
  """The settings as JSON values, without the paths of this machine."""
  plain = json.loads(config.to_json_best_effort())
  del plain['data']['dir']
  if plain.get('inner', {}).get('pool'):
    plain['inner']['pool'] = os.path.basename(plain['inner']['pool'])
  if plain.get('generator', {}).get('pretrained'):
    path = plain['generator']['pretrained']
    plain['generator']['pretrained'] = os.path.basename(path)
  return plain


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
  """Device, platform and versions, for `results.json`."""
  return {
    'device': str(jax.devices()[0].device_kind),
    'devices': jax.device_count(),
    'platform': platform.platform(),
    **versions(),
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
    'formation': dict(builder.evaluation_formation(parts).spec),
    'headline': 'condensed',
    'evaluations': finals,
    'storage': stored,
    'seconds': {
      'condense': round(seconds, 3),
      'evaluate': round(sum(e['seconds'] for e in entries.values()), 3),
    },
    'environment': environment(),
    'checkpoints': _checkpoint_curve(entries, finals, parts, seconds),
    'config_file': folder.config_file,
    'label_regime': condensed.label_regime,
    **_report_generative.bytes_of(condensed, parts.config.ipc),
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
  """Returns images in rows to draw, and what a row shows.

  One row a class; single images of ten classes share a row.
  """
  images = np.asarray(images)
  if images.shape[1] == 1 and images.shape[0] % 10 == 0:
    rows = images.reshape(-1, 10, *images.shape[2:])
    return rows, 'one image per class, ten classes in a row'
  return images, 'one row per class'


def _viewable(parts, keys, condensed) -> dict[str, Any]:
  """Real, initial and condensed images `[C, N, H, W, D]` to look at.

  Stored images are shown as they are, but whitened ones decoded and turned back
  to about [0, 1]: each cell of a stored image is whitened for itself.
  """
  dataset = parts.dataset
  start = builder.initial_params(parts, keys['init'])
  chosen = coresets.random(keys['random'], dataset.counts, parts.config.ipc)
  real = builder.real_images(dataset, chosen)
  if dataset.zca is None and 'images' in condensed.params:
    stored = {'initial': start, 'condensed': condensed.params}
    return {'real': real} | {k: v['images'] for k, v in stored.items()}
  decoded = {
    'real': real,
    'initial': parts.formation.decode(start).images,
    'condensed': condensed.batch().images,
  }
  if dataset.zca is None:
    return decoded
  return {k: whitening.invert(dataset.zca, v) for k, v in decoded.items()}


def show(parts, folder, keys, condensed, results) -> None:
  """Writes `images.png` and `report.html`."""
  dataset = parts.dataset
  value_range = dataset.value_range if dataset.zca is None else (0.0, 1.0)
  write_pages(
    folder,
    _viewable(parts, keys, condensed),
    value_range,
    results,
    _report_generative.pictures_of(parts, condensed),
  )


def write_pages(
  folder: Workdir,
  viewable: dict[str, Any],
  value_range: tuple[float | None, float | None],
  results: dict[str, Any],
  more: dict[str, tuple[np.ndarray, str]] | None = None,
) -> None:
  """Writes `images.png` and `report.html`.

  Args:
    folder: of the run.
    viewable: `'real'`, `'initial'`, `'condensed'` -> images `[C, N, H, W, D]`;
      the last one must be there.
    value_range: lowest and highest value of the images.
    results: what `results.json` holds.
    more: caption of a further picture -> uint8 `[H, W, 1 or 3]` and what it
      shows.
  """
  grids, layouts = {}, {}
  for name, images in viewable.items():
    rows, layouts[name] = _rows(images)
    grids[name] = pictures.image_grid(rows, value_range=value_range)
  pictures.save_png(folder.path / 'images.png', grids['condensed'])
  for name, (picture, layout) in (more or {}).items():
    grids[name], layouts[name] = picture, layout
  report.write_report(
    folder.path,
    config=folder.config,
    results=results,
    metrics=folder.metrics(),
    pictures=grids,
    layouts=layouts,
  )
