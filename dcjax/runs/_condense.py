"""The condensation: outer iterations, or image batches under observers."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import methods, optimizers, sharding, trees
from dcjax.base import Params
from dcjax.inner import InnerData
from dcjax.runs import (
  _batches,
  _costs,
  _diverged,
  _experts,
  _method,
  _statistics,
  _watch,
)
from dcjax.runs._build import Built
from dcjax.runs._given import Given
from dcjax.runs._loop import Task, loop
from dcjax.runs._observers import Observer
from dcjax.runs._stage import Stage, Work, tree

# What is done with the numbers along the way: called with the number of
# iterations so far, the stored numbers, and the seconds.
After = Callable[[int, Params, float], None]


def settings(built: Built) -> dict[str, Any]:
  """What decides the condensed numbers, beside start, data and networks."""
  config = built.config
  fields = ('outer', 'objective', 'inner', 'source', 'optimizer', 'network')
  return {
    'method': config.method.to_dict(),
    'augment': {
      n: v for n, v in config.augment.items() if n not in ('evaluate', 'mix')
    },
    'strategies': [built.strategies[n] for n in ('match', 'train', 'single')],
    'batches': config.get('batches', {}) and config.batches.to_dict(),
    'precision': config.execution.get('precision', 'auto'),
    'flips': built.flips,
    'seed': config.seed,
    **{n: config[n] for n in fields if n in config},
    **{n: config[n] for n in ('stored_labels', 'step_size') if config.get(n)},
  }


def stage(
  built: Built,
  work: Work,
  observers: Sequence[Observer],
  inputs: Sequence[str],
  after: After,
) -> Stage:
  """The stage whose output are the condensed numbers.

  Args:
    built: the objects of the run.
    work: of the run.
    observers: that look at the images.
    inputs: stages beside data and start: the pool, the embeddings, or the
      observers and their statistics.
    after: what is done along the way.
  """
  statistical = 'iterations' in built.config.method
  make = _image_batches if statistical else _outer_iterations

  def made(data, start, *found):
    del data
    start = jax.tree.map(jnp.asarray, unflattened(start))
    given = dict(zip(inputs, found, strict=True))
    return make(built, work, list(observers), start, given, after)

  # Checked before anything is trained: a wrong value is heard of now.
  _method.condenser(Given(built, [o.network for o in observers]))
  return Stage(
    'condense',
    made,
    ('data', 'start', *inputs),
    settings(built),
    tree(),
    work=_costs.condensation(built, observers),
    sole=True,
  )


def unflattened(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Nested dicts of the arrays of a tree that was read by names."""
  made: dict[str, Any] = {}
  for name, leaf in flat.items():
    *folders, last = name.split('/')
    node = made
    for folder in folders:
      node = node.setdefault(folder, {})
    node[last] = leaf
  return made


def _outer_iterations(built, work, observers, start, given, after):
  soft = given.get('embeddings')
  condenser = _method.condenser(
    Given(
      built,
      [o.network for o in observers],
      None if soft is None else _soft(built, soft),
    )
  )
  pool = given.get('pool')
  if pool is not None:
    pool = built.placement.everywhere(jax.tree.map(jnp.asarray, pool))
  key = built.placement.everywhere(built.keys['condense'])
  ways = [made for name, made in given.items() if name.startswith('experts/')]
  experts = _experts.gathered(ways) if ways else None
  looking = built.placement.everywhere(_variables(observers, given))

  def data_at(number):
    return InnerData(built.real.at(number), pool, experts, looking)

  first = data_at(0)
  shapes = jax.eval_shape(condenser.init, key, start, first)
  places = built.placement.state(shapes, built.dataset.num_classes)
  like = sharding.placed(shapes, places)
  programs: list[Any] = []

  def prepare(state, number):
    data = first if number == 0 else data_at(number)
    if not programs:
      programs.append(
        _batches.program(condenser.period, key, like, data, built, places)
      )
    return lambda state: programs[0](key, state, data)

  averaged = built.config.method.get('average_rate')

  def numbers(state):
    if averaged:
      return optimizers.averaged_params(state.opt_state)
    return state.params

  task = Task(
    'condense',
    'condensing',
    'outer',
    built.config.outer,
    lambda done: like,
    lambda: jax.jit(condenser.init, out_shardings=places)(key, start, first),
    prepare,
    functools.partial(_record, built, built.config.method.inner_steps),
    numbers,
    lambda state: _diverged.too_large(built, state.params),
    f'{_diverged.driver(built.config.method)} is probably too large',
    methods.discriminator_problem,
    _points(built, built.config.outer, numbers, after),
  )
  digest = trees.digest({'start': start})
  state, _ = loop(work, task, digest)
  built.real.close()
  return sharding.to_host(numbers(state))


