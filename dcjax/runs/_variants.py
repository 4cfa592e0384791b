"""Images of a run to look at: stored, decoded, nearest real ones, the start."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import whitening
from dcjax.artefact import Artefact
from dcjax.base import Formation
from dcjax.data import Dataset
from dcjax.runs import report
from dcjax.runs._build import Built

_MOST_CLASSES, _MOST_SLOTS, _MOST_TILES = 100, 10, 40
# Numbers of all pictures on a page, and of a frame of the film.
_PAGE, _FRAME = 4_000_000, 150_000
_MOST_SIDE = 32  # images are compared at no more than so many rows


class Looks(NamedTuple):
  """A condensed set to look at.

  Attributes:
    stored: `[C, N, H, W, D]`; None where no images are stored.
    decoded: `[C, M, H, W, D]`; where `N` divides `M`, those of stored image `n`
      are `n, n + N, n + 2 N, ...`.
  """

  stored: Any
  decoded: Any


def looks(formation: Formation, params: Any) -> Looks:
  """Stored numbers as what they look like."""
  images = params.get('images') if isinstance(params, dict) else None
  params = jax.tree.map(jnp.asarray, params)
  return Looks(images, np.asarray(jax.jit(formation.decode)(params).images))


def looks_of(condensed: Artefact) -> Looks:
  """An artefact as what it looks like."""
  decoded = np.asarray(condensed.batch().images)
  return Looks(condensed.params.get('images'), decoded)


def variants(
  built: Built, now: Looks, start: Looks | None = None
) -> dict[str, np.ndarray]:
  """Pictures of the report, of as many classes and images as fit a page.

  Args:
    built: the objects of the run.
    now: the set as it is.
    start: the set as it was.

  Returns:
    'stored', 'decoded', 'nearest' (the training image of the class that is
    nearest to each decoded one) and 'start' -> uint8 `[C', n, H, W, 1 or 3]`;
    decoded ones of a stored image are neighbours. Whitened images are decoded
    and turned back, so that none are stored.
  """
  white = built.dataset.zca is not None
  stored = None if white or now.stored is None else np.asarray(now.stored)
  decoded = np.asarray(now.decoded)
  if stored is not None and decoded.shape[1] % stored.shape[1]:
    stored = None
  slots = decoded.shape[1] if stored is None else stored.shape[1]
  tiles = decoded.shape[1] // slots
  classes, slots = _that_fit(decoded.shape, slots, tiles)

  def first(images):
    """Of each slot all decoded images, side by side."""
    every = images.shape[1] // tiles
    chosen = np.arange(slots)[:, None] + every * np.arange(tiles)
    return images[:classes, chosen.ravel()]

  found: dict[str, Any] = {}
  if stored is not None:
    found['stored'] = stored[:classes, :slots]
  found['decoded'] = first(decoded)
  found['nearest'] = nearest(built.dataset, found['decoded'])
  if start is not None:
    same = stored is not None and start.stored is not None
    found['start'] = (
      np.asarray(start.stored)[:classes, :slots]
      if same
      else first(np.asarray(start.decoded))
    )
  if stored is not None and tiles == 1:
    del found['decoded']  # they are what is stored
  return {name: _shown(built, images) for name, images in found.items()}


def _that_fit(shape, slots, tiles):
  """Classes, and stored images of each, that a page has room for."""
  classes = min(shape[0], _MOST_CLASSES)
  one = (2 * tiles + 2) * int(np.prod(shape[2:]))
  most = min(_MOST_SLOTS, max(1, _MOST_TILES // tiles), slots)
  return classes, max(1, min(most, _PAGE // (classes * one)))


def _shown(built, images):
  value_range: Sequence[float | None] = built.dataset.value_range
  if built.dataset.zca is not None:
    images = whitening.invert(built.dataset.zca, jnp.asarray(images))
    value_range = (0.0, 1.0)
  return report.to_uint8(np.asarray(images), value_range)


def nearest(dataset: Dataset, images: np.ndarray) -> np.ndarray:
  """The training images that are nearest to others of the same class.

  In the squared distance of pixels, of every so manieth row and column where
  there are more than 32.

  Args:
    dataset: any; of one that is larger than memory, its first window.
    images: `[C', n, H, W, D]`, of the first classes.

  Returns:
    float32 `[C', n, H, W, D]`.
  """
  order, offsets, counts = dataset.class_index()
  step = -(-max(images.shape[2:4]) // _MOST_SIDE)
  found = np.empty(images.shape, np.float32)
  for c, wanted in enumerate(images):
    own = dataset.images[order[offsets[c] :][: counts[c]]]
    real = own[:, ::step, ::step].reshape(len(own), -1).astype(np.float32)
    real /= dataset.scale
    small = wanted[:, ::step, ::step].reshape(len(wanted), -1)
    apart = (real**2).sum(1) - 2 * small @ real.T
    found[c] = own[apart.argmin(1)].astype(np.float32) / dataset.scale
  return found


def picture(built: Built, now: Looks, small: bool = False) -> np.ndarray:
  """The set as one picture: a row for each class, or ten classes in a row.

  Args:
    built: the objects of the run.
    now: the set; what is stored is shown, where that are images.
    small: whether it is a frame of the film: of at most ten classes.

  Returns:
    uint8 `[rows, columns, 1 or 3]`.
  """
  white = built.dataset.zca is not None
  images = np.asarray(
    now.decoded if white or now.stored is None else now.stored
  )
  columns = _MOST_SLOTS
  if small:
    images = images[:10]
    if images.shape[:2] == (10, 1):  # taller than a row of ten
      images = images.reshape(2, 5, *images.shape[2:])
    one = images.shape[0] * int(np.prod(images.shape[2:]))
    columns = max(1, min(_MOST_SLOTS, _FRAME // one))
  images = images[:, :columns]
  if small and images.shape[1] < len(images):  # a column for each class
    images = images.swapaxes(0, 1)
  images = rows(images)
  return report.image_grid(_shown(built, images))


def rows(images: np.ndarray) -> np.ndarray:
  """Images `[C, n, ...]` row by row: single ones of ten classes share one."""
  if images.shape[1] == 1 and images.shape[0] % 10 == 0:
    return images.reshape(-1, 10, *images.shape[2:])
  return images


def film_points(names: Iterable[int], most: int) -> list[int]:
  """Iterations of a film, at most so many, the first and the last among them.

  Args:
    names: iterations.
    most: of them.
  """
  every = sorted(names)
  if len(every) <= most:
    return every
  places = np.linspace(0, len(every) - 1, most).round().astype(int)
  return [every[i] for i in places]
