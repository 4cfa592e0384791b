"""Where the synthetic images start: noise, real images or packed real ones."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import base
from dcjax.utils import check_choice, check_count

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
  per_class = check_count('per_class', per_class)
  check_choice('order', order, _ORDERS)
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
