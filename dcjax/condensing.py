"""The step that every condensation method shares."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax.base import (
  Array,
  Augment,
  Batch,
  Formation,
  Key,
  Metrics,
  Network,
  Objective,
  Params,
  PyTree,
)
from dcjax.data import sampling
from dcjax.inner import InnerData, InnerLoop, InnerState
from dcjax.matching import ClassStrategy, match_and_gradient
from dcjax.optimizers import ImageOptimizer, as_image_optimizer
from dcjax.utils import check_choice

# Folds of a run's key, which steps fold with their count: one that no count
# reaches, and two of a step's key that its split in two does not meet.
_START_FOLD = 2**32 - 1
_RESET_FOLD, _PREPARE_FOLD = 2, 3
# Of an image step's key, that its split in three does not meet.
_OBSERVE_FOLD = 3


class CondenseState(NamedTuple):
  """Everything a condensation needs to go on, bit for bit.

  Attributes:
    params: the stored numbers of the formation.
    opt_state: of the image optimiser.
    inner: the networks.
    source: where the walk through the target data stands.
    step: `[]` int32, image steps made.
  """

  params: Params
  opt_state: PyTree
  inner: InnerState
  source: PyTree
  step: Array


class Source(NamedTuple):
  """Where targets come from.

  Attributes:
    init: `key -> state`.
    next: `(key, state, data) -> (state, target)`.
    observe: `(key, state, data, variables) -> state`, before every draw, of a
      source that asks the network of the moment what to draw; None: it does
      not.
  """

  init: Callable[[Key], PyTree]
  next: Callable[[Key, PyTree, Any], tuple[PyTree, Any]]
  observe: Callable[[Key, PyTree, Any, Any], PyTree] | None = None


class Condenser(NamedTuple):
  """A condensation method as two pure functions.

  Attributes:
    init: `(key, params, data) -> CondenseState`.
    period: `(key, state, data) -> (CondenseState, metrics)`: one outer
      iteration (new network, then `inner_steps` image steps); metrics are
      `[inner_steps]` each. `key` is the run's; steps fold it with their count.
  """

  init: Callable[[Key, Params, InnerData], CondenseState]
  period: Callable[
    [Key, CondenseState, InnerData], tuple[CondenseState, Metrics]
  ]


def real_batches(counts: np.ndarray, batch_size: int) -> Source:
  """Batches of real images of every class, without replacement.

  Each class is walked through in its own random order and reshuffled when it
  has fewer images left than a batch; a class smaller than the batch gives all
  its images, and repeats them with weight 0.

  Args:
    counts: `[C]` images of each class.
    batch_size: images of each class in a batch.
  """
  num_classes = len(counts)
  walk = sampling.shuffler(int(max(counts)), batch_size)
  padded = min(counts) < min(batch_size, max(counts))

  def init(key):
    return walk.init(key, jnp.asarray(counts, jnp.int32))

  def next_fn(key, state, data):
    state, positions, weights = walk.next(key, data.real.counts, state)
    return state, sampling.class_batch(
      data.real, positions, weights if padded else None, num_classes
    )

  return Source(init, next_fn)


def subsample(key: Key, batch: Batch, most: int) -> Batch:
  """Keeps a random `most` images of each class, or all if there are fewer.

  Args:
    key: consumed; every class draws its own images.
    batch: `[C, M, ...]`.
    most: at least 1.

  Returns:
    The batch with `M` replaced by `min(M, most)`.
  """
  chosen = subsample_indices(key, batch.images.shape[:2], most)
  return batch if chosen is None else take(batch, chosen)


def subsample_indices(
  key: Key, shape: tuple[int, int], most: int
) -> Array | None:
  """Positions `[C, most]` that `subsample` keeps of `shape` `(C, M)`.

  Returns:
    None if everything is kept.
  """
  if shape[1] <= most:
    return None
  scores = jax.random.uniform(key, shape)
  return jnp.argsort(scores, axis=1)[:, :most]


def take(batch: Batch, chosen: Array) -> Batch:
  """Returns what belongs to the images at `chosen [C, m]` of each class."""
  of_class = jax.vmap(lambda values, at: values[at])
  images, labels, weights = (
    None if values is None else of_class(values, chosen)
    for values in (batch.images, batch.labels, batch.weights)
  )
  return Batch(images, labels, weights, batch.step_size)


def condenser(
  network: Network | None,
  *,
  formation: Formation,
  objective: Objective,
  source: Source,
  inner: InnerLoop,
  optimizer: optax.GradientTransformation | ImageOptimizer,
  augment: Augment | None = None,
  inner_steps: int,
  most_synthetic: int = 128,
  classes: ClassStrategy = 'auto',
  project: str = 'period',
  reject_above: float | None = None,
) -> Condenser:
  """Composes a condensation method from its parts.

  One period: project the stored numbers into their range (here only, as IDC
  does, unless `project` says otherwise), take a new network, then scan over
  `inner_steps` of: draw a target, decode, match, step the images, train the
  network. `inner` may prepare the network before each of these steps.

  Args:
    network: what judges the images; None if the objective needs no network
      (see `inner.none`).
    formation: stored numbers -> images.
    objective: what must agree.
    source: where targets come from; see `real_batches`.
    inner: where networks come from; see `dcjax.inner`.
    optimizer: of the stored numbers; see `dcjax.optimizers`.
    augment: normalisation and siamese augmentation.
    inner_steps: image steps in a period.
    most_synthetic: decoded images of a class that one step compares; more are
      drawn from at random (IDC's `batch_syn_max`).
    classes: see `dcjax.mapping.over_classes`.
    project: when stored numbers are projected into their range: `'period'` (at
      its start), `'step'` (also after every step) or `'never'` (DC, DSA, DM).
    reject_above: image steps whose loss is above it, or whose loss or gradient
      is not finite, leave the stored numbers and their optimiser as they are
      (DATM), and the metric `rejected` is 1. None: every step is made.

  Raises:
    ValueError: if `project` is unknown.
  """
  check_choice('project', project, ('period', 'step', 'never'))
  optimizer = as_image_optimizer(optimizer)
  compare = functools.partial(
    match_and_gradient,
    network,
    objective=objective,
    augment=augment,
    classes=classes,
  )
  image_step = _image_step(
    formation,
    source,
    optimizer,
    _guarded(optimizer, reject_above),
    compare,
    most_synthetic,
    project,
  )
  step = _step(formation, inner, image_step)
  return Condenser(
    _init(source, inner, optimizer),
    _period(formation, inner, step, inner_steps, project),
  )


def _init(source, inner, optimizer):
  def init(key, params, data):
    inner_key, source_key = jax.random.split(
      jax.random.fold_in(key, _START_FOLD)
    )
    return CondenseState(
      params,
      optimizer.init(params),
      inner.init(inner_key, data),
      source.init(source_key),
      jnp.zeros((), jnp.int32),
    )

  return init


def _period(formation, inner, step, inner_steps, project):
  """Project, take a new network, then make the period's image steps."""

  def period(key, state, data):
    reset_key = jax.random.fold_in(
      jax.random.fold_in(key, state.step), _RESET_FOLD
    )
    state = state._replace(inner=inner.reset(reset_key, state.inner, data))
    if project != 'never':
      state = state._replace(params=formation.project(state.params))
    return jax.lax.scan(
      lambda carry, _: step(key, carry, data), state, length=inner_steps
    )

  return period


def _step(formation, inner, image_step):
  """Make the network ready, step the stored numbers, train the network."""

  def step(key, state, data):
    step_key = jax.random.fold_in(key, state.step)
    image_key, inner_key = jax.random.split(step_key)
    prepare_key = jax.random.fold_in(step_key, _PREPARE_FOLD)
    state = state._replace(inner=inner.prepare(prepare_key, state.inner, data))
    state, metrics = image_step(image_key, state, data)
    inner_state, inner_metrics = inner.update(
      inner_key, state.inner, data, formation.decode(state.params)
    )
    metrics |= {f'network_{k}': v for k, v in inner_metrics.items()}
    return state._replace(inner=inner_state), metrics

  return step


def _guarded(optimizer, reject_above):
  """The optimiser's step, unless the loss says not to make it."""

  def update(gradient, params, opt_state, metrics):
    updates, following = optimizer.update(gradient, opt_state, params)
    moved = optax.apply_updates(params, updates)
    if reject_above is None:
      return moved, following, metrics
    leaves = [metrics['loss'], *jax.tree.leaves(gradient)]
    finite = jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])
    reject = ~(jnp.all(finite) & (metrics['loss'] <= reject_above))
    kept = jax.tree.map(
      lambda old, new: jnp.where(reject, old, new),
      (params, opt_state),
      (moved, following),
    )
    return *kept, metrics | {'rejected': reject.astype(jnp.float32)}

  return update


