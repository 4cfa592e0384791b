"""Classifiers that grow, and distillation on the outputs they had before."""

import jax
import jax.numpy as jnp

from dcjax.base import Array, Network, PyTree, Variables
from dcjax.networks import mask_logits


def distillation_loss(
  student: Array,
  teacher: Array,
  old: Array | None = None,
  *,
  temperature: float = 2.0,
  weight: float = 1.0,
  weights: Array | None = None,
) -> Array:
  """What a network forgets of its predecessor's answers on the old classes.

  `weight T^2 mean_b sum_{k old} q_bk (log q_bk - log p_bk)`, where `q` and `p`
  are the softmax of teacher and student logits over the old classes alone,
  divided by the temperature `T`: Hinton et al. (2015), as the continual
  learning code of IDC computes it. LwF and E2E leave out the `T^2`: that is
  `weight=1 / T**2`.

  Args:
    student: `[B, K]` logits.
    teacher: `[B, K]` logits; those of classes that are not old do not matter.
    old: `[K]` bool; None: all classes.
    temperature: `T`, above 0.
    weight: beta.
    weights: `[B]`, images at weight 0 do not count; None: all do.

  Returns:
    `[]`, at least 0.
  """
  if old is None:
    old = jnp.ones(student.shape[-1], bool)
  log_q = jax.nn.log_softmax(mask_logits(teacher, old) / temperature)
  log_p = jax.nn.log_softmax(mask_logits(student, old) / temperature)
  divergence = jnp.sum(jnp.where(old, jnp.exp(log_q) * (log_q - log_p), 0), -1)
  mean = jnp.average(divergence, weights=weights)
  return weight * temperature**2 * mean


def output_axes(narrower: Network, network: Network) -> PyTree:
  """Finds the numbers of a network that belong to its outputs.

  Args:
    narrower: the same network with fewer classes.
    network: with `K` classes.

  Returns:
    Like the network's params: the axis of each array along which the two
    differ, -1 for arrays that all outputs share.

  Raises:
    ValueError: if the networks differ in more than their classes.

  Example:
    >>> few, many = (networks.mlp((8, 8, 1), k) for k in (9, 10))
    >>> output_axes(few, many)['classifier']
    {'bias': 0, 'kernel': 1}
  """
  shapes = [
    jax.eval_shape(n.init, jax.random.key(0)).params
    for n in (narrower, network)
  ]
  return _axes(*shapes)


def _axes(narrow, wide):
  if jax.tree.structure(narrow) != jax.tree.structure(wide):
    raise ValueError(
      'networks differ in their arrays: must differ in the number of classes '
      'alone'
    )
  return jax.tree.map(_axis, narrow, wide)


def _axis(narrow, wide):
  differ = [
    axis
    for axis, sizes in enumerate(zip(narrow.shape, wide.shape, strict=False))
    if sizes[0] != sizes[1]
  ]
  if narrow.ndim != wide.ndim or len(differ) > 1:
    raise ValueError(
      f'arrays {narrow.shape} and {wide.shape}: must differ in one axis at most'
    )
  return differ[0] if differ else -1


def widen_classifier(variables: Variables, fresh: Variables) -> Variables:
  """Gives a trained network more outputs; the old logits stay as they are.

  Args:
    variables: of the network with the old classes.
    fresh: as drawn by `init` of the same network with more classes.

  Returns:
    `variables`, whose classifier has the new classes' rows of `fresh` after its
    own.

  Raises:
    ValueError: if the two differ in more than the number of classes, or there
      would be fewer of them.

  Example:
    >>> few, many = (networks.mlp((8, 8, 1), k) for k in (9, 10))
    >>> variables = widen_classifier(few.init(key), many.init(key))
  """

  def join(old, new, axis):
    if axis < 0:
      return old
    if old.shape[axis] > new.shape[axis]:
      raise ValueError(
        f'classifier of {old.shape[axis]} classes: cannot be widened to '
        f'{new.shape[axis]}; must be at least as many'
      )
    added = jax.lax.slice_in_dim(new, old.shape[axis], None, axis=axis)
    return jnp.concatenate([old, added], axis=axis)

  axes = _axes(variables.params, fresh.params)
  params = jax.tree.map(join, variables.params, fresh.params, axes)
  return variables._replace(params=params)


def renew_outputs(
  variables: Variables, fresh: Variables, kept: Array, axes: PyTree
) -> Variables:
  """Draws the outputs anew that are not kept; `widen_classifier` under a mask.

  Weight decay has moved the rows of absent outputs: they start afresh when
  their classes come.

  Args:
    variables: of a network with `K` outputs.
    fresh: of the same network.
    kept: `[K]` bool, may be traced.
    axes: see `output_axes`.
  """

  def choose(old, new, axis):
    if axis < 0:
      return old
    shape = [1] * old.ndim
    shape[axis] = kept.shape[0]
    return jnp.where(kept.reshape(shape), old, new)

  params = jax.tree.map(choose, variables.params, fresh.params, axes)
  return variables._replace(params=params)
