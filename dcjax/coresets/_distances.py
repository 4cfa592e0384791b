"""Euclidean distances of the images of one padded class."""

import functools

import jax
import jax.numpy as jnp

from dcjax.base import Array

# Accelerators round products to few bits by default; that changes choices.
dot = functools.partial(jnp.dot, precision='highest')


def centre(features: Array, valid: Array) -> tuple[Array, Array]:
  """Moves the mean of a class to zero, which keeps squared norms exact.

  Args:
    features: `[n, F]`.
    valid: `[n]` bool, False marks padding.

  Returns:
    Centred features `[n, F]`, their squared norms `[n]`.
  """
  mean = jnp.sum(features * valid[:, None], axis=0) / jnp.sum(valid)
  points = features - mean
  return points, jnp.sum(jnp.square(points), axis=1)


def squared_distances(points: Array, norms: Array, place: Array) -> Array:
  """Squared distances `[n]` to one place.

  Args:
    points: `[n, F]`.
    norms: `[n]` squared norms of the points.
    place: `[F]`.
  """
  return norms - 2 * dot(points, place) + jnp.sum(jnp.square(place))


# To several places [k, F]: [n, k].
squared_distances_to_all = jax.vmap(squared_distances, (None, None, 0), 1)


def nearest_free(distances: Array, free: Array) -> Array:
  """Position `[]` of the smallest of distances `[n]` among `free [n]`."""
  return jnp.argmin(jnp.where(free, distances, jnp.inf))
