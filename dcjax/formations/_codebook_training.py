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


def sample(
  formation: base.Formation,
  params: base.Params,
  key: base.Key,
  most: int,
  classes: base.Array | None = None,
  codes: str = 'learned',
) -> base.Batch:
  """A codebook's batch for a step of training: see `Formation.sample`.

  Stored statistics are neither read nor kept; `calibrate` measures them, and a
  set of up to 256 images then decodes to what a step with all of them saw, up
  to rounding.

  Args:
    formation: a `codebook`.
    params: its numbers.
    key: chooses codes, if there are more than `most`, or draws them.
    most: codes, each of which makes an image of every class.
    classes: `[c]` int; None for all.
    codes: `'learned'`, the stored ones, or how `draw_codes` draws new ones.
  """
  every = jnp.eye(formation.spec['num_classes'])
  stored, embeddings = params['codes'], params['embeddings']
  some = min(len(stored), most)
  if codes != 'learned':
    stored = _codebook_start.draw_codes(key, (some, stored.shape[1]), codes)
  elif some < len(stored):
    stored = stored[jax.random.permutation(key, len(stored))[:some]]
  if classes is None:
    classes = jnp.arange(len(every))
  images = decode_in_training(formation, params, classes, stored)
  labels = every[classes][:, None]
  return base.Batch(
    images,
    jnp.broadcast_to(labels, (*images.shape[:2], len(every))),
    embeddings=jax.lax.stop_gradient(embeddings)[classes],
  )


def with_drawn_codes(formation: base.Formation, codes: str) -> base.Formation:
  """A codebook that is trained on new codes in every step.

  Args:
    formation: a `codebook`.
    codes: see `draw_codes`.
  """

  def drawn(params, key, most, classes=None):
    return sample(formation, params, key, most, classes, codes)

  return formation._replace(sample=drawn)
