"""The step that every condensation method shares."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
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
  StatefulObjective,
)
from dcjax.condensing._picking import sampled, undecoded
from dcjax.condensing._sources import Source
from dcjax.condensing._turns import comparison, in_turns
from dcjax.inner import InnerData, InnerLoop, InnerState
from dcjax.matching import ClassStrategy
from dcjax.optimizers import ImageOptimizer, as_image_optimizer
from dcjax.utils import check_choice

# Folds of a run's key, which steps fold with their count: one that no count
# reaches, and two of a step's key that its split in two does not meet.
_START_FOLD = 2**32 - 1
_RESET_FOLD, _PREPARE_FOLD, _REST_FOLD, _SHOW_FOLD = 2, 3, 4, 5
# Of the start's key, that its split in two does not meet.
_REMEMBER_FOLD = 2
# Of an image step's key, that its split in three does not meet.
_OBSERVE_FOLD, _MEASURE_FOLD = 3, 4

_ALL = 10**9

# (key, params, target, variables of the network) -> params.
Measure = Callable[[Key, Params, PyTree, PyTree], Params]


class CondenseState(NamedTuple):
  """Everything a condensation needs to go on, bit for bit.

  Attributes:
    params: the stored numbers of the formation.
    opt_state: of the image optimiser.
    inner: the networks.
    source: where the walk through the target data stands.
    step: `[]` int32, image steps made.
    memory: of an objective that remembers, else `()`.
  """

  params: Params
  opt_state: PyTree
  inner: InnerState
  source: PyTree
  step: Array
  memory: PyTree = ()


class Condenser(NamedTuple):
  """A condensation method as pure functions.

  Attributes:
    init: `(key, params, data) -> CondenseState`.
    period: `(key, state, data) -> (CondenseState, metrics)`: one outer
      iteration (new network, then `inner_steps` image steps); metrics are
      `[inner_steps]` each. `key` is the run's; steps fold it with their count.
    restart: `(state, params) -> CondenseState`: other stored numbers, with a
      new optimiser; networks, source and count of steps go on, as does what the
      objective remembers but for the images.
  """

  init: Callable[[Key, Params, InnerData], CondenseState]
  period: Callable[
    [Key, CondenseState, InnerData], tuple[CondenseState, Metrics]
  ]
  restart: Callable[[CondenseState, Params], CondenseState]


def condenser(
  network: Network | Sequence[Network] | None,
  *,
  formation: Formation,
  objective: Objective | StatefulObjective,
  source: Source,
  inner: InnerLoop,
  optimizer: optax.GradientTransformation | ImageOptimizer,
  augment: Augment | None = None,
  inner_steps: int,
  most_synthetic: int = 128,
  classes: ClassStrategy = 'auto',
  project: str = 'period',
  reject_above: float | None = None,
  measure: Measure | None = None,
) -> Condenser:
  """Composes a condensation method from its parts.

  One period: project the stored numbers into their range (here only, as IDC
  does, unless `project` says otherwise), take a new network, then scan over
  `inner_steps` of: draw a target, decode, match, step the images, train the
  network. `inner` may prepare the network before each of these steps, and the
  formation may finish the period.

  Args:
    network: what judges the images; None if the objective needs no network
      (see `inner.none`). Several take turns, one step each, by the count of
      steps; one program holds a branch for each, and a step runs one branch.
    formation: stored numbers -> images.
    objective: what must agree. One that remembers has the key of a step for
      itself, unless something is augmented here.
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
    measure: stored numbers that are not learned but measured anew, before the
      images of a step are made (class embeddings). None: there are none.

  Raises:
    ValueError: if `project` is unknown, or no network is given.
  """
  check_choice('project', project, ('period', 'step', 'never'))
  optimizer = as_image_optimizer(optimizer)
  image_step = _image_step(
    formation,
    source,
    inner,
    optimizer,
    _guarded(optimizer, reject_above),
    in_turns(network, comparison(objective, augment, classes, formation)),
    most_synthetic,
    _goes_by_class(formation, objective, classes),
    project,
    measure,
  )
  remembers = isinstance(objective, StatefulObjective)
  step = _step(formation, inner, image_step, remembers)
  return Condenser(
    _init(formation, objective, source, inner, optimizer),
    _period(formation, inner, step, inner_steps, project),
    _restart(formation, objective, optimizer),
  )


def _goes_by_class(formation, objective, classes):
  """Whether classes are decoded where they are matched: on several devices."""
  joint = isinstance(objective, StatefulObjective) or objective.joint
  return callable(classes) and formation.by_class and not joint


def _init(formation, objective, source, inner, optimizer):
  def init(key, params, data):
    start_key = jax.random.fold_in(key, _START_FOLD)
    inner_key, source_key = jax.random.split(start_key)
    memory = ()
    if isinstance(objective, StatefulObjective):
      shapes = jax.eval_shape(formation.decode, params)
      memory_key = jax.random.fold_in(start_key, _REMEMBER_FOLD)
      memory = objective.init(memory_key, shapes, data)
    return CondenseState(
      params,
      optimizer.init(params),
      inner.init(inner_key, data),
      source.init(source_key),
      jnp.zeros((), jnp.int32),
      memory,
    )

  return init


def _restart(formation, objective, optimizer):
  def restart(state, params):
    memory = state.memory
    if isinstance(objective, StatefulObjective):
      shapes = jax.eval_shape(formation.decode, params)
      memory = objective.restart(memory, shapes)
    return state._replace(
      params=params, opt_state=optimizer.init(params), memory=memory
    )

  return restart


def _period(formation, inner, step, inner_steps, project):
  """Project, take a new network, then make the period's image steps."""

  def period(key, state, data):
    reset_key = jax.random.fold_in(
      jax.random.fold_in(key, state.step), _RESET_FOLD
    )
    state = state._replace(inner=inner.reset(reset_key, state.inner, data))
    if project != 'never':
      state = state._replace(params=formation.project(state.params))
    state, metrics = jax.lax.scan(
      lambda carry, _: step(key, carry, data), state, length=inner_steps
    )
    if formation.finish is not None:
      state = state._replace(params=formation.finish(state.params))
    return state, metrics

  return period


