"""EDC for `sharded_cases.py`: statistics and image batches, also on a mesh."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import tiny_observer

from dcjax import augment, data, inner, methods, sharding, statistics

PERIODS, STEPS = 2, 2
# A program that runs a few times: compiling it fast is what counts.
_QUICK = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}


@functools.cache
def _network(classes, shape):
  return tiny_observer.network(classes, shape=shape)


@functools.cache
def _variables(network):
  return jax.tree.map(np.asarray, jax.jit(network.init)(jax.random.key(1)))


def _targets(network, variables, real, mesh):
  """Statistics of the real images, of all and of each class."""
  classes = real.num_classes
  collector = statistics.collector(network, real.image_shape, classes)
  seen = augment.normalise(real.mean, real.std)
  if mesh is None:
    placed = data.to_device(real.images, real.labels, real.scale)
  else:
    placed = sharding.place_data(mesh, real)
    seen = augment.chain(sharding.spread(mesh), seen)
  add = statistics.accumulator(collector, classes, augment=seen, batch_size=16)
  start, key = collector.init(variables), jax.random.key(2)
  if mesh is not None:
    everywhere = sharding.replicated(mesh)
    start, variables, key = sharding.place((start, variables, key), everywhere)
  state = sharding.to_host(add(start, variables, placed, key))
  return collector.finish(state, sharding.to_host(variables))


def run(real, batch_size, mesh):
  """Targets, images and metrics of two periods of every image batch.

  Args:
    real: the data.
    batch_size: of the image batches, of two images of each class.
    mesh: the devices, or None.

  Returns:
    Arrays in host memory, and the compiled text of the first batch.
  """
  shape, classes = real.image_shape, real.num_classes
  network = _network(classes, shape)
  variables = _variables(network)
  targets = (_targets(network, variables, real, mesh),)
  places = {} if mesh is None else {'spread': sharding.spread(mesh)}
  condenser = methods.edc(
    [network],
    real.mean,
    real.std,
    iterations=PERIODS * STEPS,
    inner_steps=STEPS,
    # A resized crop compiles long, and is the same for all images.
    seen=methods.Recovery(),
    **places,
  )
  observed = inner.InnerData(None, observers=(variables,), targets=targets)
  rng = np.random.default_rng(1)
  images = jnp.asarray(rng.random((classes, 2, *shape)), jnp.float32)
  key = jax.random.key(0)
  if mesh is not None:
    everywhere = sharding.replicated(mesh)
    key, images, observed = sharding.place((key, images, observed), everywhere)
  found, text = _batches(condenser, key, images, observed, batch_size, mesh)
  return sharding.to_host((targets, found)), text


def _batches(condenser, key, images, observed, batch_size, mesh):
  state, texts, metrics = None, [], []
  for slots in methods.image_batches(*images.shape[:2], batch_size):
    begin = _begin(condenser, key, images, slots, observed)
    options, step_options = _places(mesh, begin, state, slots.shape[:2])
    state = jax.jit(begin, **options)(state)
    step = jax.jit(condenser.period, **step_options)
    step = step.lower(key, state, observed).compile(_QUICK)
    texts.append(step.as_text())
    for _ in range(PERIODS):
      state, found = step(key, state, observed)
    metrics.append(found)
    put = functools.partial(methods.put_batch, slots=slots)
    images = jax.jit(lambda i, p, put=put: put(i, params=p))(
      images, state.params
    )
  return ({'images': images}, metrics), texts[0]


def _begin(condenser, key, images, slots, observed):
  def begin(before):
    params = methods.cut_batch(images, slots)
    if before is None:
      return condenser.init(key, params, observed)
    return condenser.restart(before, params)

  return begin


def _places(mesh, begin, before, lead):
  if mesh is None:
    return {}, {}
  shapes = jax.eval_shape(begin, before)
  places = sharding.image_batch_shardings(mesh, shapes, lead)
  outputs = (places, sharding.replicated(mesh))
  return {'out_shardings': places}, {'out_shardings': outputs}
