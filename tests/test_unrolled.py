"""Unrolled training: exact gradients, their memory, DD and RaT-BPTT."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from dcjax import (
  formations,
  losses,
  matching,
  methods,
  networks,
  objectives,
  optimizers,
)
from dcjax.base import Batch, Variables
from dcjax.objectives import Unroll

_VARIABLES = tiny.LINEAR.init(jax.random.key(7))


def _problem(dtype=np.float32, per_class=2, step_size=0.3):
  rng = np.random.default_rng(0)
  images = rng.normal(size=(2, 3, per_class, *tiny.SHAPE))
  labels = rng.dirichlet(np.ones(3), (3, per_class))
  real, fake = (jnp.asarray(part, dtype) for part in images)
  hard = jnp.broadcast_to(jnp.eye(3, dtype=dtype)[:, None], (3, per_class, 3))
  if step_size is not None:
    step_size = jnp.asarray(step_size, dtype)
  return Batch(real, hard), Batch(
    fake, jnp.asarray(labels, dtype), step_size=step_size
  )


def _variables(dtype):
  return jax.tree.map(lambda x: jnp.asarray(x, dtype), _VARIABLES)


def _loss(objective, real, fake, key=tiny.KEY, dtype=np.float32):
  return matching.match(
    tiny.LINEAR, _variables(dtype), real, fake, key, objective=objective
  )[0]


def _value_and_gradient(objective, real, fake, key=tiny.KEY, **options):
  return jax.jit(
    jax.value_and_grad(lambda b: _loss(objective, real, b, key, **options))
  )(fake)


def _assert_close(found, expected, rtol=1e-4):
  jax.tree.map(
    lambda f, e: np.testing.assert_allclose(f, e, rtol=rtol, atol=1e-6),
    found,
    expected,
  )


def _mixed(batch, places=None):
  images, labels = batch.images, batch.labels
  if places is not None:
    images, labels = images[:, places], labels[:, places]
  return Batch(images.reshape(-1, *tiny.SHAPE), labels.reshape(-1, 3))


def _python_loss(real, fake, places, rates):
  """Plain gradient descent as a loop, differentiated as it stands."""
  params = _VARIABLES.params
  for chosen, rate in zip(places, rates, strict=True):
    gradient = objectives.network_gradient(
      tiny.LINEAR, Variables(params, {}), _mixed(fake, chosen)
    )
    params = jax.tree.map(lambda p, g, r=rate: p - r * g, params, gradient)
  outputs, _ = tiny.LINEAR.apply(
    Variables(params, {}), _mixed(real).images, True
  )
  return losses.cross_entropy(outputs.logits, _mixed(real))


_IN_TURN = jnp.array([[0], [1], [0], [1], [0]])


def test_the_scan_is_the_loop():
  """A step size for every step, one image of each class in turn."""
  real, fake = _problem(step_size=[0.1, 0.5, 0.2, 0.4, 0.3])
  objective = objectives.unrolled(Unroll(steps=5, per_class=1))
  found = _value_and_gradient(objective, real, fake)
  expected = jax.value_and_grad(
    lambda b: _python_loss(real, b, _IN_TURN, b.step_size)
  )(fake)
  _assert_close(found, expected)
  assert (np.abs(found[1].step_size) > 1e-4).all()


def test_plain_reverse_mode_gives_the_same_gradient():
  # In float64: Adam's root makes much of the rounding of small gradients.
  with jax.enable_x64(True):
    real, fake = _problem(np.float64)
    unroll = Unroll(steps=6, optimizer=optax.scale_by_adam(eps_root=1e-12))
    kept, again = (
      _value_and_gradient(
        objectives.unrolled(unroll, checkpoint=checkpoint),
        real,
        fake,
        dtype=np.float64,
      )
      for checkpoint in (False, True)
    )
    for f, e in zip(*map(jax.tree.leaves, (again, kept)), strict=True):
      np.testing.assert_allclose(f, e, rtol=1e-9, atol=1e-12)


def _temporary_bytes(network, steps, checkpoint, loss=None):
  """Bytes that a gradient through `steps` steps needs beside its arguments."""
  shape = (3, 4, 16, 16, 1)
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 4, 3))
  batch = Batch(jnp.ones(shape), labels, step_size=jnp.float32(0.1))
  objective = objectives.unrolled(Unroll(steps), checkpoint=checkpoint)

  def own(batch, variables):
    return matching.match(
      network,
      variables,
      Batch(*batch[:2]),
      batch,
      tiny.KEY,
      objective=objective,
    )[0]

  variables = network.init(tiny.KEY)
  compiled = jax.jit(jax.grad(loss or own)).lower(batch, variables).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def test_memory_grows_by_a_network_a_step():
  network = networks.convnet((16, 16, 1), 3, depth=2, width=8)
  size = 4 * objectives.flat_network(network).size
  few, many = (_temporary_bytes(network, n, True) for n in (4, 20))
  # What a step leaves: the network, a little else, but no activations, of
  # which one layer has 8 channels of 12 images of 16 x 16 pixels and more.
  assert 0.5 * size < (many - few) / 16 < 3 * size
  one_layer = 4 * 8 * 12 * 16 * 16
  assert 3 * size < one_layer
  plain = [_temporary_bytes(network, n, False) for n in (4, 20)]
  assert (plain[1] - plain[0]) / 16 > 2 * one_layer
  segment = objectives.Segment(jnp.zeros(size // 4), jnp.ones(size // 4))

  def trajectory(steps, exact):
    objective = objectives.trajectory_matching(steps=steps, exact=exact)
    return _temporary_bytes(
      network,
      steps,
      True,
      lambda batch, variables: matching.match(
        network, variables, segment, batch, tiny.KEY, objective=objective
      )[0],
    )

  few, many = (trajectory(n, True) for n in (4, 20))
  assert 0.5 * size < (many - few) / 16 < 3 * size
  few, many = (trajectory(n, False) for n in (4, 20))
  assert (many - few) / 16 < 0.1 * size


def test_gradients_are_finite_differences_in_double_precision():
  """All of DD at once: softplus, a step size each, images in turn."""
  formation = formations.with_labels(
    formations.identity(value_range=(None, None)), 'hard', 'logits'
  )
  formation = formations.with_step_size(
    formation, [0.1, 0.5, 0.2, 0.4], 'softplus'
  )
  with jax.enable_x64(True):
    real, fake = _problem(np.float64)
    objective = objectives.unrolled(Unroll(steps=4, per_class=1))
    params = formation.init(tiny.KEY, fake.images)
    params = jax.tree.map(lambda x: x.astype(np.float64), params)

    @jax.jit
    def loss(params):
      return _loss(objective, real, formation.decode(params), dtype=np.float64)

    gradient = jax.jit(jax.grad(loss))(params)
    rng = np.random.default_rng(1)
    for name, value in params.items():
      way = jnp.asarray(rng.normal(size=value.shape))
      sides = [loss({**params, name: value + s * way}) for s in (1e-5, -1e-5)]
      slope = jnp.vdot(gradient[name], way)
      np.testing.assert_allclose(slope, (sides[0] - sides[1]) / 2e-5, rtol=1e-6)
      assert abs(slope) > 1e-6


def test_a_late_window_starts_from_a_constant():
  """What comes before the window is trained, but not differentiated."""
  real, fake = _problem(step_size=0.4)
  objective = objectives.unrolled(
    Unroll(steps=5, per_class=1), window=2, position='late'
  )
  found = _value_and_gradient(objective, real, fake)

  def loss(batch):
    fixed = jax.lax.stop_gradient(batch)
    params = _VARIABLES.params
    for step, chosen in enumerate(_IN_TURN):
      seen = batch if step >= 3 else fixed
      gradient = objectives.network_gradient(
        tiny.LINEAR, Variables(params, {}), _mixed(seen, chosen)
      )
      params = jax.tree.map(
        lambda p, g, r=seen.step_size: p - r * g, params, gradient
      )
    outputs, _ = tiny.LINEAR.apply(
      Variables(params, {}), _mixed(real).images, True
    )
    return losses.cross_entropy(outputs.logits, _mixed(real))

  _assert_close(found, jax.value_and_grad(loss)(fake))
  whole = objectives.unrolled(Unroll(steps=5, per_class=1))
  value, gradient = _value_and_gradient(whole, real, fake)
  np.testing.assert_allclose(found[0], value, rtol=1e-6)
  assert np.abs(gradient.images - found[1].images).max() > 1e-3


def test_random_windows_end_anywhere_from_their_length_on():
  real, fake = _problem(step_size=0.4)
  unroll = Unroll(steps=5, per_class=1)
  objective = objectives.unrolled(unroll, window=2)
  ends = [
    _python_loss(real, fake, _IN_TURN[:length], [0.4] * length)
    for length in range(2, 6)
  ]
  of_key = jax.jit(lambda key: _loss(objective, real, fake, key))
  seen = set()
  for seed in range(24):
    value = of_key(jax.random.key(seed))
    distances = np.abs(np.array(ends) - value)
    assert distances.min() < 1e-5
    seen.add(int(distances.argmin()))
  assert seen == {0, 1, 2, 3}


def test_adam_is_optax_adam_where_it_makes_no_difference():
  real, fake = _problem(step_size=None)
  unroll = methods.adam_unroll(4, 0.05)
  found = jax.jit(
    lambda b: objectives.train_on(tiny.LINEAR, _VARIABLES, b, tiny.KEY, unroll)
  )(fake)
  adam = optax.adam(0.05)
  params, state = _VARIABLES.params, adam.init(_VARIABLES.params)
  for _ in range(4):
    gradient = objectives.network_gradient(
      tiny.LINEAR, Variables(params, {}), _mixed(fake)
    )
    updates, state = adam.update(gradient, state)
    params = optax.apply_updates(params, updates)
  _assert_close(found.params, params, rtol=1e-3)
  # A set's own step size takes the rate's place.
  own = objectives.train_on(
    tiny.LINEAR,
    _VARIABLES,
    fake._replace(step_size=jnp.float32(0.05)),
    tiny.KEY,
    unroll._replace(learning_rate=1.0),
  )
  _assert_close(own.params, found.params)
  value, gradient = _value_and_gradient(objectives.unrolled(unroll), real, fake)
  assert np.isfinite(value)
  assert np.isfinite(gradient.images).all() and gradient.images.any()


def test_adam_survives_gradients_that_are_zero():
  """Biases before instance norm have none."""
  network = networks.convnet((8, 8, 1), 3, depth=1, width=4)
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 2, 3))
  images = jax.random.normal(tiny.KEY, (3, 2, 8, 8, 1))
  batch = Batch(images, labels)
  objective = objectives.unrolled(methods.adam_unroll(5))
  gradient = jax.jit(
    jax.grad(
      lambda x: matching.match(
        network,
        network.init(tiny.KEY),
        batch,
        batch._replace(images=x),
        tiny.KEY,
        objective=objective,
      )[0]
    )
  )(images)
  assert np.isfinite(gradient).all() and gradient.any()


def test_steps_draw_some_images_of_each_class():
  seen = []

  def spy(key, images):
    jax.debug.callback(
      lambda shown: seen.append(np.asarray(shown)), images[:, 0, 0, 0]
    )
    return images

  marks = jnp.arange(12.0).reshape(3, 4, 1, 1, 1) * jnp.ones(tiny.SHAPE)
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 4, 3))
  for shuffled in (False, True):
    seen.clear()
    unroll = Unroll(
      6, per_class=2, shuffled=shuffled, learning_rate=1e-3, augment=spy
    )
    objectives.train_on(
      tiny.LINEAR, _VARIABLES, Batch(marks, labels), tiny.KEY, unroll
    )
    jax.effects_barrier()
    places = np.array(seen).reshape(6, 3, 2)
    np.testing.assert_array_equal(
      places // 4, [[[0] * 2, [1] * 2, [2] * 2]] * 6
    )
    # Every class has a draw of its own.
    assert (places % 4 != places[:, :1] % 4).any() == shuffled
    places = places[:, 0] % 4
    assert (places[:, 0] != places[:, 1]).all()
    in_turn = np.array([[0, 1], [2, 3]] * 3)
    assert (np.sort(places, 1) == in_turn).all() != shuffled


def test_real_images_have_an_augmentation_of_their_own():
  real, fake = _problem()
  objective = objectives.unrolled(
    Unroll(steps=2), real_augment=lambda key, images: 3 * images
  )
  tripled = real._replace(images=3 * real.images)
  np.testing.assert_allclose(
    _loss(objective, real, fake),
    _loss(objectives.unrolled(Unroll(steps=2)), tripled, fake),
    rtol=1e-6,
  )


@pytest.mark.parametrize(
  ('unroll', 'options', 'message'),
  [
    (Unroll(0), {}, 'steps 0: must be at least 1'),
    (Unroll(1, per_class=0), {}, 'per_class 0: must be at least 1'),
    (Unroll(1, learning_rate=-1.0), {}, 'learning_rate -1.0: must be above 0'),
    (Unroll(3), {'window': 4}, r'window 4: must be in 1\.\.3'),
    (Unroll(3), {'window': 0}, r'window 0: must be in 1\.\.3'),
    (Unroll(3), {'position': 'x'}, "position 'x': must be one of .*'late'"),
  ],
)
def test_bad_options(unroll, options, message):
  with pytest.raises(ValueError, match=message):
    objectives.unrolled(unroll, **options)


def test_bad_step_sizes():
  real, fake = _problem(step_size=None)
  with pytest.raises(ValueError, match=r'learning_rate None: .*with_step_size'):
    _loss(objectives.unrolled(Unroll(3)), real, fake)
  fake = fake._replace(step_size=jnp.ones(2))
  with pytest.raises(ValueError, match=r'shape \(2,\): must be .*T = 3 steps'):
    _loss(objectives.unrolled(Unroll(3)), real, fake)


# The recipes.


def _dd(initialisation):
  unroll = methods.dd_unroll(2, 2)
  formation = formations.with_step_size(
    formations.identity(value_range=(None, None)), [0.1] * 4, 'softplus'
  )
  made = methods.dd(
    tiny.LINEAR,
    formation,
    np.array(tiny.COUNTS),
    std=(0.5,),
    unroll=unroll,
    initialisation=initialisation,
    learning_rate=0.05,
    batch_real=4,
    inner_steps=20,
  )
  return made, formation, unroll, tiny.stored(2)


def _rat(**options):
  unroll = methods.adam_unroll(6, 0.1, per_class=1)
  formation = formations.with_labels(
    formations.identity(value_range=(None, None)), 'hard', 'nonnegative'
  )
  made = methods.rat_bptt(
    tiny.LINEAR,
    formation,
    np.array(tiny.COUNTS),
    std=(0.5,),
    unroll=unroll,
    window=3,
    learning_rate=0.05,
    batch_real=4,
    **{'inner_steps': 20, **options},
  )
  return made, formation, unroll, tiny.stored(2)


_RECIPES = {
  'dd known': lambda: _dd('known'),
  'dd random': lambda: _dd('random'),
  'rat_bptt': _rat,
}


def _tested(state, formation, unroll):
  """Loss on all real images after the whole training, mean of networks."""
  data = tiny.device_data(tiny.COUNTS)
  batch = Batch(data.images, jax.nn.one_hot(data.labels, 3))

  def loss(key):
    trained = objectives.train_on(
      tiny.LINEAR,
      tiny.LINEAR.init(key),
      formation.decode(state.params),
      key,
      unroll,
    )
    outputs, _ = tiny.LINEAR.apply(trained, batch.images, False)
    return losses.cross_entropy(outputs.logits, batch)

  return float(jnp.mean(jax.vmap(loss)(jax.random.split(tiny.KEY, 8))))


@pytest.mark.parametrize('name', _RECIPES)
def test_recipes_learn_and_resume_bit_for_bit(name):
  made, formation, unroll, images = _RECIPES[name]()
  data = tiny.inner_data()
  params = formation.init(tiny.KEY, images)
  states = [jax.jit(made.init)(tiny.KEY, params, data)]
  period = jax.jit(made.period)
  for _ in range(3):
    state, metrics = period(tiny.KEY, states[-1], data)
    states.append(state)
  assert set(metrics) == {'loss', 'accuracy'} | (
    {'rejected'} if name == 'rat_bptt' else set()
  )
  for value in state.params.values():
    assert np.isfinite(value).all()
  assert _tested(states[-1], formation, unroll) < 0.9 * _tested(
    states[0], formation, unroll
  )
  saved = jax.tree.map(np.asarray, states[2])
  again = period(tiny.KEY, jax.tree.map(jnp.asarray, saved), data)
  tiny.assert_trees_equal(again, (states[3], metrics))
  changed = (
    state.inner.variables.params['weight']
    != states[0].inner.variables.params['weight']
  ).any()
  assert changed == (name != 'dd known')
  if name == 'rat_bptt':
    assert state.params['labels'].min() >= 0
    assert (state.params['labels'] != params['labels']).any()


def test_steps_that_are_not_finite_are_left_out():
  made, formation, _, images = _rat(
    inner_steps=2, real_augment=lambda key, images: images * jnp.inf
  )
  data = tiny.inner_data()
  state = made.init(tiny.KEY, formation.init(tiny.KEY, images), data)
  after, metrics = jax.jit(made.period)(tiny.KEY, state, data)
  np.testing.assert_array_equal(metrics['rejected'], 1)
  tiny.assert_trees_equal(after.params, state.params)
  tiny.assert_trees_equal(after.opt_state, state.opt_state)


def test_bad_initialisation():
  with pytest.raises(ValueError, match="initialisation 'x': must be one of"):
    _dd('x')


def test_rates_halve():
  rate = optimizers.halved_every(0.01, 40)
  np.testing.assert_allclose(
    [rate(step) for step in (0, 39, 40, 79, 80)],
    [0.01, 0.01, 0.005, 0.005, 0.0025],
    rtol=1e-6,
  )
  with pytest.raises(ValueError, match='steps 0: must be at least 1'):
    optimizers.halved_every(0.01, 0)


def test_xavier_networks():
  network = networks.drawn_as(networks.lenet((28, 28, 1), 10), 'xavier')
  params = network.init(tiny.KEY).params
  for name, fans in (
    ('conv1', 25 * (6 + 16)),
    ('dense0', 400 + 120),
    ('dense1', 120 + 84),
  ):
    kernel = params[name]['kernel']
    assert kernel.std() == pytest.approx(math.sqrt(2 / fans), rel=0.05)
    assert not params[name]['bias'].any()
  plain = networks.lenet((28, 28, 1), 10).init(tiny.KEY).params
  assert jax.tree.structure(plain) == jax.tree.structure(params)
  with pytest.raises(ValueError, match="initialisation 'x': must be one of"):
    networks.drawn_as(network, 'x')
