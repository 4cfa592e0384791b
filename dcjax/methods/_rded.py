"""RDED: real crops that an observer finds easy, stitched into images."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax import augment, labelling
from dcjax.base import Array, Augment, Key, Network, Variables
from dcjax.data import sampling
from dcjax.utils import check_at_least, check_choice

# Which crops share an image.
ARRANGEMENTS = ('interleaved', 'grouped')


def rded(
  networks: Sequence[Network],
  variables: Sequence[Variables],
  data: sampling.DeviceData,
  ipc: int,
  key: Key,
  *,
  normalise: Augment,
  factor: int = 1,
  candidates: int = 300,
  crops: int = 5,
  scale: tuple[float, float] = (0.08, 1.0),
  ratio: tuple[float, float] = (1.0, 1.0),
  best_of_image: bool = True,
  arrangement: str = 'interleaved',
  batch_size: int = 50,
) -> Array:
  """Selects and stitches real crops; a condensed set, or where one starts.

  Sun et al., "On the Diversity and Realism of Distilled Dataset" (CVPR 2024).
  Of `candidates` random images of each class, `crops` random crops are resized
  to a tile (the image's side over `factor`) and padded with the mean colour to
  a whole image, in the middle. The observer scores them by cross-entropy. The
  best crop of each image stays, and of these the `ipc * factor**2` best ones,
  ordered, so that every image gets easy and less easy ones; see `stitch`.

  EDC's start on ImageNet takes any crop (`best_of_image=False`) of 256 images,
  4 each, `ratio=(3 / 4, 4 / 3)`, the easiest together in an image
  (`arrangement='grouped'`), and scores them in full size among the images that
  score best as a whole, which is left out here.

  Args:
    networks: observers; the mean of their logits is scored. RDED has one.
    variables: of each observer.
    data: real images, on the device.
    ipc: images per class.
    key: decides images and crops.
    normalise: applied to the images.
    factor: crops along each side of an image: 1 for small images, 2 for those
      of ImageNet's size.
    candidates: images of each class; all of a smaller class.
    crops: of each candidate.
    scale: smallest and largest share of the area that a crop keeps.
    ratio: smallest and largest aspect ratio of a crop.
    best_of_image: whether an image gives its best crop at most.
    arrangement: see `stitch`.
    batch_size: candidates scored at a time.

  Returns:
    `[C, ipc, H, W, D]` in [0, 1].

  Raises:
    ValueError: if a number is below 1, the arrangement is unknown, the images
      cannot be divided by `factor`, or a class has too few images.

  Example:
    >>> images = rded([network], [variables], data.real, 2, key, candidates=3,
    ...               normalise=normalise)
  """
  _check(ipc, factor, candidates, crops, batch_size)
  check_choice('arrangement', arrangement, ARRANGEMENTS)
  height, width = data.images.shape[-3:-1]
  _check_factor(factor, height, width)
  counts = np.asarray(data.counts)
  candidates = min(candidates, int(counts.max()))
  needed = ipc * factor**2
  given = np.minimum(counts, candidates) * (1 if best_of_image else crops)
  if given.min() < needed:
    raise ValueError(
      f'class {given.argmin()}: has {given.min()} crops to choose from; '
      f'{needed} are needed'
    )
  options = _Options(
    networks,
    normalise,
    (height // factor, width // factor),
    int(counts.max()),
    candidates,
    crops,
    scale,
    ratio,
    best_of_image,
    min(batch_size, candidates),
  )

  @jax.jit
  def run(variables, data, key):
    def of_class(args):
      parts, losses = _scored_class(options, variables, data, *args)
      chosen = parts[jnp.argsort(losses)[:needed]]
      return stitch(chosen, factor, arrangement)

    keys = jax.random.split(key, len(counts))
    return jax.lax.map(of_class, (jnp.arange(len(counts)), keys))

  return run(tuple(variables), data, key)


class _Options(NamedTuple):
  networks: Sequence[Network]
  normalise: Augment
  tile: tuple[int, int]
  longest: int
  candidates: int
  crops: int
  scale: tuple[float, float]
  ratio: tuple[float, float]
  best_of_image: bool
  batch_size: int


def _scored_class(options, variables, data, label, key):
  """Crops `[P, h, w, D]` of a class and their losses `[P]`."""
  draw_key, crop_key = jax.random.split(key)
  # Positions beyond the end of the class sort last and lose.
  absent = jnp.arange(options.longest) >= data.counts[label]
  order = jax.random.uniform(draw_key, (options.longest,)) + absent
  chosen = jnp.argsort(order)[: options.candidates]
  positions = jnp.where(absent[chosen], 0, chosen)
  parts, losses = jax.lax.map(
    lambda args: _scored_crops(options, variables, data, label, *args),
    (positions, jax.random.split(crop_key, options.candidates)),
    batch_size=options.batch_size,
  )
  losses = jnp.where(absent[chosen][:, None], jnp.inf, losses)
  return parts.reshape(-1, *parts.shape[2:]), losses.reshape(-1)


def _scored_crops(options, variables, data, label, position, key):
  """Crops `[n, h, w, D]` of one image and their losses `[n]`."""
  image = sampling.fetch(data, data.starts[label] + position)
  size = image.shape[:2]
  boxes = augment.draw_boxes(
    key, options.crops, size, options.scale, options.ratio
  )
  copies = jnp.broadcast_to(image, (options.crops, *image.shape))
  parts = augment.crop_boxes(copies, boxes, options.tile)
  padded = _in_the_middle(options.normalise(key, parts), size)
  logits = labelling.ensemble_logits(options.networks, variables, padded)
  losses = optax.softmax_cross_entropy_with_integer_labels(
    logits, jnp.full(options.crops, label)
  )
  if options.best_of_image:
    best = jnp.argmin(losses)[None]
    return parts[best], losses[best]
  return parts, losses


def stitch(
  crops: Array, factor: int, arrangement: str = 'interleaved'
) -> Array:
  """Puts crops together as the tiles of images, row by row.

  Args:
    crops: `[N * factor**2, h, w, D]`, best first.
    factor: tiles along each side.
    arrangement: `'interleaved'`: image `a` holds crops `a, a + N, a + 2 N, ...`
      (RDED); `'grouped'`: as many in a row share an image (EDC).

  Returns:
    `[N, factor * h, factor * w, D]`.

  Raises:
    ValueError: if the arrangement is unknown.
  """
  check_choice('arrangement', arrangement, ARRANGEMENTS)
  if arrangement == 'interleaved':
    by_rank = crops.reshape(factor**2, -1, *crops.shape[1:])
    crops = by_rank.swapaxes(0, 1).reshape(crops.shape)
  _, h, w, d = crops.shape
  tiles = crops.reshape(-1, factor, factor, h, w, d)
  return tiles.swapaxes(2, 3).reshape(-1, factor * h, factor * w, d)


def shuffle_tiles(factor: int) -> Augment:
  """Makes an augmentation that rearranges the tiles of stitched images.

  RDED trains students on such images. Every image has its own draw: columns of
  tiles are permuted, then rows, so that `factor!**2` arrangements occur, alike
  often.

  Args:
    factor: tiles along each side; see `stitch`.

  Raises:
    ValueError: if it is below 1, or (when called) does not divide the images.
  """
  check_at_least('factor', factor, 1)

  def one(key, tiles):
    column_key, row_key = jax.random.split(key)
    tiles = jax.random.permutation(column_key, tiles, axis=2)
    return jax.random.permutation(row_key, tiles, axis=0)

  def apply(key: Key, images: Array) -> Array:
    n, h, w, d = images.shape
    _check_factor(factor, h, w)
    tiles = images.reshape(n, factor, h // factor, factor, w // factor, d)
    return jax.vmap(one)(augment.sample_keys(key, n), tiles).reshape(
      images.shape
    )

  return apply


def _check_factor(factor, height, width):
  if height % factor or width % factor:
    raise ValueError(
      f'factor {factor}: must divide the sides of the images, {height}x{width}'
    )


def _in_the_middle(images, size):
  """Pads `[B, h, w, D]` with zeros to `size`."""
  missing = [
    total - have for total, have in zip(size, images.shape[1:3], strict=True)
  ]
  sides = [(m // 2, m - m // 2) for m in missing]
  return jnp.pad(images, ((0, 0), *sides, (0, 0)))


def _check(ipc, factor, candidates, crops, batch_size):
  for name, value in (
    ('ipc', ipc),
    ('factor', factor),
    ('candidates', candidates),
    ('crops', crops),
    ('batch_size', batch_size),
  ):
    check_at_least(name, value, 1)
