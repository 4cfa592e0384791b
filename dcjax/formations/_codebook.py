"""A set as codes that all classes share, class embeddings and a generator."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from dcjax import base
from dcjax.formations import (
  _codebook_numpy,
  _codebook_start,
  _codebook_training,
  _generator,
  _grids,
)
from dcjax.utils import check_choice, check_count

STORED = ('float32', 'float16')
_FROZEN = ('embeddings', 'statistics')
_LARGEST_HALF = 65504.0


def codebook(
  num_classes: int,
  image_shape: Sequence[int],
  *,
  codes_dim: int = 128,
  embedding_dim: int | None = None,
  projection_dim: int = 128,
  width: int = 128,
  stored: str = 'float32',
  value_range: Sequence[float] = _grids.UNIT_RANGE,
) -> base.Formation:
  """Generates every image from one of N codes and its class's embedding.

  Zhang et al., "Dataset Condensation via Generative Model" (2023), section 3:
  `x[c, n] = G(z_n, P e_c)`. The N codes (N is ipc) serve all classes, so that
  a further class costs one embedding, and codes, projection P and generator G
  are what is trained; embeddings and BatchNorm statistics get no gradient. The
  paper leaves the generator open; see `Generator` for the one taken here.

  BatchNorm always uses stored statistics: batch statistics would make an image
  depend on the others that are decoded with it. `init` measures them on the
  images it starts with, pretraining brings its own, and training, which does
  use those of its batches (`sample`), measures them in the end (`finish`).

  Images of `H x W` are the middle of the smallest square of 8, 16, 32, ...
  pixels that holds them; tanh is mapped to the value range.

  Args:
    num_classes: `C`, at least 1.
    image_shape: `(H, W, D)`.
    codes_dim: numbers of a code.
    embedding_dim: `F`, numbers of a class embedding; None for one-hot ones.
    projection_dim: numbers that an embedding is projected to.
    width: channels of the generator.
    stored: `'float32'`, or `'float16'`: `project` rounds every number to half
      precision, so that storing halves loses nothing.
    value_range: (low, high) of the images.

  Returns:
    A formation with one tile and params `{'codes': [N, codes_dim],
    'embeddings': [C, F], 'generator': the network's pytree with its layer
    'projection', 'statistics': {...}}`. `init` takes C and N from the images
    and nothing else; codes are standard normal, embeddings one-hot, or random
    until `with_embeddings` gives others.

  Raises:
    ValueError: if an option is outside its range; later, by `init` and
      `decode`, if classes or sizes do not fit.

  Example:
    >>> formation = codebook(10, (32, 32, 3))
    >>> params = formation.init(key, jnp.zeros([10, 5, 32, 32, 3]))
    >>> formation.decode(params).images.shape
    (10, 5, 32, 32, 3)
  """
  spec = _spec(
    {
      'num_classes': num_classes,
      'codes_dim': codes_dim,
      'embedding_dim': num_classes if embedding_dim is None else embedding_dim,
      'projection_dim': projection_dim,
      'width': width,
    },
    image_shape,
    stored,
    value_range,
  )

  def init(key: base.Key, images: base.Array) -> base.Params:
    return _codebook_start.start(spec, key, images)

  def decode(params: base.Params) -> base.Batch:
    every = jnp.arange(spec['num_classes'])
    images = _decode(spec, params, every, params['codes'])
    labels = jnp.eye(len(every))[:, None]
    shape = (*images.shape[:2], len(every))
    return base.Batch(images, jnp.broadcast_to(labels, shape))

  def project(params: base.Params) -> base.Params:
    return params if stored == 'float32' else _rounded(params)

  def sample(params, key, most, classes=None):
    return _codebook_training.sample(formation, params, key, most, classes)

  formation = base.Formation(
    spec,
    1,
    lambda images: images,
    init,
    decode,
    project,
    (),
    sample,
    lambda params: _codebook_start.calibrate(formation, params),
  )
  return formation


def _spec(counts, image_shape, stored, value_range):
  checked = {k: check_count(k, v) for k, v in counts.items()}
  if len(image_shape) != 3:
    raise ValueError(f'image_shape is {image_shape!r}; it must be (H, W, D).')
  shape = [check_count('image_shape', size) for size in image_shape]
  check_choice('stored', stored, STORED)
  low, high = _grids.check_value_range(value_range)
  if low is None or high is None:
    raise ValueError(
      f'value_range is {value_range!r}; a codebook needs two numbers, which '
      'the ends of tanh are mapped to.'
    )
  return {
    'name': 'codebook',
    **checked,
    'image_shape': shape,
    'stored': stored,
    'value_range': [low, high],
  }


def decode_some(
  formation: base.Formation,
  params: base.Params,
  classes: base.Array,
  codes: base.Array,
) -> base.Array:
  """Generates the images of some classes and codes, and no others.

  Args:
    formation: a `codebook`.
    params: its numbers; `params['codes']` is not looked at.
    classes: `[c]` int, class indices.
    codes: `[n, dim]`, for example `params['codes'][chosen]` or a fresh draw.

  Returns:
    Images `[c, n, H, W, D]`.

  Raises:
    ValueError: if sizes do not fit.
  """
  return _decode(formation.spec, params, classes, codes)


def decode_pairs(
  formation: base.Formation,
  params: base.Params,
  classes: base.Array,
  codes: base.Array,
) -> base.Array:
  """Generates one image of each class and code, pair by pair.

  Args:
    formation: a `codebook`.
    params: its numbers; `params['codes']` is not looked at.
    classes: `[B]` int, class indices.
    codes: `[B, dim]`.

  Returns:
    Images `[B, H, W, D]`.

  Raises:
    ValueError: if sizes do not fit.
  """
  return _pairs(formation.spec, params, classes, codes)


def _decode(spec, params, classes, codes):
  count, many = classes.shape[0], codes.shape[0]
  images = _pairs(
    spec, params, jnp.repeat(classes, many), jnp.tile(codes, (count, 1))
  )
  return images.reshape(count, many, *spec['image_shape'])


def _pairs(spec, params, classes, codes):
  params = jax.tree.map(
    lambda leaf: jnp.asarray(leaf).astype(jnp.float32), params
  )
  params |= {name: jax.lax.stop_gradient(params[name]) for name in _FROZEN}
  _check_params(spec, params, codes)
  return _generator.generate(
    spec,
    params['generator'],
    params['statistics'],
    jnp.asarray(codes).astype(jnp.float32),
    params['embeddings'][classes],
  )


def decode_exactly(
  formation: base.Formation, params: base.Params
) -> np.ndarray:
  """Generates every image with NumPy, to the same bytes on every machine.

  `decode` leaves the order of sums to XLA, which differs between processors,
  and so do the last bits of its images. Here activations and kernels of the
  convolutions become multiples of a power of 2, of 20 bits or so each, whose
  sums of products a float64 holds exactly in any order; all else is done in a
  fixed order by operations that IEEE 754 rounds in one way (see
  `_codebook_numpy`). Nothing is left to chance: the bytes depend neither on
  the BLAS, its threads or instruction sets nor on what is decoded together.

  An image of width 128 and 32 x 32 pixels takes 0.2 GFLOP in float64: 500 of
  them some seconds.

  Args:
    formation: a `codebook`.
    params: its numbers, of any floating type; labels among them are ignored.

  Returns:
    float32 `[C, N, H, W, D]`, as `decode` up to the rounding of float32 (1e-4
    for values in [0, 1]).

  Raises:
    ValueError: if sizes do not fit.
  """
  spec = formation.spec
  _check_params(spec, params, params['codes'])
  flat = flatten_dict({'params': jax.device_get(params)}, sep='/')
  height, width, _ = spec['image_shape']
  return _codebook_numpy.generate(flat, height, width, *spec['value_range'])


def _check_params(spec: Mapping[str, Any], params, codes) -> None:
  wanted = (spec['num_classes'], spec['embedding_dim'])
  found = params['embeddings'].shape
  if found != wanted or codes.ndim != 2 or codes.shape[1] != spec['codes_dim']:
    raise ValueError(
      f'embeddings have shape {found} and codes {codes.shape[-1]} numbers; '
      f'must be [C, F] = {wanted} and {spec["codes_dim"]}.'
    )


def _rounded(params):
  """Every number as half precision holds it, still as float32."""

  def leaf(value):
    clipped = jnp.clip(value, -_LARGEST_HALF, _LARGEST_HALF)
    return clipped.astype(jnp.float16).astype(jnp.float32)

  return jax.tree.map(leaf, params)


def in_stored_type(
  formation: base.Formation, params: base.Params
) -> base.Params:
  """The projected numbers of a codebook in the type that its spec says."""
  stored = jnp.dtype(formation.spec['stored'])
  projected = formation.project(params)
  return jax.tree.map(lambda leaf: leaf.astype(stored), projected)


def generator_size(
  image_shape: Sequence[int],
  *,
  codes_dim: int = 128,
  embedding_dim: int = 128,
  projection_dim: int = 128,
  width: int = 128,
) -> int:
  """Counts the weights of a codebook's generator, its projection left out.

  Args:
    image_shape: `(H, W, D)`.
    codes_dim: see `codebook`.
    embedding_dim: see `codebook`; decides nothing but the projection.
    projection_dim: see `codebook`.
    width: see `codebook`.

  Example:
    >>> generator_size((32, 32, 3))
    1416835
  """
  formation = codebook(
    1,
    image_shape,
    codes_dim=codes_dim,
    embedding_dim=embedding_dim,
    projection_dim=projection_dim,
    width=width,
  )
  shapes, _ = jax.eval_shape(
    lambda key: _generator.start(key, formation.spec), jax.random.key(0)
  )
  sizes = {k: sum(x.size for x in v.values()) for k, v in shapes.items()}
  return sum(size for name, size in sizes.items() if name != 'projection')
