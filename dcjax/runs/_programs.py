"""The programs of a run, from shapes alone: nothing is read, drawn or moved."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dcjax import evaluation, methods, sharding
from dcjax.base import PyTree
from dcjax.inner import InnerData
from dcjax.runs import (
  _batches,
  _evaluate,
  _experts,
  _method,
  _networks,
  _observers,
  _start,
  _statistics,
  _wanted,
)
from dcjax.runs._build import Built
from dcjax.runs._given import Given, looks_through_observers
from dcjax.runs._observers import Observer
from dcjax.trajectories import Experts


class Program(NamedTuple):
  """A program of a run.

  Attributes:
    name: of the stage that it belongs to.
    unit: what one call does.
    calls: how often it is called in the whole run.
    turns: of its loop that no shape tells the length of, in a call; else 1.
    function: what is compiled.
    args: shapes of its arguments, with their devices.
    places: where its results lie, or None.
  """

  name: str
  unit: str
  calls: int
  turns: int
  function: Callable[..., Any]
  args: Sequence[PyTree]
  places: PyTree = None


def programs(built: Built) -> Iterator[Program]:
  """The programs that take a run's time, in their order.

  Left out is what takes little beside them: the start, statistics of observers,
  labels, tests and coresets.

  Args:
    built: of the run; its data may be `data.blank`.
  """
  config, section = built.config, built.config.method
  statistical = 'iterations' in section
  observers = []
  through = looks_through_observers(built)
  if statistical or through or section.name == 'rded':
    observers = _observers.observers(built, ['matching'])
  for observer in observers:
    if not observer.file:
      rounds = observer.epochs * built.real.windows
      loop = _observers.observer_loop(built, observer)
      yield _training(built, observer.stage, loop, 1, rounds)
  if section.get('pool_networks'):
    rounds = section.pool_epochs * built.real.windows
    loop = _networks.pool_loop(built)
    yield _training(built, 'pool', loop, section.pool_networks, rounds)
  if statistical:
    yield _observed(built, observers)
  elif section.name != 'rded':
    yield _outer(built, observers if through else ())
  if config.evaluation.seeds:
    yield _evaluation(built)


def _everywhere(built, shapes):
  return sharding.placed(shapes, built.placement.copies(shapes))


def _key(built, number: int = 0):
  def draw():
    keys = jax.random.split(jax.random.key(0), max(number, 1))
    return keys if number else keys[0]

  return _everywhere(built, jax.eval_shape(draw))


def _training(built, name, loop, networks, rounds) -> Program:
  begin, once = _networks.rounds_of(loop)
  keys = _key(built, networks)
  states = _everywhere(built, jax.eval_shape(begin, keys))
  real = built.placement.data_shapes(built.dataset)
  return Program(name, 'epoch', rounds, 1, once, (keys, states, real))


def _outer(built, observers: Sequence[Observer]) -> Program:
  config, section = built.config, built.config.method
  dataset = built.dataset
  key, soft = _key(built), None
  if section.get('soft_labels') and _start.needs_embeddings(built):
    soft = jnp.eye(dataset.num_classes)
  looking = [o.network for o in observers]
  condenser = _method.condenser(Given(built, looking, soft))
  variables = tuple(jax.eval_shape(n.init, key) for n in looking)
  pool = experts = None
  if section.get('pool_networks'):
    keys = _key(built, section.pool_networks)
    pool = jax.eval_shape(jax.vmap(built.network.init), keys)
  if config.get('experts'):
    experts = _ways(built)
  known = _everywhere(built, (pool, experts, variables))
  data = InnerData(built.placement.data_shapes(dataset), *known)
  shapes = jax.eval_shape(condenser.init, key, _stored(built), data)
  places = built.placement.state(shapes, dataset.num_classes)
  state = sharding.placed(shapes, places)
  unit = f'outer iteration of {section.inner_steps} steps'
  return Program(
    'condense',
    unit,
    config.outer,
    1,
    condenser.period,
    (key, state, data),
    _batches.out_places(built, places),
  )


def _stored(built):
  """Shapes of the stored numbers."""
  dataset = built.dataset
  shape = (dataset.num_classes, built.config.ipc, *dataset.image_shape)
  blank = jax.ShapeDtypeStruct(shape, jnp.float32)
  return jax.eval_shape(built.formation.init, _key(built), blank)


def _ways(built) -> Experts:
  count, passes = built.config.experts.count, _experts.epochs(built.config)
  params = jax.eval_shape(built.network.init, jax.random.key(0)).params
  size = sum(leaf.size for leaf in jax.tree.leaves(params))
  return Experts(
    jax.ShapeDtypeStruct((count, passes + 1, size), jnp.float32),
    jax.ShapeDtypeStruct((count, passes), jnp.float32),
  )


def _observed(built, observers: Sequence[Observer]) -> Program:
  config, section = built.config, built.config.method
  condenser = _method.condenser(Given(built, [o.network for o in observers]))
  key = _key(built)
  variables = [jax.eval_shape(o.network.init, key) for o in observers]
  targets = [
    _statistics.used(built, _statistics.shapes(built, o, v))
    for o, v in zip(observers, variables, strict=True)
  ]
  data = InnerData(None, observers=tuple(variables), targets=tuple(targets))
  data = _everywhere(built, data)
  images = _stored(built)['images']
  classes, ipc = images.shape[:2]
  cut = config.batches
  batches = methods.image_batches(
    classes, ipc, cut.batch_size or classes * ipc, cut.order
  )
  slots = batches[0]

  def begin(key, images, data):
    return condenser.init(
      key, methods.cut_batch(images, slots, built.formation.tiles), data
    )

  shapes = jax.eval_shape(begin, key, images, data)
  places = built.placement.image_batch(shapes, slots.shape[:2])
  state = sharding.placed(shapes, places)
  periods = section.iterations // section.inner_steps
  return Program(
    'condense',
    f'{section.inner_steps} steps of an image batch',
    len(batches) * periods,
    1,
    condenser.period,
    (key, state, data),
    _batches.out_places(built, places),
  )


def _evaluation(built) -> Program:
  """All networks of one evaluation of the condensed set, with hard labels."""
  dataset, config = built.dataset, built.config
  seeds = config.evaluation.seeds
  asked = _wanted.wanted(config)
  protocol = _wanted.protocol(built, asked[0])
  feed = _evaluate.feed_of(built, 'plain', False, protocol, ())
  program = _evaluate.evaluator_of(built, built.network, feed, protocol)
  images = _wanted.expected_images(built, asked[0])
  shape = (images, *dataset.image_shape)
  keys = jax.eval_shape(lambda: evaluation.seed_keys(jax.random.key(0), seeds))
  training = evaluation.TrainingSet(
    jax.ShapeDtypeStruct(shape, jnp.float32),
    jax.ShapeDtypeStruct((images, dataset.num_classes), jnp.float32),
    jax.ShapeDtypeStruct((), jnp.int32),
  )
  args = (keys, training, jax.ShapeDtypeStruct((), jnp.int32))
  if built.placement.mesh is None:  # else the networks are spread from inside
    args = _everywhere(built, args)
  keys, training, epochs = args
  state = jax.eval_shape(program.start, keys, training)
  if built.placement.mesh is None:
    state = _everywhere(built, state)
  steps = -(-images // min(protocol.batch_size, images))
  return Program(
    'evaluate',
    f'evaluation of {protocol.epochs} epochs of {seeds} networks',
    len(asked),
    protocol.epochs * steps,
    program.train,
    (keys, training, state, epochs),
  )
