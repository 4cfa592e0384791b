"""A step of condensation into a generative model."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax import formations, objectives
from dcjax.base import (
  Array,
  Augment,
  Batch,
  Formation,
  Network,
  Params,
  PyTree,
  Variables,
)
from dcjax.condensing import CondenseState
from dcjax.data import sampling
from dcjax.inner import InnerLoop, InnerState
from dcjax.networks import Discriminator
from dcjax.objectives import GenerativeTerms, Judged

_START_FOLD = 2**32 - 1
_RESET_FOLD = 2


class GenerativeState(NamedTuple):
  """What judges the images.

  Attributes:
    loop: the feature network of this period and its training.
    discriminator: weights of the discriminator; goes on through all periods.
    optimiser: its optimiser's state.
  """

  loop: InnerState
  discriminator: Params
  optimiser: PyTree

  @property
  def variables(self) -> Variables:
    """The feature network's numbers."""
    return self.loop.variables


class Method(NamedTuple):
  """What a step is made of; see the arguments of `generative`."""

  network: Network
  formation: Formation
  terms: GenerativeTerms
  optimizer: optax.GradientTransformation
  discriminator: Discriminator
  discriminator_optimizer: optax.GradientTransformation
  loop: InnerLoop
  walk: sampling.Shuffler
  augment: Augment | None
  counts: np.ndarray
  soft_labels: Array
  condition: str
  codes: str
  codes_per_step: int
  classes_per_step: int


def init_of(method: Method) -> Callable:
  """Makes the condenser's `init`."""

  def init(key, params, data):
    loop_key, source_key, own_key = jax.random.split(
      jax.random.fold_in(key, _START_FOLD), 3
    )
    weights = method.discriminator.init(own_key)
    judges = GenerativeState(
      method.loop.init(loop_key, data),
      weights,
      method.discriminator_optimizer.init(weights),
    )
    return CondenseState(
      params,
      method.optimizer.init(params),
      judges,
      method.walk.init(source_key, jnp.asarray(method.counts, jnp.int32)),
      jnp.zeros((), jnp.int32),
    )

  return init


def period_of(method: Method, inner_steps: int) -> Callable:
  """Makes the condenser's `period`: a new network, then `inner_steps`."""

  def period(key, state, data):
    reset_key = jax.random.fold_in(
      jax.random.fold_in(key, state.step), _RESET_FOLD
    )
    loop = method.loop.reset(reset_key, state.inner.loop, data)
    state = state._replace(inner=state.inner._replace(loop=loop))
    return jax.lax.scan(
      lambda carry, _: _step(method, key, carry, data),
      state,
      length=inner_steps,
    )

  return period


def _step(method, key, state, data):
  """Codes and generator, then the discriminator, then the network."""
  step_key = jax.random.fold_in(key, state.step)
  draw_key, match_key, loop_key = jax.random.split(step_key, 3)
  source, classes, real = _associations(method, draw_key, state.source, data)
  params, seen, opt_state, metrics = _codebook_step(
    method, match_key, state, classes, real
  )
  judges, found = _discriminator_step(method, state.inner, *seen)
  loop, network_metrics = method.loop.update(loop_key, judges.loop, data, None)
  metrics |= found | {f'network_{k}': v for k, v in network_metrics.items()}
  return CondenseState(
    params, opt_state, judges._replace(loop=loop), source, state.step + 1
  ), metrics


def _associations(method, key, source, data):
  """Draws classes, and real images `[c, m, H, W, D]` of each of them."""
  walk_key, class_key = jax.random.split(key)
  num_classes = len(method.counts)
  source, positions, weights = method.walk.next(
    walk_key, data.real.counts, source
  )
  classes = jnp.arange(num_classes)
  if method.classes_per_step < num_classes:
    order = jax.random.permutation(class_key, num_classes)
    classes = order[: method.classes_per_step]
  places = data.real.starts[classes, None] + positions[classes]
  images = sampling.fetch(data.real, places)
  labels = jnp.broadcast_to(
    method.soft_labels[classes, None],
    (*images.shape[:2], method.soft_labels.shape[1]),
  )
  smallest = min(method.counts)
  padded = smallest < min(images.shape[1], max(method.counts))
  return (
    source,
    classes,
    Batch(images, labels, weights[classes] if padded else None),
  )


