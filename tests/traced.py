"""A run's start and its first period, traced and not compiled."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from dcjax.inner import InnerData
from dcjax.runs import _condense, _given, _method, _start


class Traced(NamedTuple):
  """Shapes of a period.

  Attributes:
    params: the stored numbers that a run starts from.
    state: before the period.
    after: behind it.
    metrics: of the period.
    program: all that it computes, as text.
  """

  params: dict[str, Any]
  state: Any
  after: Any
  metrics: dict[str, Any]
  program: str


def embeddings(built):
  """What a codebook is told of classes: that they differ."""
  classes = built.dataset.num_classes
  size = built.formation.spec['embedding_dim']
  return {
    'embeddings': np.eye(classes, size, dtype=np.float32),
    'soft_labels': np.eye(classes, dtype=np.float32),
  }


def start(built):
  """The stored numbers that a run starts from."""
  given = ()
  if built.formation.spec['name'] == 'codebook':
    given = (embeddings(built),)
  found = _start.stage(built, []).make(None, *given)
  return jax.tree.map(jnp.asarray, _condense.unflattened(found))


def period(built, params=None):
  """The first period of a run."""
  if params is None:
    params = start(built)
  condenser = _method.condenser(_given.Given(built))
  source = InnerData(built.real.at(), None)
  state = jax.eval_shape(condenser.init, tiny.KEY, params, source)
  program, shapes = jax.make_jaxpr(condenser.period, return_shape=True)(
    tiny.KEY, state, source
  )
  return Traced(params, state, *shapes, str(program))
