"""Arc-cosine kernels: what a layer of infinitely many ReLUs does to angles.

Cho & Saul, "Kernel methods for deep learning" (2009). Both functions are
written with their derivatives, which automatic differentiation would compose of
infinite parts where two images are equal.
"""

import jax
import jax.numpy as jnp

from dcjax.base import Array


def _sine(cosine):
  return jnp.sqrt(jnp.maximum((1 - cosine) * (1 + cosine), 0))


@jax.custom_jvp
def arc_cosine_0(cosine: Array) -> Array:
  """`1 - angle / pi`: how often two ReLUs are on together, times 2.

  The slope is infinite at 1 and -1; it is taken as 0 there, so that equal
  images exert no force on each other.

  Args:
    cosine: any shape; values beyond -1 and 1 count as these.

  Returns:
    Between 0 (opposite) and 1 (equal).
  """
  clipped = jnp.clip(cosine, -1, 1)
  return 1 - jnp.arctan2(_sine(clipped), clipped) / jnp.pi


@arc_cosine_0.defjvp
def _arc_cosine_0_jvp(primals, tangents):
  (cosine,), (change,) = primals, tangents
  squared = (1 - cosine) * (1 + cosine)
  # The distance of neighbouring numbers bounds what a cosine can tell.
  inside = squared > 2 * jnp.finfo(cosine.dtype).eps
  slope = jnp.where(inside, jnp.where(inside, squared, 1) ** -0.5, 0) / jnp.pi
  return arc_cosine_0(cosine), slope * change


@jax.custom_jvp
def arc_cosine_1(cosine: Array) -> Array:
  """`(sin + (pi - angle) cos) / pi`: the cosine after ReLUs, unnormalised.

  Its slope is `arc_cosine_0`, finite everywhere.

  Args:
    cosine: any shape; values beyond -1 and 1 count as these.

  Returns:
    Between 0 (opposite) and 1 (equal).
  """
  clipped = jnp.clip(cosine, -1, 1)
  return _sine(clipped) / jnp.pi + arc_cosine_0(clipped) * clipped


@arc_cosine_1.defjvp
def _arc_cosine_1_jvp(primals, tangents):
  (cosine,), (change,) = primals, tangents
  return arc_cosine_1(cosine), arc_cosine_0(cosine) * change
