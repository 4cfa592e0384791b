"""A codebook while it is trained: BatchNorm by the statistics of a batch.

With stored statistics nothing keeps the activations in range while the weights
move: 300 steps of a fit to 100 images of CIFAR-10 explained 70 % of their
variance then, 89 % with those of the batch (docs/results.md).
"""

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import base
from dcjax.formations import _codebook_start, _generator

# Images that share their statistics, at most: bounds the memory.
_AT_ONCE = 256


def generate_in_training(
  formation: base.Formation,
  params: base.Params,
  classes: base.Array,
  codes: base.Array,
) -> tuple[base.Array, base.Params]:
  """Generates images with the BatchNorm statistics of their own batch.

  How GANs are trained; `decode` never does this.

  Args:
    formation: a `codebook`.
    params: its numbers.
    classes: `[B]` int, class indices.
    codes: `[B, dim]`.

  Returns:
    Images `[B, H, W, D]`, and the running statistics with this batch in them.
  """
  squares, statistics = _codebook_start.in_training(
    _generator.generator_of(formation.spec),
    params,
    codes,
    jax.lax.stop_gradient(params['embeddings'])[classes],
  )
  return _generator.to_images(formation.spec, squares), statistics


def decode_in_training(
  formation: base.Formation,
  params: base.Params,
  classes: base.Array,
  codes: base.Array,
) -> base.Array:
  """Generates some classes and codes with the statistics of their own batch.

  More than 256 images are cut into batches of equal size, each a mix of all
  classes and codes.

  Args:
    formation: a `codebook`.
    params: its numbers; `params['codes']` is not looked at, and what it stores
      as statistics has no influence.
    classes: `[c]` int, class indices.
    codes: `[n, dim]`.

  Returns:
    Images `[c, n, H, W, D]`.
  """
  count, many = classes.shape[0], codes.shape[0]
  pairs = count * many

  @jax.checkpoint
  def some(order):
    images, _ = generate_in_training(
      formation, params, classes[order // many], codes[order % many]
    )
    return images

  shape = (count, many, *formation.spec['image_shape'])
  if pairs <= _AT_ONCE:
    return some(jnp.arange(pairs)).reshape(shape)
  pieces = -(-pairs // _AT_ONCE)
  size = -(-pairs // pieces)
  order = np.random.default_rng(0).permutation(pairs)
  # The last piece is filled up with images of the first.
  order = np.resize(order, (pieces, size))
  images = jax.lax.map(some, jnp.asarray(order))
  places = np.argsort(order.reshape(-1)[:pairs])
  return images.reshape(-1, *shape[2:])[places].reshape(shape)


def in_training(formation: base.Formation) -> base.Formation:
  """The codebook as it is trained: `decode` takes the statistics of the set.

  For any objective that steps a whole set: BatchNorm's statistics are those of
  the decoded images, see `decode_in_training`, and stored ones are neither read
  nor kept. After training, `calibrate` measures them for the codebook itself; a
  set of up to 256 images then decodes to the same ones, up to rounding.

  Args:
    formation: a `codebook`.

  Returns:
    A formation of the same params.

  Example:
    >>> formation = formations.codebook(10, image_shape, embedding_dim=4)
    >>> method = methods.dm(network, in_training(formation), counts, std)
    >>> params = formation.init(key, real_images)
    >>> params = calibrate(formation, params)
  """

  def decode(params: base.Params) -> base.Batch:
    every = jnp.arange(formation.spec['num_classes'])
    images = decode_in_training(formation, params, every, params['codes'])
    labels = jnp.eye(len(every))[:, None]
    shape = (*images.shape[:2], len(every))
    return base.Batch(images, jnp.broadcast_to(labels, shape))

  return formation._replace(decode=decode)