def _image_step(formation, source, optimizer, update, compare, most, project):
  """Draw a target, decode, match, step the stored numbers."""

  def image_step(key, state, data):
    draw_key, pick_key, match_key = jax.random.split(key, 3)
    target_state = state.source
    if source.observe is not None:
      target_state = source.observe(
        jax.random.fold_in(key, _OBSERVE_FOLD),
        target_state,
        data,
        state.inner.variables,
      )
    target_state, target = source.next(draw_key, target_state, data)
    params, opt_state = optimizer.prepare(state.params, state.opt_state)
    synthetic, decode_vjp = jax.vjp(formation.decode, params)
    chosen = subsample_indices(pick_key, synthetic.images.shape[:2], most)
    seen = synthetic if chosen is None else take(synthetic, chosen)
    metrics, cotangent = compare(state.inner.variables, target, seen, match_key)
    (gradient,) = decode_vjp(_whole(chosen, cotangent, synthetic))
    params, opt_state, metrics = update(gradient, params, opt_state, metrics)
    if project == 'step':
      params = formation.project(params)
    state = state._replace(
      params=params,
      opt_state=opt_state,
      source=target_state,
      step=state.step + 1,
    )
    return state, metrics

  return image_step


def _whole(chosen, part, whole):
  """The gradient of what was compared, zero for what was not, as a batch."""
  step_size = part.step_size
  if step_size is None and whole.step_size is not None:
    step_size = jnp.zeros_like(whole.step_size)
  if chosen is None:
    return part._replace(step_size=step_size)
  # Class by class, so that no device asks another where its classes are.
  put = jax.vmap(lambda zeros, at, values: zeros.at[at].set(values))
  images, labels = (
    put(jnp.zeros_like(w), chosen, p)
    for p, w in ((part.images, whole.images), (part.labels, whole.labels))
  )
  return Batch(images, labels, step_size=step_size)
