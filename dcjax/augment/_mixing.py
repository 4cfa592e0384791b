"""Mixing images and labels of a batch: CutMix and MixUp."""

import jax
import jax.numpy as jnp

from dcjax.augment._operations import check_images
from dcjax.base import Array, Key


def cutmix(
  key: Key,
  images: Array,
  labels: Array,
  *,
  probability: float,
  beta: float = 1.0,
  weights: Array | None = None,
) -> tuple[Array, Array]:
  """Pastes one box from a permutation of the batch (Yun et al. 2019).

  IDC's variant: with `probability`, once per batch, draw lambda from
  Beta(beta, beta), one box and one permutation. The labels become
  `ratio y + (1 - ratio) y_permuted` with the uncovered share `ratio`;
  as cross-entropy is linear in the label, its value is that of IDC's mixed loss
  `ratio CE(y) + (1 - ratio) CE(y_permuted)`. It comes after all other
  augmentation.

  Args:
    key: random key.
    images: `[N, H, W, D]`.
    labels: `[N, K]` probabilities.
    probability: in [0, 1], of mixing the batch at all.
    beta: positive.
    weights: `[N]`, 0 marks padding. Images with weight are mixed with such
      images only; padding is mixed with itself, hence left as it is.

  Returns:
    Images `[N, H, W, D]` and labels `[N, K]`.

  Raises:
    ValueError: if a shape, dtype or option is not as described.
  """
  images, labels = jnp.asarray(images), jnp.asarray(labels)
  _check(images, labels, weights, 'beta', beta)
  if isinstance(probability, (int, float)) and not 0 <= probability <= 1:
    raise ValueError(f'probability {probability!r}: must be within [0, 1]')
  apply_key, key = jax.random.split(key)

  def mixed(images: Array, labels: Array) -> tuple[Array, Array]:
    lam_key, centre_key, permutation_key = jax.random.split(key, 3)
    _, height, width, _ = images.shape
    centre = jax.random.randint(centre_key, (2,), 0, jnp.array([height, width]))
    return cutmix_apply(
      images,
      labels,
      permute_valid(permutation_key, images.shape[0], weights),
      box_from(_beta(lam_key, beta), centre, height, width),
    )

  return jax.lax.cond(
    jax.random.uniform(apply_key) < probability,
    mixed,
    lambda images, labels: (images, labels),
    images,
    labels,
  )


def cutmix_apply(
  images: Array, labels: Array, permutation: Array, box: Array
) -> tuple[Array, Array]:
  """CutMix with a given permutation and box.

  Args:
    images: `[N, H, W, D]`.
    labels: `[N, K]`.
    permutation: `[N]` integer; image i gets its box from `permutation[i]`.
    box: `[4]` integer: first row, first column, end row, end column; ends are
      exclusive, and all lie within the image.

  Returns:
    Images `[N, H, W, D]` and labels `[N, K]`.
  """
  images, labels = jnp.asarray(images), jnp.asarray(labels)
  _, height, width, _ = images.shape
  top, left, bottom, right = jnp.asarray(box)
  rows = jnp.arange(height)[:, None, None]
  columns = jnp.arange(width)[None, :, None]
  inside = (rows >= top) & (rows < bottom)
  inside &= (columns >= left) & (columns < right)
  ratio = 1 - (bottom - top) * (right - left) / (height * width)
  return (
    jnp.where(inside, images[permutation], images),
    _mix(labels, labels[permutation], ratio),
  )


def box_from(
  lam: Array | float, centre: Array, height: int, width: int
) -> Array:
  """Returns the CutMix box of area share `1 - lam` about a centre.

  The sides are `int(side sqrt(1 - lam))`, the box is `centre +- side // 2` with
  exclusive end, cut off at the border of the image.

  Args:
    lam: `[]` in [0, 1].
    centre: `[2]` integer, row and column.
    height: H.
    width: W.

  Returns:
    `[4]` int32: first row, first column, end row, end column.
  """
  image = jnp.array([height, width])
  sides = (image * jnp.sqrt(1 - jnp.asarray(lam))).astype(jnp.int32)
  centre = jnp.asarray(centre)
  start = jnp.clip(centre - sides // 2, 0, image)
  end = jnp.clip(centre + sides // 2, 0, image)
  return jnp.concatenate([start, end]).astype(jnp.int32)


def mixup(
  key: Key,
  images: Array,
  labels: Array,
  *,
  alpha: float = 1.0,
  weights: Array | None = None,
) -> tuple[Array, Array]:
  """Blends the batch with a permutation of itself (Zhang et al. 2018).

  Images and labels become `lambda x + (1 - lambda) x_permuted` with one lambda
  from Beta(alpha, alpha) per batch.

  Args:
    key: random key.
    images: `[N, H, W, D]`.
    labels: `[N, K]` probabilities.
    alpha: positive.
    weights: `[N]`, as for `cutmix`.

  Returns:
    Images `[N, H, W, D]` and labels `[N, K]`.

  Raises:
    ValueError: if a shape, dtype or option is not as described.
  """
  images, labels = jnp.asarray(images), jnp.asarray(labels)
  _check(images, labels, weights, 'alpha', alpha)
  lam_key, permutation_key = jax.random.split(key)
  lam = _beta(lam_key, alpha)
  permutation = permute_valid(permutation_key, images.shape[0], weights)
  return (
    _mix(images, images[permutation], lam),
    _mix(labels, labels[permutation], lam),
  )


def permute_valid(key: Key, num: int, weights: Array | None = None) -> Array:
  """Draws a permutation of the valid indices; the others stay in place.

  Args:
    key: random key.
    num: N.
    weights: `[N]`; indices with weight 0 stay in place. None: all move.

  Returns:
    `[N]` int32, uniform over the permutations of the valid indices.
  """
  invalid = jnp.zeros(num, bool) if weights is None else weights <= 0
  # Scores below 1 are in random order; those of padding keep their order.
  scores = jnp.where(
    invalid, 1.0 + jnp.arange(num), jax.random.uniform(key, (num,))
  )
  slots = jnp.argsort(invalid, stable=True)
  shuffled = jnp.argsort(scores, stable=True)
  return jnp.zeros(num, jnp.int32).at[slots].set(shuffled.astype(jnp.int32))


def _mix(own: Array, other: Array, ratio: Array) -> Array:
  ratio = ratio.astype(own.dtype)
  return ratio * own + (1 - ratio) * other


def _beta(key: Key, beta: float) -> Array:
  # Beta(1, 1) is uniform, which is far cheaper to draw and to compile.
  if isinstance(beta, (int, float)) and beta == 1:
    return jax.random.uniform(key)
  return jax.random.beta(key, beta, beta)


def _check(
  images: Array, labels: Array, weights: Array | None, name: str, beta: float
) -> None:
  check_images(images)
  if labels.ndim != 2 or labels.shape[0] != images.shape[0]:
    raise ValueError(
      f'labels have shape {labels.shape}: must be [N, K] with '
      f'N={images.shape[0]}'
    )
  if not jnp.issubdtype(labels.dtype, jnp.floating):
    raise ValueError(f'labels are {labels.dtype}: must be float probabilities')
  if weights is not None and weights.shape != images.shape[:1]:
    raise ValueError(
      f'weights have shape {weights.shape}: must be {images.shape[:1]}'
    )
  if isinstance(beta, (int, float)) and not beta > 0:
    raise ValueError(f'{name} {beta!r}: must be positive')
