"""Turns channels-first reference arrays into dcjax's layout."""

import jax.numpy as jnp
import numpy as np

from dcjax.base import Variables


def images(array):
  """`[N, D, H, W]` -> `[N, H, W, D]`."""
  return jnp.asarray(np.moveaxis(array, 1, -1), jnp.float32)


def weight(array, feature_shape=None):
  """A reference weight in dcjax's layout, the output axis last.

  `feature_shape` `(channels, h, w)` reorders a classifier's inputs.
  """
  if array.ndim == 4:
    return jnp.asarray(array.transpose(2, 3, 1, 0))
  if array.ndim == 3:
    return jnp.asarray(array.transpose(1, 2, 0))
  if array.ndim == 2 and feature_shape is not None:
    array = array.reshape(-1, *feature_shape).transpose(0, 2, 3, 1)
    return jnp.asarray(array.reshape(array.shape[0], -1).T)
  return jnp.asarray(array.T)


def convnet(golden, prefix='w/', depth=3, size=4):
  """The `Variables` of an IDC ConvNet stored under `prefix`."""
  width = golden[f'{prefix}layers/conv/0/bias'].shape[0]
  params = {}
  for block in range(depth):
    conv = f'{prefix}layers/conv/{block}/'
    norm = f'{prefix}layers/norm/{block}/'
    params[f'conv{block}'] = {
      'kernel': weight(golden[f'{conv}weight']),
      'bias': jnp.asarray(golden[f'{conv}bias']),
    }
    params[f'norm{block}'] = {
      'scale': jnp.asarray(golden[f'{norm}weight']),
      'bias': jnp.asarray(golden[f'{norm}bias']),
    }
  params['classifier'] = {
    'kernel': weight(golden[f'{prefix}classifier/weight'], (width, size, size)),
    'bias': jnp.asarray(golden[f'{prefix}classifier/bias']),
  }
  return Variables(params, {})
