"""Unrolled training: the set is good if a network trained on it is."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dcjax.base import (
  Array,
  Augment,
  Batch,
  Key,
  Metrics,
  Network,
  Objective,
  PyTree,
  Variables,
  mixed,
)
from dcjax.losses import cross_entropy
from dcjax.objectives._flat import flat_gradient, flat_network
from dcjax.utils import check_at_least, check_choice

POSITIONS = ('random', 'late')


class Unroll(NamedTuple):
  """How a network is trained on a synthetic set, step by step.

  Attributes:
    steps: `T`, of the whole training.
    per_class: images of each class in a step; None for all. Fewer than there
      are come in turn: step `t` takes images `t * per_class` onwards, and
      starts over at the end (DD), unless `shuffled`.
    shuffled: whether every step draws its images of each class at random.
    optimizer: what makes a direction of a gradient, `optax.scale_by_adam` say,
      without a rate; None for plain gradient descent.
    learning_rate: of sets that store no step size.
    augment: normalisation and augmentation of each step's images.
  """

  steps: int
  per_class: int | None = None
  shuffled: bool = False
  optimizer: optax.GradientTransformation | None = None
  learning_rate: float | None = None
  augment: Augment | None = None


def train_on(
  network: Network,
  variables: Variables,
  synthetic: Batch,
  key: Key,
  unroll: Unroll,
) -> Variables:
  """Trains a network on a synthetic set as the unrolled objective does.

  Args:
    network: the network.
    variables: where it starts; running statistics do not move.
    synthetic: images `[C, M, H, W, D]`, labels `[C, M, K]`, step size `[]` or
      `[T]` or None.
    key: of the draws of images and augmentation.
    unroll: how.

  Returns:
    The trained `Variables`.

  Raises:
    ValueError: if an option of `unroll` is out of range, or the step sizes are
      not one or `T`.
  """
  step, start, _ = _steps(network, variables, synthetic, unroll)
  state = lax.fori_loop(
    0, unroll.steps, lambda i, s: step(s, i, synthetic, key), start
  )
  restore = flat_network(network).restore
  return variables._replace(params=restore(state[0]))


def unrolled(
  unroll: Unroll,
  *,
  window: int | None = None,
  position: str = 'random',
  real_augment: Augment | None = None,
  checkpoint: bool = True,
) -> Objective:
  """Makes networks trained on the synthetic set classify real images.

  Wang et al., "Dataset Distillation" (2018): the cross-entropy on real images
  of a network after `T` steps on the synthetic set, differentiated through all
  of them. With a `window`, Feng et al., "Embarrassingly Simple Dataset
  Distillation" (ICLR 2024, RaT-BPTT): training runs for some steps first, and
  only the last `window` of them are differentiated. The gradient through these
  is exact, the optimiser's state included; what they start from is a constant.

  Args:
    unroll: how networks are trained on the set.
    window: `W`, steps that are differentiated; None for all.
    position: `'random'`: training is cut off after `W` to `T` steps, drawn anew
      every time; `'late'`: always after `T`.
    real_augment: normalisation and augmentation of the real images.
    checkpoint: whether a step is recomputed in the backward pass, so that
      memory holds the network of every step but the activations of one only.

  Returns:
    A joint objective; its metrics are `loss` and `accuracy`, both on the real
    images.

  Raises:
    ValueError: if an option is out of range; when called, if the step sizes are
      not one, or one for each of `T`.

  Example:
    >>> objective = unrolled(Unroll(steps=3, per_class=1, learning_rate=0.01))
    >>> loss, metrics = dcjax.match(
    ...   network, variables, real, synthetic, key, objective=objective)
  """
  check_choice('position', position, POSITIONS)
  length = unroll.steps if window is None else window
  _check(unroll)
  if not 1 <= length <= unroll.steps:
    raise ValueError(f'window {window!r}: must be in 1..{unroll.steps}')

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    place_key, train_key, real_key = jax.random.split(key, 3)
    step, state, restore = _steps(network, variables, synthetic, unroll)
    spare = unroll.steps - length
    first = jnp.asarray(spare)
    if position == 'random' and spare:
      first = jax.random.randint(place_key, (), 0, spare + 1)
    if spare:
      fixed = lax.stop_gradient(synthetic)
      state = lax.fori_loop(
        0, first, lambda i, s: step(s, i, fixed, train_key), state
      )

    def body(state, i):
      return step(state, first + i, synthetic, train_key), None

    if checkpoint:
      body = jax.checkpoint(body)
    (vector, _), _ = lax.scan(body, state, jnp.arange(length))
    trained = variables._replace(params=restore(vector))
    return _on_real(network, trained, target, real_augment, real_key)

  return Objective(loss, joint=True)


def _on_real(network, variables, target, augment, key):
  real = mixed(target)
  if augment is not None:
    real = real._replace(images=augment(key, real.images))
  outputs, _ = network.apply(variables, real.images, True)
  value = cross_entropy(outputs.logits, real)
  right = jnp.argmax(outputs.logits, -1) == jnp.argmax(real.labels, -1)
  return value, {'loss': value, 'accuracy': jnp.mean(right)}


def _steps(network, variables, synthetic, unroll):
  """Returns one step of the training, the state before it, and `restore`."""
  _check(unroll)
  _check_rates(unroll, synthetic)
  flat = flat_network(network)
  gradient = flat_gradient(network, flat.restore, variables.state)
  optimizer = unroll.optimizer or optax.identity()
  vector = flat.flatten(variables.params)

  def step(
    state: tuple[Array, PyTree], i: Array, synthetic: Batch, key: Key
  ) -> tuple[Array, PyTree]:
    vector, opt_state = state
    draw_key, augment_key = jax.random.split(jax.random.fold_in(key, i))
    batch = mixed(_images_of_step(unroll, synthetic, i, draw_key))
    if unroll.augment is not None:
      batch = batch._replace(images=unroll.augment(augment_key, batch.images))
    direction, opt_state = optimizer.update(
      gradient(vector, batch), opt_state, vector
    )
    return vector - _rate(unroll, synthetic, i) * direction, opt_state

  return step, (vector, optimizer.init(vector)), flat.restore


def _images_of_step(unroll, synthetic, i, key):
  """What a step trains on, `[C, per_class, ...]`."""
  count = synthetic.images.shape[1]
  if unroll.per_class is None or unroll.per_class >= count:
    return synthetic
  if unroll.shuffled:
    classes = synthetic.images.shape[0]
    keys = jax.random.split(key, classes)
    order = jax.vmap(lambda key: jax.random.permutation(key, count))(keys)
    places = jnp.arange(classes)[:, None], order[:, : unroll.per_class]
  else:
    places = (
      slice(None),
      (i * unroll.per_class + jnp.arange(unroll.per_class)) % count,
    )
  return synthetic._replace(
    images=synthetic.images[places], labels=synthetic.labels[places]
  )


def _rate(unroll, synthetic, i):
  sizes = synthetic.step_size
  if sizes is None:
    return unroll.learning_rate
  return sizes[i] if sizes.ndim else sizes


def _check(unroll):
  check_at_least('steps', unroll.steps, 1)
  if unroll.per_class is not None:
    check_at_least('per_class', unroll.per_class, 1)
  rate = unroll.learning_rate
  if rate is not None and not 0 < rate < float('inf'):
    raise ValueError(f'learning_rate {rate!r}: must be above 0 and finite')


def _check_rates(unroll, synthetic):
  sizes = synthetic.step_size
  if sizes is None:
    if unroll.learning_rate is None:
      raise ValueError(
        'learning_rate None: needed for a set without step sizes; give one, or '
        'wrap the formation in formations.with_step_size'
      )
  elif sizes.shape not in ((), (unroll.steps,)):
    raise ValueError(
      f'synthetic.step_size has shape {sizes.shape}: must be [] or [T] with '
      f'T = {unroll.steps} steps'
    )