def known_start(built: Built, start: Any) -> Any:
  """The numbers that DD's only network starts from."""
  start = jax.tree.map(jnp.asarray, unflattened(start))
  condenser = _method.condenser(Given(built))
  made = jax.jit(condenser.init)
  state = made(built.keys['condense'], start, InnerData(built.real.at(0)))
  return state.inner.variables


def _soft(built, found):
  wanted = built.config.method.get('soft_labels')
  return jnp.asarray(found['soft_labels']) if wanted else None


def _points(built, total, numbers, after):
  """What is done along the way, by the number of iterations so far."""

  def follow(state, seconds, *, done):
    after(done, sharding.to_host(numbers(state)), seconds)

  at = {max(1, round(f * total)) for f in built.config.evaluation.at}
  return {done: functools.partial(follow, done=done) for done in sorted(at)}


def _record(built, steps, number, metrics, seconds, took, batch=None):
  """A line of `metrics.jsonl`."""
  done = (number + 1) * steps
  return {
    'outer': number + 1,
    **({} if batch is None else {'batch': batch}),
    'step': done,
    **{name: float(np.mean(v)) for name, v in metrics.items()},
    'seconds': round(seconds, 3),
    'steps_per_second': round(done / max(seconds, 1e-9), 4),
    'memory_bytes': _watch.memory_bytes(),
    'utilisation': _watch.utilisation(_costs.iteration(built), took),
  }


def _image_batches(built, work, observers, start, given, after):
  """Image batch after image batch, period after period."""
  condenser = _method.condenser(Given(built, [o.network for o in observers]))
  key, data = built.placement.everywhere(
    (built.keys['condense'], _observer_data(built, observers, given))
  )
  images = jnp.asarray(built.formation.project(start)['images'])
  batches = _batches.batches(built, condenser, key, data, images)
  total = len(batches.slots) * batches.periods

  def record(number, metrics, seconds, took):
    batch = number // batches.periods + 1
    steps = built.config.method.inner_steps
    return _record(built, steps, number, metrics, seconds, took, batch)

  task = Task(
    'condense',
    'synthesising',
    'period',
    total,
    batches.like,
    lambda: batches.first(images),
    batches.prepare,
    record,
    lambda state: state['images'],
    lambda state: _diverged.too_large(built, state),
    'method.learning_rate or method.weight is probably too large',
    after=_points(
      built,
      total,
      lambda state: {**start, 'images': state['images']},
      after,
    ),
  )
  state, _ = loop(work, task, trees.digest({'start': start}))
  return {**start, 'images': sharding.to_host(state['images'])}


def _variables(observers, given):
  """The numbers of the frozen networks, in the order of their turns."""
  found = tuple(given[o.stage]['variables'] for o in observers)
  return jax.tree.map(jnp.asarray, found)


def _observer_data(built, observers, given) -> InnerData:
  targets = [
    given[f'statistics/{o.stage.partition("/")[2]}'] for o in observers
  ]
  return jax.tree.map(
    jnp.asarray,
    InnerData(
      None,
      observers=_variables(observers, given),
      targets=tuple(_statistics.used(built, t) for t in targets),
    ),
  )


def seconds_of(records: Sequence[Mapping[str, Any]]) -> float:
  """Seconds of the condensation, from the lines of `metrics.jsonl`."""
  return records[-1]['seconds'] if records else 0.0
