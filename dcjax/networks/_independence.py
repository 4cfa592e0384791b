"""Whether the images of a batch see each other in a network."""

import functools

import jax
import jax.numpy as jnp

from dcjax.base import Network

_IMAGES = 4
_TOLERANCE = 1e-4


def images_are_independent(
  network: Network, image_shape: tuple[int, int, int]
) -> bool:
  """Whether a batch may be taken in parts, in train mode.

  What the network says of itself (`Network.independent`) holds. Of others that
  keep no state it is found out: random images are shown with two different
  sets of neighbours, by random weights; batch statistics, for one, tell them
  apart even if nobody tracks them. Networks with state are taken to depend on
  the batch. Found out once for each network and image shape; also inside of
  `jit`.

  Args:
    network: any.
    image_shape: `(H, W, D)`.

  Example:
    >>> images_are_independent(convnet((32, 32, 3), 10), (32, 32, 3))
    True
  """
  if network.independent is not None:
    return network.independent
  return _found_out(network, tuple(image_shape))


@functools.lru_cache(maxsize=128)
def _found_out(network, image_shape):
  if jax.tree.leaves(jax.eval_shape(network.init, jax.random.key(0)).state):
    return False

  @jax.jit
  def change(key):
    init_key, noise_key, image_key = jax.random.split(key, 3)
    variables = network.init(init_key)
    # Heads that start at zero would hide everything.
    variables = variables._replace(params=_noisy(noise_key, variables.params))
    images = jax.random.normal(image_key, (2 * _IMAGES, *image_shape))
    own, neighbours = images[:_IMAGES], images[_IMAGES:]
    seen = [
      network.apply(variables, jnp.concatenate([own, others]), True)[0]
      for others in (neighbours, 3 * neighbours + 1)
    ]
    return jax.tree.leaves(
      jax.tree.map(lambda a, b: _difference(a[:_IMAGES], b[:_IMAGES]), *seen)
    )

  with jax.ensure_compile_time_eval():
    return all(d <= _TOLERANCE for d in change(jax.random.key(0)))


def _noisy(key, params):
  leaves, structure = jax.tree.flatten(params)
  keys = jax.random.split(key, len(leaves))
  return jax.tree.unflatten(
    structure,
    [
      p + 0.1 * jax.random.normal(k, p.shape, p.dtype)
      for k, p in zip(keys, leaves, strict=True)
    ],
  )


def _difference(a, b):
  """Largest difference, relative to the largest number."""
  return jnp.max(jnp.abs(a - b)) / (jnp.max(jnp.abs(a)) + 1e-12)
