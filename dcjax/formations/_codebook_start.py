"""Where the numbers of a codebook start: codes, embeddings, statistics."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import base
from dcjax.formations import _generator
from dcjax.utils import check_choice

CODES = ('gaussian', 'truncated', 'uniform')
_TRUNCATED_AT = 1.0


def start(
  spec: Mapping[str, Any], key: base.Key, images: base.Array
) -> base.Params:
  """Draws the numbers of a codebook for as many codes as images of a class."""
  _check_images(spec, images)
  return _drawn(json.dumps(spec), key, images.shape[1])


# One program, compiled once for all starts of one spec.
@functools.partial(jax.jit, static_argnums=(0, 2))
def _drawn(spec, key, count):
  spec = json.loads(spec)
  codes_key, embedding_key, generator_key = jax.random.split(key, 3)
  classes, size = spec['num_classes'], spec['embedding_dim']
  generator, statistics = _generator.start(generator_key, spec)
  embeddings = jnp.eye(classes)
  if size != classes:
    embeddings = jax.random.normal(embedding_key, (classes, size))
  params = {
    'codes': draw_codes(codes_key, (count, spec['codes_dim'])),
    'embeddings': embeddings,
    'generator': generator,
    'statistics': statistics,
  }
  return _calibrated(spec, _balanced(params))


def _check_images(spec, images):
  wanted = (spec['num_classes'], *spec['image_shape'])
  shape = images.shape
  if images.ndim != 5 or (shape[0], *shape[2:]) != wanted:
    raise ValueError(
      f'images have shape {tuple(shape)}; a codebook of {wanted[0]} classes '
      f'and images {wanted[1:]} needs [C, N, H, W, D] of these.'
    )


def draw_codes(
  key: base.Key, shape: Sequence[int], kind: str = 'gaussian'
) -> base.Array:
  """Draws codes.

  Args:
    key: consumed.
    shape: of the result, `[N, dim]`.
    kind: `'gaussian'` (standard normal, the paper's "uniform sample" of Table
      7), `'truncated'` (normal within one deviation, its "random with
      threshold"; the threshold is not given) or `'uniform'` (the flat
      distribution of variance 1).

  Raises:
    ValueError: if `kind` is unknown.
  """
  check_choice('codes', kind, CODES)
  shape = tuple(shape)
  if kind == 'gaussian':
    return jax.random.normal(key, shape)
  if kind == 'uniform':
    return jax.random.uniform(key, shape, minval=-(3**0.5), maxval=3**0.5)
  return jax.random.truncated_normal(key, -_TRUNCATED_AT, _TRUNCATED_AT, shape)


def with_embeddings(
  formation: base.Formation, params: base.Params, embeddings: base.Array
) -> base.Params:
  """Gives a codebook the embeddings of its classes, before it is trained.

  The projection is scaled and shifted so that every projected number has mean 0
  and variance 1 over the classes, like a code's ("to balance with z"): class
  means of features differ by little beside what they have in common. Then the
  BatchNorm statistics are measured again.

  Args:
    formation: a `codebook`.
    params: its numbers.
    embeddings: `[C, F]`; no gradient reaches them.

  Returns:
    New params.

  Raises:
    ValueError: if the shape is not that of the formation.
  """
  spec = formation.spec
  wanted = (spec['num_classes'], spec['embedding_dim'])
  if embeddings.shape != wanted:
    raise ValueError(
      f'embeddings have shape {tuple(embeddings.shape)}; must be [C, F] = '
      f'{wanted}.'
    )
  embeddings = jnp.asarray(embeddings, jnp.float32)
  return _calibrated(spec, _balanced({**params, 'embeddings': embeddings}))


def _balanced(params):
  generator = params['generator']
  kernel = generator['projection']['kernel']
  projected = params['embeddings'] @ kernel
  # One class, or equal embeddings, have nothing to balance.
  spread = jnp.std(projected, axis=0)
  spread = jnp.where(spread > 1e-8, spread, 1.0)
  projection = {
    'kernel': kernel / spread,
    'bias': -jnp.mean(projected, axis=0) / spread,
  }
  return {**params, 'generator': {**generator, 'projection': projection}}


def calibrate(
  formation: base.Formation, params: base.Params, most: int = 256
) -> base.Params:
  """Measures the BatchNorm statistics on the images that params decode to.

  Args:
    formation: a `codebook`.
    params: its numbers.
    most: images that are looked at; codes and classes take turns.

  Returns:
    Params with new `'statistics'`.
  """
  return _calibrated(formation.spec, params, most)


def _calibrated(spec, params, most=256):
  codes, embeddings = params['codes'], params['embeddings']
  pairs = codes.shape[0] * embeddings.shape[0]
  chosen = np.linspace(0, pairs - 1, min(pairs, most)).round().astype(np.int32)
  _, statistics = jax.jit(in_training, static_argnums=0)(
    _generator.generator_of(spec, momentum=0.0),
    params,
    codes[chosen % codes.shape[0]],
    embeddings[chosen // codes.shape[0]],
  )
  return {**params, 'statistics': statistics}


def in_training(
  module: _generator.Generator,
  params: base.Params,
  codes: base.Array,
  embeddings: base.Array,
) -> tuple[base.Array, base.Params]:
  """Squares `[B, S, S, D]` under their own statistics, and those tracked."""
  variables = {
    'params': params['generator'],
    'batch_stats': params['statistics'],
  }
  squares, tracked = module.apply(
    variables, codes, embeddings, True, mutable=['batch_stats']
  )
  return squares, tracked['batch_stats']