def _step(formation, inner, image_step, remembers):
  """Make the network ready, step the stored numbers, train the network."""

  def step(key, state, data):
    step_key = jax.random.fold_in(key, state.step)
    rest_key = step_key
    if remembers:
      rest_key = jax.random.fold_in(step_key, _REST_FOLD)
    image_key, inner_key = jax.random.split(rest_key)
    prepare_key = jax.random.fold_in(rest_key, _PREPARE_FOLD)
    state = state._replace(inner=inner.prepare(prepare_key, state.inner, data))
    own_key = step_key if remembers else None
    state, metrics = image_step(image_key, own_key, state, data)
    show_key = jax.random.fold_in(rest_key, _SHOW_FOLD)
    shown = sampled(formation, state.params, show_key, _ALL)
    inner_state, inner_metrics = inner.update(
      inner_key, state.inner, data, shown
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


def _image_step(
  formation,
  source,
  inner,
  optimizer,
  update,
  compare,
  most,
  by_class,
  project,
  measure,
):
  """Draw a target, decode, match, step the stored numbers."""

  def image_step(key, own_key, state, data):
    draw_key, pick_key, match_key = jax.random.split(key, 3)
    match_key = match_key if own_key is None else own_key
    variables = inner.variables(state.inner, data)
    target_state = state.source
    if source.observe is not None:
      target_state = source.observe(
        jax.random.fold_in(key, _OBSERVE_FOLD),
        target_state,
        data,
        variables,
      )
    target_state, target = source.next(draw_key, target_state, data)
    params, opt_state = optimizer.prepare(state.params, state.opt_state)
    if measure is not None:
      measure_key = jax.random.fold_in(key, _MEASURE_FOLD)
      params = measure(measure_key, params, target, variables)
    classes = target.classes if isinstance(target, Batch) else None
    if by_class and classes is None:
      synthetic = undecoded(formation, params, pick_key, most)
      pull = _itself
    else:
      synthetic, pull = jax.vjp(
        lambda p: sampled(formation, p, pick_key, most, classes), params
      )
    metrics, cotangent, memory = compare(
      state.step, variables, target, synthetic, match_key, state.memory
    )
    (gradient,) = pull(_with_step_size(cotangent, synthetic))
    params, opt_state, metrics = update(gradient, params, opt_state, metrics)
    if project == 'step':
      params = formation.project(params)
    state = state._replace(
      params=params,
      opt_state=opt_state,
      source=target_state,
      step=state.step + 1,
      memory=memory,
    )
    return state, metrics

  return image_step


def _itself(gradient):
  return (gradient,)


def _with_step_size(cotangent, synthetic):
  """A cotangent of what was compared: a step size that nobody read is still."""
  learned = getattr(synthetic, 'step_size', None)
  if learned is None or cotangent.step_size is not None:
    return cotangent
  return cotangent._replace(step_size=jnp.zeros_like(learned))
