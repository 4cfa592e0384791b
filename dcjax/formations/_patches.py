"""Multi-formation without parameters: cut stored images, upsample the crops.

IDC (Kim et al., ICML 2022), section 3.2 and appendix D. All formations here
share one decode: each group of stored images is cut into a grid of crops,
crop-major, and the crops are stretched back to full size bilinearly (half-pixel
centres, no antialiasing).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from dcjax import base, resizing
from dcjax.formations import _grids
from dcjax.utils import check_count


def identity(
  *,
  value_range: Sequence[float | None] = _grids.UNIT_RANGE,
  padding: float = 0.5,
) -> base.Formation:
  """Stored images are the synthetic images (IDC-I, DC, DSA, DM).

  Args:
    value_range: (low, high) that `project` clips to; None leaves a side open.
    padding: taken like in every other formation; nothing is padded here.

  Returns:
    A formation with one tile; `[C, N, H, W, D]` decodes to itself.

  Raises:
    ValueError: if an option is outside its range.
  """
  return _patches({'name': 'identity'}, value_range, padding)


def uniform(
  factor: int,
  *,
  value_range: Sequence[float | None] = _grids.UNIT_RANGE,
  padding: float = 0.5,
) -> base.Formation:
  """Cuts every stored image into `factor` by `factor` crops (IDC, section 3.2).

  Rows and columns are treated alike but independently. An axis of `size` pixels
  that factor does not divide is padded at its end to `factor * ceil(size /
  factor)`; each crop takes `ceil(size / factor)` of it and is upsampled to
  `size`. (If factor is close to size, the last crops can be padding only.)

  Args:
    factor: multi-formation factor, >= 1 and at most H and W.
    value_range: (low, high) that `project` clips to; None leaves a side open.
    padding: value of padded pixels, in the units of the stored images.

  Returns:
    A formation with `factor**2` tiles. `[C, N, H, W, D]` decodes to
    `[C, factor**2 * N, H, W, D]`, crop-major: crop (i, j) of stored image k is
    decoded image `(i * factor + j) * N + k`.

  Raises:
    ValueError: if an option is outside its range; later, by `init`, `pack` and
      `decode`, if factor is larger than the image.

  Example:
    >>> formation = uniform(2)
    >>> params = formation.init(key, jnp.zeros([10, 5, 32, 32, 3]))
    >>> formation.decode(params).images.shape
    (10, 20, 32, 32, 3)
  """
  return _patches({'name': 'uniform', 'factor': factor}, value_range, padding)


def multiscale(
  factor: int,
  *,
  value_range: Sequence[float | None] = _grids.UNIT_RANGE,
  padding: float = 0.5,
) -> base.Formation:
  """Decodes with the factors 1, 2, ..., `factor` in turn (IDC, appendix D).

  Args:
    factor: the largest factor, >= 1 and at most H and W.
    value_range: (low, high) that `project` clips to; None leaves a side open.
    padding: value of padded pixels, see `uniform`.

  Returns:
    A formation with `factor**2` tiles. `[C, N, H, W, D]` decodes to
    `[C, M, H, W, D]`, `M = N * (1 + 4 + ... + factor**2)`: the N stored images,
    then the crops of `uniform(2)`, and so on.

  Raises:
    ValueError: as `uniform`.
  """
  spec = {'name': 'multiscale', 'factor': factor}
  return _patches(spec, value_range, padding)


def bound(
  factor: int,
  cap: int,
  *,
  value_range: Sequence[float | None] = _grids.UNIT_RANGE,
  padding: float = 0.5,
) -> base.Formation:
  """Cuts only as many stored images as `cap` decoded images a class allow.

  IDC's public code caps the class batch of a condensation step this way; its
  evaluation decodes the same stored images with `uniform(factor)`. In storage
  order, going from the largest factor down to 2, factor f gets
  `min((cap - decoded - left) // f**2, left)` of the `left` images not yet
  treated; the rest stay uncut. An image about to be cut counts as left too, so
  all N are cut by the largest factor only from `cap >= N * (factor**2 + 1)` on.

  Args:
    factor: the largest factor, >= 1 and at most H and W.
    cap: most decoded images of a class, >= 1.
    value_range: (low, high) that `project` clips to; None leaves a side open.
    padding: value of padded pixels, see `uniform`.

  Returns:
    A formation with `factor**2` tiles. `[C, N, H, W, D]` decodes to
    `[C, M, H, W, D]` with M <= cap, known from N (see `decoded_count`).

  Raises:
    ValueError: as `uniform`; and by `init` and `decode` if N > cap.
  """
  spec = {'name': 'bound', 'factor': factor, 'cap': cap}
  return _patches(spec, value_range, padding)


def time_axis(
  factor: int,
  *,
  value_range: Sequence[float | None] = (None, None),
  padding: float = 0.0,
) -> base.Formation:
  """Cuts spectrograms along time, their columns, only (IDC, speech).

  Args:
    factor: number of crops, >= 1 and at most W.
    value_range: (low, high) that `project` clips to; None leaves a side open.
      Open by default, as spectrograms have no range of their own; IDC uses
      (minimum of the normalised training data, None).
    padding: value of padded columns, see `uniform`.

  Returns:
    A formation with `factor` tiles. `[C, N, H, W, D]` decodes to
    `[C, factor * N, H, W, D]`: crop j of stored image k is `j * N + k`.

  Raises:
    ValueError: as `uniform`.
  """
  return _patches({'name': 'time_axis', 'factor': factor}, value_range, padding)


def _patches(
  spec: dict[str, Any], value_range: Sequence[float | None], padding: float
) -> base.Formation:
  """Builds the formation that `spec` plans."""
  spec = complete_spec(spec, value_range, padding)
  rows, columns = _grids.grid(spec)

  def init(key: base.Key, images: base.Array) -> base.Params:
    del key
    return {'images': check_stored(images, spec)}

  def decode(params: base.Params) -> base.Batch:
    stored = check_stored(params['images'], spec)
    size = stored.shape[2:4]
    images = [
      resizing.bilinear(
        crop(stored[:, start:stop], r, c, spec['padding']), size
      )
      for r, c, start, stop in _grids.groups(spec, stored.shape[1])
    ]
    return label(jnp.concatenate(images, axis=1))

  return base.Formation(
    spec=spec,
    tiles=rows * columns,
    pack=lambda images: pack(images, rows, columns),
    init=init,
    decode=decode,
    project=lambda params: project(params, spec['value_range']),
    by_class=True,
  )


def complete_spec(
  spec: dict[str, Any], value_range: Sequence[float | None], padding: float
) -> dict[str, Any]:
  """Checks every option and returns the spec, ready for JSON."""
  counts = {k: check_count(k, v) for k, v in spec.items() if k != 'name'}
  return {
    **spec,
    **counts,
    'value_range': list(_grids.check_value_range(value_range)),
    'padding': _grids.check_padding(padding),
  }


def check_stored(images: base.Array, spec: Mapping[str, Any]) -> base.Array:
  """Returns stored images as an array that `spec` can decode, or raises."""
  images = jnp.asarray(images)
  _check_axes(images)
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(
      f'images are of type {images.dtype}; stored images must be floats.'
    )
  _grids.check_grid(*_grids.grid(spec), *images.shape[2:4])
  _grids.groups(spec, images.shape[1])  # Raises if there are too many images.
  return images


def _check_axes(images: base.Array) -> None:
  if images.ndim != 5 or 0 in images.shape:
    raise ValueError(
      f'images have shape {list(images.shape)}; it must be [C, N, H, W, D] '
      'without an empty axis.'
    )


def crop(
  images: base.Array, rows: int, columns: int, padding: float
) -> base.Array:
  """Cuts `[C, N, H, W, D]` to `[C, rows * columns * N, s, t, D]`, crop-major.

  s is `ceil(H / rows)`, t is `ceil(W / columns)`; one static transposition, so
  the whole batch of all classes is cut at once, forwards and backwards.
  """
  c, n, h, w, d = images.shape
  s, t = -(-h // rows), -(-w // columns)
  missing = [(0, 0), (0, 0), (0, rows * s - h), (0, columns * t - w), (0, 0)]
  if rows * s > h or columns * t > w:
    images = jnp.pad(images, missing, constant_values=padding)
  crops = images.reshape(c, n, rows, s, columns, t, d)
  crops = crops.transpose(0, 2, 4, 1, 3, 5, 6)
  return crops.reshape(c, rows * columns * n, s, t, d)


def pack(images: base.Array, rows: int, columns: int) -> base.Array:
  """Packs `[C, N * tiles, H, W, D]` to `[C, N, H, W, D]`, nearest neighbour.

  Images `k * N` to `(k + 1) * N - 1` go to tile k of the N packed images, tiles
  counted row by row. This is IDC's `mix` start.
  """
  images, tiles = jnp.asarray(images), rows * columns
  _check_axes(images)
  c, total, h, w, d = images.shape
  _grids.check_grid(rows, columns, h, w)
  if total % tiles:
    raise ValueError(
      f'images have {total} images a class; it must be a multiple of the '
      f'{tiles} tiles of a stored image.'
    )
  row_tile, row_source = _grids.packing(h, rows)
  column_tile, column_source = _grids.packing(w, columns)
  tile = row_tile[:, None] * columns + column_tile
  blocks = images.reshape(c, tiles, total // tiles, h, w, d)
  # Index arrays apart from each other put their axes first: [H, W, C, N, D].
  pixels = blocks[:, tile, :, row_source[:, None], column_source]
  return pixels.transpose(2, 3, 0, 1, 4)


def label(images: base.Array) -> base.Batch:
  """Adds the one-hot labels of the class axis to `[C, M, H, W, D]`."""
  c, m = images.shape[:2]
  one_hot = jnp.eye(c, dtype=jnp.float32)[:, None]
  return base.Batch(images, jnp.broadcast_to(one_hot, (c, m, c)))


def project(
  params: base.Params, value_range: Sequence[float | None]
) -> base.Params:
  """Clips the stored images; whatever else is in `params` passes through."""
  low, high = value_range
  return {**params, 'images': jnp.clip(params['images'], low, high)}