def _codebook_step(method, key, state, classes, real):
  """Steps codes, projection and generator; returns what was seen, too."""
  code_key, augment_key = jax.random.split(key)
  variables = state.inner.variables
  real = _augmented(method.augment, augment_key, real)
  judged_real = jax.lax.stop_gradient(
    objectives.judge(method.network, variables, real)
  )
  means = objectives.class_feature_means(judged_real)
  params = state.params
  if method.condition == 'online':
    # Means of features are nearly the same vector for all classes.
    apart = objectives.standardised(means, like=means)
    stored = params['embeddings'].at[classes].set(apart)
    params = {**params, 'embeddings': stored}
  see = _lens(method, judged_real, params['embeddings'])
  conditions = see.embeddings(params['embeddings'][classes])
  anchors = conditions if method.condition == 'class' else see.features(means)
  judged_real = see.judged(judged_real)

  def loss_fn(params):
    codes = _codes(method, code_key, params['codes'])
    images = formations.decode_in_training(
      method.formation, params, classes, codes
    )
    labels = jnp.broadcast_to(
      real.labels[:, :1], (*images.shape[:2], real.labels.shape[-1])
    )
    batch = _augmented(method.augment, augment_key, Batch(images, labels))
    fake = see.judged(objectives.judge(method.network, variables, batch))
    loss, metrics = objectives.generative_loss(
      method.terms,
      fake,
      judged_real,
      scores=_scores(method, state.inner.discriminator, fake, conditions),
      anchors=anchors,
      targets=method.soft_labels[classes],
    )
    return loss, (metrics, fake)

  gradient, (metrics, fake) = jax.grad(loss_fn, has_aux=True)(params)
  updates, opt_state = method.optimizer.update(
    gradient, state.opt_state, params
  )
  params = optax.apply_updates(params, updates)
  return params, (judged_real, fake, conditions), opt_state, metrics


class _Lens(NamedTuple):
  """How relation losses and discriminator see features and embeddings."""

  features: Callable[[Array], Array]
  embeddings: Callable[[Array], Array]

  def judged(self, judged: Judged) -> Judged:
    return judged._replace(pooled=self.features(judged.pooled))


def _lens(method, real, embeddings):
  if not method.terms.standardised:
    return _Lens(lambda x: x, lambda x: x)
  return _Lens(
    functools.partial(objectives.standardised, like=real.pooled),
    functools.partial(objectives.standardised, like=embeddings),
  )


def _augmented(augment, key, batch):
  """One draw for all images; the same key treats both sides alike."""
  if augment is None:
    return batch
  flat = batch.images.reshape(-1, *batch.images.shape[2:])
  return batch._replace(images=augment(key, flat).reshape(batch.images.shape))


def _codes(method, key, stored):
  """`[n, dim]` codes of a step: some of the stored ones, or new ones."""
  count, size = stored.shape
  some = min(count, method.codes_per_step)
  if method.codes != 'learned':
    return formations.draw_codes(key, (some, size), method.codes)
  if some == count:
    return stored
  return stored[jax.random.permutation(key, count)[:some]]


def _scores(method, weights, judged: Judged, conditions):
  """The discriminator's logits `[c * n]`."""
  per_class = judged.batch.images.shape[1]
  repeated = jnp.repeat(conditions, per_class, axis=0)
  return method.discriminator.apply(weights, judged.pooled, repeated)


def _discriminator_step(method, judges, real, fake, conditions):
  def loss_fn(weights):
    logits = tuple(
      _scores(method, weights, jax.lax.stop_gradient(judged), conditions)
      for judged in (real, fake)
    )
    return objectives.discriminator_loss(*logits), logits

  (loss, logits), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
    judges.discriminator
  )
  updates, optimiser = method.discriminator_optimizer.update(
    gradient, judges.optimiser, judges.discriminator
  )
  weights = optax.apply_updates(judges.discriminator, updates)
  return judges._replace(discriminator=weights, optimiser=optimiser), {
    'discriminator_loss': loss,
    'discriminator_accuracy': objectives.discriminator_accuracy(*logits),
  }
