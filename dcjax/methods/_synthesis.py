"""Images optimised under frozen observers: what SRe2L to EDC share."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from dcjax import formations, objectives
from dcjax.base import Array, Formation, Key, Network, Params, Variables
from dcjax.condensing import Condenser, CondenseState
from dcjax.methods._image_batches import cut_batch, put_batch
from dcjax.methods._views import View
from dcjax.objectives import (
  RunningStatistics,
  StatisticsTarget,
  StatisticsTerms,
)
from dcjax.optimizers import in_normalised_units
from dcjax.statistics import Targets
from dcjax.utils import check_at_least

_ADAM = {'b1': 0.5, 'b2': 0.9, 'eps': 1e-8}


class ObserverData(NamedTuple):
  """What a synthesis draws from; the same order as its observers.

  Attributes:
    variables: of each observer, frozen.
    targets: what each observer's layers see of real images.
  """

  variables: tuple[Variables, ...]
  targets: tuple[Targets, ...]


class ObserverState(NamedTuple):
  """What a synthesis carries beside the images.

  Attributes:
    running: of each observer; goes on from image batch to image batch.
    averaged: `[C, N, H, W, D]`, average of the images over the steps, or None.
    turn: `[]` int32, steps made in all image batches; says whose turn it is.
  """

  running: tuple[RunningStatistics, ...]
  averaged: Array | None
  turn: Array


def next_batch(
  condenser: Condenser,
  key: Key,
  state: CondenseState,
  params: Params,
  data: ObserverData,
) -> CondenseState:
  """Starts the next image batch: new optimiser, same running statistics.

  Args:
    condenser: of this module's recipes.
    key: the run's.
    state: at the end of the batch before.
    params: see `cut_batch`.
    data: the observers.
  """
  fresh = condenser.init(key, params, data)
  before: Any = state.inner  # An `ObserverState` in a synthesis.
  own: Any = fresh.inner
  own = own._replace(running=before.running, turn=before.turn)
  return fresh._replace(inner=own)


def synthesise(
  condenser: Condenser,
  images: Array,
  data: ObserverData,
  key: Key,
  *,
  batches: Sequence[np.ndarray],
  iterations: int,
  inner_steps: int,
) -> Iterator[tuple[Array, dict[str, Array]]]:
  """Optimises a whole set, batch after batch.

  Args:
    condenser: of this module's recipes.
    images: `[C, N, H, W, D]` in [0, 1], where they start.
    data: the observers.
    key: the run's.
    batches: see `image_batches`.
    iterations: steps of each batch; the recipe's.
    inner_steps: steps of a period; the recipe's.

  Yields:
    After every batch the whole set as it then is, and the metrics of the
    batch's last period, `[inner_steps]` each.
  """
  images = jnp.asarray(images)
  period = jax.jit(condenser.period, donate_argnums=1)
  state = None
  for slots in batches:
    params = cut_batch(images, slots)
    state = (
      condenser.init(key, params, data)
      if state is None
      else next_batch(condenser, key, state, params, data)
    )
    for _ in range(iterations // inner_steps):
      state, metrics = period(key, state, data)
    images = put_batch(images, slots, state.params)
    yield images, metrics


def synthesis(
  observers: Sequence[Network],
  std: Sequence[float],
  *,
  seen: View,
  terms: StatisticsTerms,
  iterations: int,
  learning_rate: float,
  inner_steps: int,
  averaging: float = 0.99,
  formation: Formation | None = None,
) -> Condenser:
  """Composes a statistics-matching method.

  One step: the observer whose turn it is looks at the image batch, Adam (betas
  0.5 and 0.9, cosine to 0 over the batch's iterations) steps it in normalised
  units, it is clipped to the range of its formation. Observers take turns by a
  count that goes on over all batches. They are different networks, not an axis:
  one program holds a branch for each, and a step runs one branch.

  Args:
    observers: the networks; their numbers are in the `ObserverData`.
    std: `[D]` of the normalisation.
    seen: see `view`.
    terms: see `objectives.statistics_terms`.
    iterations: steps of each image batch; a multiple of `inner_steps`.
    learning_rate: of the images, in normalised units.
    inner_steps: steps in one compiled call.
    averaging: rate of the average of the images over the steps (flatness).
    formation: how stored images become those that observers see; of those that
      treat every stored image alike. None: `identity()`.

  Returns:
    A condenser: `init` and `period` take an `ObserverData` as data, and stored
    numbers as `cut_batch` makes them.

  Raises:
    ValueError: if an option is out of range; from `init`, if the data are not
      those of the observers.
  """
  check_at_least('inner_steps', inner_steps, 1)
  if not observers:
    raise ValueError('observers (): must be at least one network')
  if iterations < 1 or iterations % inner_steps:
    raise ValueError(
      f'iterations {iterations}: must be a positive multiple of inner_steps '
      f'{inner_steps}'
    )
  if not 0 <= averaging < 1:
    raise ValueError(f'averaging {averaging!r}: must be in [0, 1)')
  formation = _beside_labels(formation or formations.identity())
  optimizer = _images_only(
    in_normalised_units(
      optax.adam(
        optax.cosine_decay_schedule(learning_rate, iterations), **_ADAM
      ),
      std,
    )
  )
  compare = _taking_turns(observers, formation, terms)

  def step(key, state, data):
    progress = state.step / iterations
    inner = state.inner
    gradient, metrics, running = compare(
      jax.random.fold_in(key, inner.turn),
      state.params,
      inner,
      data,
      lambda k, images: seen(k, images, progress),
    )
    updates, opt_state = optimizer.update(
      gradient, state.opt_state, state.params
    )
    params = formation.project(optax.apply_updates(state.params, updates))
    averaged = inner.averaged
    if averaged is not None:
      averaged = averaging * averaged + (1 - averaging) * params['images']
    inner = ObserverState(running, averaged, inner.turn + 1)
    state = CondenseState(params, opt_state, inner, (), state.step + 1)
    return state, metrics

  def period(key, state, data):
    return lax.scan(
      lambda carry, _: step(key, carry, data), state, length=inner_steps
    )

  return Condenser(_init(len(observers), terms, optimizer), period)


# Those that make of each stored image as many others, cell after cell.
_ALIKE = ('identity', 'time_axis', 'uniform')


def _beside_labels(formation: Formation) -> Formation:
  """A formation of image batches, whose labels are stored with the images."""
  name = formation.spec['name']
  if name not in _ALIKE:
    raise ValueError(
      f'formation {name!r}: must be one of {", ".join(_ALIKE)} under observers'
    )

  def decode(params):
    decoded = formation.decode({'images': params['images']})
    labels = jnp.tile(params['labels'], (1, formation.cells, 1))
    return decoded._replace(labels=labels)

  def project(params):
    return params | formation.project({'images': params['images']})

  return formation._replace(decode=decode, project=project)


def _init(count, terms, optimizer):
  def init(key, params, data):
    del key
    if not len(data.variables) == len(data.targets) == count:
      raise ValueError(
        f'data hold {len(data.variables)} weights and {len(data.targets)} '
        f'targets: must be one of each for the {count} observers'
      )
    running = tuple(objectives.start_running(t) for t in data.targets)
    zero = jnp.zeros((), jnp.int32)
    # A copy: the images themselves are donated to the first period too.
    averaged = jnp.array(params['images']) if terms.flatness else None
    inner = ObserverState(running, averaged, zero)
    return CondenseState(
      params, optimizer.init(params), inner, (), jnp.array(zero)
    )

  return init


def _taking_turns(observers, formation, terms):
  """The gradient under the observer whose turn it is."""

  def under(k, key, params, inner, data, seen):
    averaged = inner.averaged
    if averaged is not None:
      averaged = formation.decode({**params, 'images': averaged}).images
    target = StatisticsTarget(data.targets[k], inner.running[k], averaged)

    def loss(params):
      return objectives.statistics_loss(
        observers[k],
        data.variables[k],
        target,
        formation.decode(params),
        key,
        terms,
        seen,
      )

    gradient, (metrics, running) = jax.grad(loss, has_aux=True)(params)
    others = list(inner.running)
    others[k] = running
    return gradient, metrics, tuple(others)

  def compare(key, params, inner, data, seen):
    branches = [
      lambda *args, k=k: under(k, *args, data, seen)
      for k in range(len(observers))
    ]
    turn = inner.turn % len(observers)
    return lax.switch(turn, branches, key, params, inner)

  return compare


def _images_only(
  optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Steps the stored images and leaves the labels as they are."""

  def roles(params: Params) -> dict[str, str]:
    return {name: 'fixed' if name == 'labels' else 'moved' for name in params}

  return optax.multi_transform(
    {'moved': optimizer, 'fixed': optax.set_to_zero()}, roles
  )
