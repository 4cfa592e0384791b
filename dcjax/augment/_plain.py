"""Plain augmentation for training networks: every image has its own draw.

All functions here build an `Augment`: `(key, images [N, H, W, D]) -> images`,
pure JAX. Image i of a batch of any size gets the i-th draw of the key.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.augment import _operations as ops
from dcjax.augment._sampling import resample
from dcjax.augment._sequence import chain, sample_keys
from dcjax.base import Array, Augment, Key
from dcjax.utils import check_at_least, check_choice

_GREY_WEIGHTS = (0.299, 0.587, 0.114)
# Principal components of the colours of ImageNet, values in [0, 1]: AlexNet's
# lighting noise (Krizhevsky et al. 2012). Columns are eigenvectors.
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = (
  (-0.5675, 0.7192, 0.4009),
  (-0.5808, -0.0045, -0.8140),
  (-0.5836, -0.6948, 0.4203),
)
_RESIZED_CROP_ATTEMPTS = 10


def random_crop(padding: int = 4) -> Augment:
  """Pads with zeros on every side and cuts out a window of the old size.

  Args:
    padding: pixels, at least 0; the shifts are uniform within +-padding.

  Raises:
    ValueError: if `padding` is negative.
  """
  check_at_least('padding', padding, 0)

  def apply(key: Key, images: Array) -> Array:
    ops.check_images(images)
    shifts = jax.vmap(
      lambda key: jax.random.randint(key, (2,), -padding, padding + 1)
    )(sample_keys(key, images.shape[0]))
    return ops.crop(
      images, shifts[:, 0], shifts[:, 1], reach=(padding, padding)
    )

  return apply


def random_flip(probability: float = 0.5) -> Augment:
  """Mirrors the columns of each image with a probability.

  Raises:
    ValueError: if `probability` is outside [0, 1].
  """
  if not 0 <= probability <= 1:
    raise ValueError(f'probability {probability!r}: must be within [0, 1]')

  def apply(key: Key, images: Array) -> Array:
    ops.check_images(images)
    keys = sample_keys(key, images.shape[0])
    chosen = jax.vmap(jax.random.uniform)(keys) < probability
    # `flip` mirrors below 0.5.
    return ops.flip(images, jnp.where(chosen, 0.0, 1.0))

  return apply


def random_resized_crop(
  size: int | tuple[int, int],
  scale: tuple[float, float] = (0.5, 1.0),
  ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Augment:
  """Cuts out a box of random area and shape and resizes it to `size`.

  The area share is uniform in `scale`, the aspect ratio (columns / rows)
  log-uniform in `ratio`; of ten drawn boxes the first that fits into the image
  is used, and a centred box of the nearest allowed ratio if none does. Bilinear
  with half-pixel centres, without antialiasing.

  Args:
    size: side, or rows and columns, of the result.
    scale: smallest and largest share of the image's area.
    ratio: smallest and largest aspect ratio.

  Returns:
    An `Augment` from `[N, H, W, D]` to `[N, size, size, D]`.

  Raises:
    ValueError: if a range is not positive and ascending.
  """
  rows, columns = (size, size) if isinstance(size, int) else size
  for name, (low, high) in (('scale', scale), ('ratio', ratio)):
    if not 0 < low <= high:
      raise ValueError(
        f'{name} ({low}, {high}): must be positive and ascending'
      )

  def apply(key: Key, images: Array) -> Array:
    ops.check_images(images)
    boxes = draw_boxes(key, images.shape[0], images.shape[1:3], scale, ratio)
    return crop_boxes(images, boxes, (rows, columns))

  return apply


def draw_boxes(
  key: Key,
  count: int,
  image_size: tuple[int, int],
  scale: tuple[float | Array, float | Array] = (0.5, 1.0),
  ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Array:
  """Draws the boxes of `random_resized_crop`, for `crop_boxes`.

  Args:
    key: decides the boxes.
    count: number of boxes; box i does not depend on it.
    image_size: rows and columns of the images.
    scale: smallest and largest share of the image's area; may be traced.
    ratio: smallest and largest aspect ratio.

  Returns:
    `[count, 4]` whole numbers as floats: first row, first column, rows,
    columns.
  """

  def draw(key: Key) -> Array:
    return jnp.stack(_draw_box(key, *image_size, scale, ratio))

  return jax.vmap(draw)(sample_keys(key, count))


def crop_boxes(images: Array, boxes: Array, size: tuple[int, int]) -> Array:
  """Cuts boxes out and resizes them, as `random_resized_crop` does.

  Args:
    images: `[N, H, W, D]`.
    boxes: `[N, 4]`, or `[4]` for all images; see `draw_boxes`.
    size: rows and columns of the result.

  Returns:
    `[N, *size, D]`.
  """

  def positions(start: Array, extent: Array, length: int) -> Array:
    start, extent = start[..., None], extent[..., None]
    grid = (jnp.arange(length) + 0.5) * (extent / length) - 0.5
    # Neighbours come from within the box only, as if it were cut out first.
    return start + jnp.clip(grid, 0, extent - 1)

  top, left, rows, columns = jnp.moveaxis(boxes, -1, 0)
  return resample(
    images, positions(top, rows, size[0]), positions(left, columns, size[1])
  )


def _draw_box(
  key: Key,
  height: int,
  width: int,
  scale: tuple[float, float],
  ratio: tuple[float, float],
) -> tuple[Array, Array, Array, Array]:
  """Draws first row, first column, rows and columns of a box, as floats."""
  area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
  shape = (_RESIZED_CROP_ATTEMPTS,)
  area = jax.random.uniform(
    area_key, shape, minval=scale[0], maxval=scale[1]
  ) * (height * width)
  aspect = jnp.exp(
    jax.random.uniform(
      ratio_key, shape, minval=math.log(ratio[0]), maxval=math.log(ratio[1])
    )
  )
  columns = jnp.round(jnp.sqrt(area * aspect))
  rows = jnp.round(jnp.sqrt(area / aspect))
  fits = (rows >= 1) & (rows <= height) & (columns >= 1) & (columns <= width)
  aspect = min(max(width / height, ratio[0]), ratio[1])
  centred_rows = min(height, round(width / aspect))
  centred_columns = min(width, round(height * aspect))
  first = jnp.argmax(fits)
  found = fits.any()
  rows = jnp.where(found, rows[first], centred_rows)
  columns = jnp.where(found, columns[first], centred_columns)

  def start(key: Key, room: Array) -> Array:
    drawn = jnp.floor(jax.random.uniform(key) * (room + 1))
    return jnp.where(found, jnp.minimum(drawn, room), jnp.floor(room / 2))

  return (
    start(top_key, height - rows),
    start(left_key, width - columns),
    rows,
    columns,
  )


def color_jitter(
  brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4
) -> Augment:
  """Jitters brightness, contrast and saturation in an order drawn per image.

  Each is `x (1 - a) + t a` with `a` uniform within +- its argument, where `t`
  is 0, the mean of the grey image, or the grey image. Nothing is clipped.

  Args:
    brightness: at least 0, as the others.
    contrast: strength.
    saturation: strength.

  Returns:
    An `Augment` for images `[N, H, W, D]` in [0, 1], D of 3 or 1.

  Raises:
    ValueError: if a strength is negative, or D is neither 3 nor 1.
  """
  strengths = {
    'brightness': brightness,
    'contrast': contrast,
    'saturation': saturation,
  }
  for name, strength in strengths.items():
    check_at_least(name, strength, 0)

  def jitter(key: Key, image: Array) -> Array:
    order_key, amount_key = jax.random.split(key)
    order = jax.random.permutation(order_key, 3)
    strength = jnp.array(list(strengths.values()))
    amounts = jax.random.uniform(amount_key, (3,), minval=-1) * strength
    amounts = amounts.astype(image.dtype)
    for position in range(3):
      kind = order[position]
      plain = grey(image)
      target = jnp.where(kind == 1, plain.mean(), plain)
      target = jnp.where(kind == 0, jnp.zeros_like(target), target)
      image = image * (1 - amounts[kind]) + target * amounts[kind]
    return image

  def apply(key: Key, images: Array) -> Array:
    ops.check_images(images)
    check_choice('number of channels', images.shape[-1], (1, 3))
    return jax.vmap(jitter)(sample_keys(key, images.shape[0]), images)

  return apply


def grey(image: Array) -> Array:
  """Returns the luminance `[..., 1]` of images `[..., D]`, D of 3 or 1."""
  if image.shape[-1] == 1:
    return image
  return (image @ jnp.array(_GREY_WEIGHTS, image.dtype))[..., None]


def pca_lighting(std: float = 0.1) -> Augment:
  """Adds one colour per image along ImageNet's principal components.

  The colour is `sum_k eigenvector_k alpha_k eigenvalue_k`, alpha from
  N(0, std^2).

  Args:
    std: standard deviation of alpha, at least 0.

  Returns:
    An `Augment` for images `[N, H, W, 3]` in [0, 1].

  Raises:
    ValueError: if `std` is negative, or the images have not 3 channels.
  """
  check_at_least('std', std, 0)
  components = np.array(_EIGENVECTORS) * np.array(_EIGENVALUES)

  def apply(key: Key, images: Array) -> Array:
    ops.check_images(images)
    check_choice('number of channels', images.shape[-1], (3,))
    keys = sample_keys(key, images.shape[0])
    alpha = std * jax.vmap(lambda key: jax.random.normal(key, (3,)))(keys)
    colors = jnp.einsum(
      'nk,dk->nd', alpha, jnp.asarray(components, alpha.dtype)
    )
    return images + colors[:, None, None, :].astype(images.dtype)

  return apply


def imagenet_evaluation(size: int = 224) -> Augment:
  """IDC's augmentation when networks are evaluated on ImageNet subsets.

  Random resized crop (scale 0.5 to 1), flip, colour jitter of strength 0.4,
  PCA lighting of 0.1. The images are in [0, 1], already resized and cropped to
  a common size, and are to be normalised afterwards:
  `chain(imagenet_evaluation(), normalise(mean, std))`.

  Args:
    size: side of the result in pixels.

  Returns:
    An `Augment` from `[N, H, W, 3]` to `[N, size, size, 3]`.
  """
  return chain(
    random_resized_crop(size),
    random_flip(),
    color_jitter(),
    pca_lighting(),
  )
