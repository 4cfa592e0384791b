"""Condensed images that lose resolution only afterwards (IDC, Table 6)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import artefact, formations


def resized(images: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Resizes images bilinearly; smaller ones are averaged, not sampled.

  Args:
    images: `[..., H, W, D]`.
    size: `(h, w)`.

  Returns:
    `[..., h, w, D]`.
  """
  shape = (*images.shape[:-3], *size, images.shape[-1])
  return jax.image.resize(images, shape, 'bilinear', antialias=True)


def post_downsample(images: jax.Array, factor: int) -> jax.Array:
  """Shrinks condensed images and puts `factor**2` into the place of one.

  Post-downsampling of Kim et al. (2022), Table 6: the images were condensed in
  full size, and lose resolution only afterwards. `formations.uniform(factor)`
  enlarges what this returns, so that both sides of the comparison store and
  decode alike. The paper does not say how it shrinks; here by averaging
  (bilinear with antialiasing).

  Args:
    images: `[C, N, H, W, D]`, `N` a multiple of `factor**2`.
    factor: divides rows and columns.

  Returns:
    `[C, N / factor**2, H, W, D]`: images `k * N / factor**2` and following
    fill cell k, cells counted row by row.

  Raises:
    ValueError: if `factor` does not divide the images, or its square `N`.

  Example:
    >>> stored = post_downsample(jnp.zeros([10, 200, 32, 32, 3]), 2)
    >>> stored.shape
    (10, 50, 32, 32, 3)
  """
  c, n, h, w, d = images.shape
  if n % factor**2 or h % factor or w % factor:
    raise ValueError(
      f'images of shape {list(images.shape)}: factor {factor} must divide rows '
      'and columns, and its square the number of images'
    )
  small = resized(images, (h // factor, w // factor))
  cells = small.reshape(
    c, factor, factor, n // factor**2, h // factor, w // factor, d
  )
  cells = cells.transpose(0, 3, 1, 4, 2, 5, 6)
  return cells.reshape(c, n // factor**2, h, w, d)


def packed(condensed: artefact.Artefact, factor: int) -> artefact.Artefact:
  """Returns a condensed set after `post_downsample`.

  Raises:
    ValueError: if its formation is not the identity, or see
      `post_downsample`.
  """
  if formations.build(condensed.spec).tiles != 1:
    raise ValueError(
      f'formation {condensed.spec["name"]!r}: only images stored in full size '
      'can be shrunk afterwards'
    )
  images = post_downsample(jnp.asarray(condensed.params['images']), factor)
  spec = {
    'name': 'uniform',
    'factor': factor,
    'value_range': condensed.spec['value_range'],
  }
  return dataclasses.replace(
    condensed,
    params={'images': np.asarray(images)},
    spec=dict(formations.build(spec).spec),
  )
