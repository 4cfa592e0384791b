"""What the report shows of a codebook: its bytes, its codes, its features."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import artefact, data, formations, objectives
from dcjax.artefact import Artefact
from dcjax.runs.report import _pictures as pictures, _svg
from dcjax.runs.report._html import section, size, table

_STEPS = 9  # images between two codes, both included
_CLASSES = 10
_REAL = 100  # real images of a class in the scatter
_ROWS = {
  'total': 'codebook, as stored',
  'generator': 'its generator',
  'codes': 'its codes',
  'embeddings': 'its class embeddings',
  'pixels_float32': 'the images instead, float32',
  'pixels_uint8': 'the images instead, 8 bit',
}


def bytes_of(condensed: Artefact, ipc: int) -> dict[str, Any]:
  """`{'codebook': bytes}` of `artefact.codebook_bytes`, or nothing."""
  if condensed.spec['name'] != 'codebook':
    return {}
  found = artefact.codebook_bytes(condensed.spec, ipc)
  # JSON knows no infinity.
  finite = {k: v if np.isfinite(v) else None for k, v in found.items()}
  return {'codebook': finite}


def bytes_section(results: Mapping[str, Any]) -> Iterator[str]:
  """The report's section that sets a codebook beside its images."""
  found = results.get('codebook')
  if not found:
    return
  rows = [[title, size(found[name])] for name, title in _ROWS.items()]
  rows += [
    [f'break-even beside {title}', _images(found[f'break_even_{name}'])]
    for name, title in (('float32', 'float32'), ('uint8', '8 bit'))
  ]
  note = (
    '<p class="note">Below the break-even number of images per class the images'
    ' themselves are the smaller set.</p>'
  )
  yield section('Codebook and images', table(['part', 'size'], rows) + note)


def _images(ipc):
  return 'never' if ipc is None else f'{ipc:.1f} images per class'


def pictures_of(
  built: Any, condensed: Artefact, variables: Any = None
) -> dict[str, tuple[Any, str]]:
  """Pictures of a codebook alone, by caption, and what they show.

  Args:
    built: the objects of the run.
    condensed: its artefact; of another formation, there are none.
    variables: of a network trained on real images, or None.
  """
  if condensed.spec['name'] != 'codebook':
    return {}
  found = {}
  if variables is not None:
    found['Features of real and condensed images'] = (
      feature_scatter(built, condensed, variables),
      'first two principal components of the real ones under a network trained '
      'on real images; dots are real, rings condensed images, colours classes',
    )
  if len(condensed.params['codes']) > 1:
    found['From code to code'] = (
      interpolation(built.formation, condensed.params),
      'one row per class; left the first code, right the second one',
    )
  return found


def interpolation(
  formation: formations.base.Formation, params: Any
) -> np.ndarray:
  """Images on the way from the first code to the second, a row per class.

  Args:
    formation: a codebook.
    params: its numbers, of at least two codes.

  Returns:
    uint8 `[rows, columns, 1 or 3]`, of the first ten classes.
  """
  first, second = (jnp.float32(params['codes'][i]) for i in (0, 1))
  way = jnp.linspace(0, 1, _STEPS)[:, None]
  classes = jnp.arange(min(_CLASSES, formation.spec['num_classes']))
  images = formations.decode_some(
    formation, params, classes, (1 - way) * first + way * second
  )
  return pictures.image_grid(
    images, value_range=formation.spec['value_range'], max_columns=_STEPS
  )


def feature_scatter(
  built: Any, condensed: Artefact, variables: Any
) -> _svg.Plot:
  """Draws pooled features of real and condensed images of the first classes.

  The paper's Figure 4; with and without the relation losses it takes two runs.

  Args:
    built: the objects of the run.
    condensed: its artefact.
    variables: of a network trained on real images.

  Returns:
    A plot.
  """
  fake = np.asarray(condensed.batch().images)[:_CLASSES]
  count = min(_REAL, int(built.dataset.counts.min()))
  shape = (built.dataset.num_classes, count)
  first = np.broadcast_to(np.arange(count), shape)
  real = data.images_at(built.dataset, first)[: len(fake)]

  @jax.jit
  def features(images):
    flat = jnp.reshape(images, (-1, *images.shape[2:]))
    outputs, _ = built.network.apply(
      variables, built.normalise(jax.random.key(0), flat), False
    )
    pooled = objectives.pooled_features(outputs)
    return pooled.reshape(*images.shape[:2], -1)

  seen = [np.float64(features(jnp.asarray(x))) for x in (real, fake)]
  return _scatter(*principal_components(*seen))


def principal_components(
  real: np.ndarray, fake: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Projects both on the two widest directions of the real ones.

  Args:
    real: `[c, n, F]`.
    fake: `[c, m, F]`.

  Returns:
    `[c, n, 2]` and `[c, m, 2]`.
  """
  flat = real.reshape(-1, real.shape[-1])
  centre = flat.mean(0)
  _, _, directions = np.linalg.svd(flat - centre, full_matrices=False)
  plane = directions[:2].T
  return (real - centre) @ plane, (fake - centre) @ plane


def _scatter(real, fake):
  series = []
  for i, (dots, rings) in enumerate(zip(real, fake, strict=True)):
    series.append(_svg.Series('', *dots.T.tolist(), kind='dots', colour=i))
    series.append(_svg.Series('', *rings.T.tolist(), kind='rings', colour=i))
  return _svg.Plot('', series, 'first component', 'second component')
