"""Where the synthetic images start: noise, real images or packed real ones."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import base
from dcjax.formations import _plan

_MODES = ('mix', 'noise', 'random')
_ORDERS = ('first', 'random')


def noise(key: base.Key, shape: Sequence[int]) -> base.Array:
  """Draws grey noise: normal of mean 1/2 and deviation 1/4, clipped to [0, 1].

  Args:
    key: decides the draw.
    shape: shape of the result, for images `[C, N, H, W, D]`.

  Returns:
    Floats of this shape in [0, 1].
  """
  return jnp.clip(jax.random.normal(key, tuple(shape)) / 4 + 0.5, 0.0, 1.0)


def select(
  key: base.Key,
  class_sizes: Sequence[int],
  per_class: int,
  order: str = 'random',
) -> base.Array:
  """Chooses real images of every class, none of them twice.

  Args:
    key: decides the draw; unused if order is 'first'. For one key a larger
      `per_class` continues the draw of a smaller one.
    class_sizes: `[C]` number of images of each class, concrete values.
    per_class: number of images to choose in each class.
    order: 'random' draws without replacement; 'first' takes the first images in
      data-set order, as IDC's public code does.

  Returns:
    `[C, per_class]` int32 indices within each class.

  Raises:
    ValueError: if a class is too small, `order` is unknown or `per_class` is
      not an integer >= 1.

  Example:
    >>> select(key, [6000, 5421], 2, order='first')
    Array([[0, 1], [0, 1]], dtype=int32)
  """
  per_class = _plan.check_count('per_class', per_class)
  _check_known('order', order, _ORDERS)
  sizes = np.asarray(class_sizes)
  if sizes.ndim != 1 or not sizes.size or sizes.dtype.kind not in 'iu':
    raise ValueError(
      f'class_sizes is {class_sizes!r}; it must be one integer for each class.'
    )
  for label, size in enumerate(sizes):
    if size < per_class:
      raise ValueError(
        f'class {label} has {size} images; {per_class} are asked for.'
      )
  if order == 'first':
    first = jnp.arange(per_class, dtype=jnp.int32)
    return jnp.broadcast_to(first, (len(sizes), per_class))
  scores = jax.random.uniform(key, (len(sizes), int(sizes.max())))
  # Places beyond the end of a class sort last and so are never chosen.
  scores = jnp.where(np.arange(sizes.max()) < sizes[:, None], scores, jnp.inf)
  return jnp.argsort(scores, axis=1)[:, :per_class].astype(jnp.int32)


def initialise(
  key: base.Key,
  formation: base.Formation,
  dataset_images: base.Array | np.ndarray,
  ipc: int,
  mode: str = 'random',
  *,
  order: str = 'random',
  class_sizes: Sequence[int] | None = None,
) -> base.Params:
  """Builds the parameters that condensation starts from.

  Args:
    key: decides the noise, the draw of images and a formation's own start.
    formation: what stores the images.
    dataset_images: `[C, S, H, W, D]` floats, NumPy or JAX; 'noise' reads only
      the shape.
    ipc: stored images per class.
    mode: 'random' takes ipc images of each class; 'mix' takes `ipc *
      formation.cells` and packs them, so that each decoded crop starts as a
      shrunken real image, the start of IDC (for one cell the same as
      'random'); 'noise' takes none, see `noise`.
    order: which images, see `select`; 'first' is the choice of IDC's code.
    class_sizes: `[C]` real images of each class if classes shorter than S are
      padded; all S by default.

  Returns:
    The formation's params; images `[C, ipc, H, W, D]`.

  Raises:
    ValueError: if a name is unknown, ipc is not an integer >= 1, the data set
      is not float `[C, S, H, W, D]` or a class is too small.

  Example:
    >>> params = initialise(key, formations.uniform(2), images, 10, 'mix')
  """
  ipc = _plan.check_count('ipc', ipc)
  _check_known('mode', mode, _MODES)
  _check_images(dataset_images)
  c, s, h, w, d = dataset_images.shape
  if class_sizes is None:
    class_sizes = [s] * c
  elif len(class_sizes) != c or max(class_sizes) > s:
    raise ValueError(
      f'class_sizes is {class_sizes!r}; it must be {c} numbers up to {s}.'
    )
  image_key, init_key = jax.random.split(key)
  if mode == 'noise':
    return formation.init(init_key, noise(image_key, (c, ipc, h, w, d)))
  cells = formation.cells if mode == 'mix' else 1
  chosen = np.asarray(select(image_key, class_sizes, ipc * cells, order))
  images = jnp.asarray(dataset_images[np.arange(c)[:, None], chosen])
  return formation.init(
    init_key, formation.pack(images) if mode == 'mix' else images
  )


def _check_known(field: str, value: str, known: Sequence[str]) -> None:
  if value not in known:
    raise ValueError(f'{field} is {value!r}; it must be {" or ".join(known)}.')


def _check_images(images: base.Array | np.ndarray) -> None:
  if images.ndim != 5 or not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(
      f'dataset_images has shape {list(images.shape)} and type {images.dtype}; '
      'it must be floats of shape [C, S, H, W, D].'
    )
