"""What a user's network does, looked at before anything is computed."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.errors import FlaxError

from dcjax import files
from dcjax.base import Network, Outputs, Variables


def check_network(
  network: Network,
  image_shape: tuple[int, int, int],
  num_classes: int | None,
) -> Variables:
  """Evaluates a network without numbers and returns its variables' shapes."""
  images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
  try:
    variables = jax.eval_shape(network.init, jax.random.key(0))
    runs = {
      train: jax.eval_shape(
        lambda v, x, train=train: network.apply(v, x, train), variables, images
      )
      for train in (False, True)
    }
  except ValueError as error:
    if isinstance(error, FlaxError) or 'network' not in str(error):
      raise _failed(network.name, image_shape, error) from error
    raise
  # A user's module may raise anything.
  except Exception as error:
    raise _failed(network.name, image_shape, error) from error
  for outputs, state in runs.values():
    width = outputs.logits.shape[-1]
    if num_classes is not None and width != num_classes:
      raise ValueError(
        f'network {network.name!r}: returns logits [B, {width}]; the data have '
        f'{num_classes} classes, and logits are [B, {num_classes}]'
      )
    before, after = map(jax.tree.structure, (variables.state, state))
    if str(before) != str(after):
      raise ValueError(
        f'network {network.name!r}: its state has another form after a step '
        'than before; allowed are the same collections and arrays'
      )
  return variables


def _failed(name: str, image_shape: tuple, error: Exception) -> ValueError:
  return ValueError(
    f'network {name!r}: cannot be evaluated on images '
    f'{["B", *image_shape]}: {files.one_line(error)}'
  )


def outputs_of(result: Any, name: str, count: int) -> Outputs:
  """Returns what a module said as `Outputs`, if it can be that."""
  outputs = result if isinstance(result, Outputs) else Outputs(result)
  logits = outputs.logits
  if not hasattr(logits, 'shape') or not hasattr(logits, 'dtype'):
    kind = type(logits).__name__
    held = f' of {sorted(logits)}' if isinstance(logits, Mapping) else ''
    raise ValueError(
      f'network {name!r}: returns a {kind}{held}; must return logits [B, K], '
      'or dcjax.Outputs(logits, embedding) for more than that'
    )
  if logits.ndim != 2 or logits.shape[0] != count:
    raise ValueError(
      f'network {name!r}: returns logits of shape {list(logits.shape)} for '
      f'{count} images; must be [{count}, K]: is a flatten missing?'
    )
  if logits.shape[1] < 2 or not jnp.issubdtype(logits.dtype, jnp.floating):
    raise ValueError(
      f'network {name!r}: returns logits {logits.dtype} '
      f'[B, {logits.shape[1]}]; must be floating point, one for each class, at '
      'least [B, 2]'
    )
  embedding = outputs.embedding
  if embedding is not None and jnp.shape(embedding)[:-1] != (count,):
    raise ValueError(
      f'network {name!r}: returns an embedding of shape '
      f'{list(jnp.shape(embedding))} for {count} images; must be [{count}, F]'
    )
  return outputs
