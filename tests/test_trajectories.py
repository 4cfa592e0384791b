"""Experts, their segments, and the matching of trajectories."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import runner
import tiny
import torch_layout

from dcjax import (
  formations,
  inner,
  matching,
  methods,
  networks,
  objectives,
  optimizers,
  trajectories,
)
from dcjax.base import Batch, Variables
from dcjax.objectives import Segment
from dcjax.runs import _experts as expert_stages, _start

_FLAT = objectives.flat_network(tiny.LINEAR)


def _cast(tree, dtype):
  return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


# The loss against the reference.


def _reference(data, dtype):
  network = networks.convnet((16, 16, 3), 4, width=8)
  flat = objectives.flat_network(network)

  def expert(name):
    prefix = f'{name}/'
    arrays = {
      n.removeprefix(prefix): data[n] for n in data if n.startswith(prefix)
    }
    params = networks.from_torch_state(network, arrays, 'convnet').params
    return flat.flatten(_cast(params, dtype))

  batch = Batch(
    torch_layout.images(data['x_syn']).astype(dtype),
    jax.nn.one_hot(data['y_syn'], 4, dtype=dtype),
    # Stored in single precision, used in double.
    step_size=jnp.asarray(round(float(data['syn_lr']), 6), dtype),
  )
  return network, Segment(expert('start'), expert('target')), batch


def _distance(network, segment, batch, indices, weights=None, **options):
  return objectives.trajectory_distance(
    network, segment, batch, indices, weights, tiny.KEY, state={}, **options
  )


def _meets(golden, dtype, rtol, atol):
  data = golden('mtt_iteration_16x3')
  network, segment, batch = _reference(data, dtype)
  indices = jnp.asarray(data['indices'])
  loss, gradient = jax.jit(
    jax.value_and_grad(lambda b: _distance(network, segment, b, indices))
  )(batch)
  assert loss.dtype == dtype
  np.testing.assert_allclose(loss, data['loss'], rtol=rtol[0])
  expected = np.moveaxis(data['dx'], 1, -1)
  np.testing.assert_allclose(
    gradient.images, expected, rtol=rtol[1], atol=atol * np.abs(expected).max()
  )
  np.testing.assert_allclose(gradient.step_size, data['dlr'], rtol=rtol[0])


def test_an_iteration_meets_the_reference(golden):
  _meets(golden, np.float32, (1e-5, 1e-4), 1e-5)


def test_an_iteration_meets_the_reference_in_double_precision(golden):
  with jax.enable_x64(True):
    _meets(golden, np.float64, (1e-10, 1e-10), 1e-10)


# The loss and its gradient against plain computations.


def _problem(dtype=np.float32, images=5, seed=0):
  rng = np.random.default_rng(seed)
  batch = Batch(
    jnp.asarray(rng.normal(size=(images, *tiny.SHAPE)), dtype),
    jnp.asarray(rng.dirichlet(np.ones(3), images), dtype),
    step_size=jnp.asarray(0.3, dtype),
  )
  ends = jnp.asarray(rng.normal(size=(2, _FLAT.size)) / 4, dtype)
  return Segment(*ends), batch


def _brighten(key, images):
  """An augmentation that draws."""
  return images * (1 + jax.random.uniform(key, (), images.dtype))


def _python_distance(segment, batch, indices, weights, augment=None):
  """The unroll as a loop, with gradients of trees."""
  keys = jax.random.split(tiny.KEY, len(indices))
  params = _FLAT.restore(segment.start)
  for key, chosen, weight in zip(keys, indices, weights, strict=True):
    images = batch.images[chosen]
    if augment is not None:
      images = augment(key, images)
    seen = Batch(images, batch.labels[chosen], weight)
    gradient = objectives.network_gradient(
      tiny.LINEAR, Variables(params, {}), seen
    )
    params = jax.tree.map(
      lambda p, g: p - batch.step_size * g, params, gradient
    )
  miss = _FLAT.flatten(params) - segment.end
  gap = segment.start - segment.end
  return jnp.sum(miss**2) / jnp.sum(gap**2)


_INDICES = jnp.array([[0, 1, 2], [3, 4, 0], [2, 0, 4], [1, 3, 2]])
_WEIGHTS = jnp.array([[1.0, 1, 1], [1, 1, 0], [1, 1, 1], [1, 1, 0]])


def test_the_scan_is_the_loop():
  segment, batch = _problem()
  found = jax.jit(
    jax.value_and_grad(
      lambda b: _distance(
        tiny.LINEAR, segment, b, _INDICES, _WEIGHTS, augment=_brighten
      )
    )
  )(batch)
  expected = jax.jit(
    jax.value_and_grad(
      lambda b: _python_distance(segment, b, _INDICES, _WEIGHTS, _brighten)
    )
  )(batch)
  jax.tree.map(
    lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-4, atol=1e-6),
    found,
    expected,
  )
  assert np.abs(expected[1].images).max() > 1e-3


def test_gradients_are_finite_differences_in_double_precision():
  with jax.enable_x64(True):
    segment, batch = _problem(np.float64)
    loss = jax.jit(
      lambda b: _distance(tiny.LINEAR, segment, b, _INDICES, _WEIGHTS)
    )
    gradient = jax.jit(jax.grad(loss))(batch)
    rng = np.random.default_rng(1)
    for field in ('images', 'labels', 'step_size'):
      value = getattr(batch, field)
      way = jnp.asarray(rng.normal(size=value.shape))
      sides = [
        loss(batch._replace(**{field: value + s * way})) for s in (1e-5, -1e-5)
      ]
      slope = jnp.vdot(getattr(gradient, field), way)
      np.testing.assert_allclose(slope, (sides[0] - sides[1]) / 2e-5, rtol=1e-7)
      assert abs(slope) > 1e-3


def test_one_step_needs_no_approximation():
  segment, batch = _problem()
  exact, approximate = (
    jax.jit(
      jax.value_and_grad(
        lambda b, e=exact: _distance(
          tiny.LINEAR, segment, b, _INDICES[:1], augment=_brighten, exact=e
        )
      )
    )(batch)
    for exact in (True, False)
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-7),
    exact,
    approximate,
  )
  assert np.abs(exact[1].images).max() > 1e-3


def test_the_approximation_takes_every_step_alone():
  """TESLA's formula, written out, and the same loss as the exact form."""
  with jax.enable_x64(True):
    segment, batch = _problem(np.float64)
    distance = jax.jit(
      jax.value_and_grad(
        lambda b: _distance(
          tiny.LINEAR, segment, b, _INDICES, _WEIGHTS, exact=False
        )
      )
    )
    value, found = distance(batch)
    gradient = jax.jit(objectives.flat_gradient(tiny.LINEAR, _FLAT.restore, {}))
    rate, vectors, total = batch.step_size, [segment.start], 0.0
    for chosen, weight in zip(_INDICES, _WEIGHTS, strict=True):
      part = Batch(batch.images[chosen], batch.labels[chosen], weight)
      total = total + gradient(vectors[-1], part)
      vectors.append(segment.start - rate * total)

    miss = vectors[-1] - segment.end
    size = jnp.sum((segment.start - segment.end) ** 2)
    np.testing.assert_allclose(value, jnp.sum(miss**2) / size, rtol=1e-12)

    def alone(learned):
      return (
        -2
        * rate
        / size
        * sum(
          jnp.vdot(
            miss,
            gradient(
              vector, Batch(learned.images[at], learned.labels[at], weight)
            ),
          )
          for vector, at, weight in zip(
            vectors[:-1], _INDICES, _WEIGHTS, strict=True
          )
        )
      )

    expected = jax.jit(jax.grad(alone))(batch)
    np.testing.assert_allclose(found.images, expected.images, rtol=1e-9)
    np.testing.assert_allclose(found.labels, expected.labels, rtol=1e-9)
    slope = -2 * jnp.vdot(miss, total) / size
    np.testing.assert_allclose(found.step_size, slope, rtol=1e-10)
    exact = jax.jit(
      jax.grad(lambda b: _distance(tiny.LINEAR, segment, b, _INDICES, _WEIGHTS))
    )(batch)
    assert np.abs(exact.images - found.images).max() > 1e-3


# The objective.


def _set(per_class=2, step_size=0.3):
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, per_class, 3))
  return Batch(tiny.stored(per_class), labels, step_size=jnp.float32(step_size))


def _match(objective, segment, batch, key=tiny.KEY):
  return jax.jit(
    lambda b: matching.match(
      tiny.LINEAR,
      tiny.LINEAR.init(tiny.KEY),
      segment,
      b,
      key,
      objective=objective,
    )
  )(batch)


def test_the_whole_set_in_every_step():
  segment, _ = _problem()
  batch = _set()
  loss, metrics = _match(
    objectives.trajectory_matching(steps=3), segment, batch
  )
  flat = Batch(
    batch.images.reshape(-1, *tiny.SHAPE),
    batch.labels.reshape(-1, 3),
    step_size=batch.step_size,
  )
  all_of_them = jnp.tile(jnp.arange(6), (3, 1))
  expected = jax.jit(
    lambda flat: _python_distance(segment, flat, all_of_them, [None] * 3)
  )(flat)
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  np.testing.assert_allclose(metrics['step_size'], 0.3)


@pytest.mark.parametrize('batch_size', [2, 4, 6, 100])
def test_a_pass_sees_every_image_once(batch_size):
  from dcjax.objectives._flat import batch_orders

  indices, weights = jax.jit(batch_orders, static_argnums=(1, 2, 3))(
    tiny.KEY, 6, batch_size, 7
  )
  size = min(batch_size, 6)
  assert indices.shape == (7, size)
  if weights is None:
    weights = np.ones((7, size))
  batches = -(-6 // size)
  for first in range(0, 7 - batches, batches):
    chosen = indices[first : first + batches][
      np.asarray(weights[first : first + batches]) > 0
    ]
    np.testing.assert_array_equal(np.sort(chosen), np.arange(6))
  if size < 6:
    assert (indices[:batches] != indices[batches : 2 * batches]).any()


def test_labels_of_the_expert_are_constants():
  segment, _ = _problem()
  batch = _set()
  objective = objectives.trajectory_matching(
    steps=2, relabel=lambda key, images: 2 * images
  )
  flat = 2 * batch.images.reshape(6, -1)
  params = _FLAT.restore(segment.end)
  labels = jax.nn.softmax(flat @ params['weight'] + params['bias'])
  relabelled = batch._replace(labels=labels.reshape(3, 2, 3))
  plain = objectives.trajectory_matching(steps=2)
  np.testing.assert_allclose(
    _match(objective, segment, batch)[0],
    _match(plain, segment, relabelled)[0],
    rtol=1e-5,
  )
  gradient = jax.grad(lambda b: _match(objective, segment, b)[0])(batch)
  assert not gradient.labels.any()
  assert gradient.images.any()


def test_bad_objectives():
  for options, message in (
    ({'steps': 0}, 'steps 0: must be at least 1'),
    ({'steps': 1, 'batch_size': 0}, 'batch_size 0: must be at least 1'),
  ):
    with pytest.raises(ValueError, match=message):
      objectives.build({'name': 'trajectory', **options})
  objective = objectives.trajectory_matching(steps=1)
  segment, _ = _problem()
  with pytest.raises(ValueError, match=r'step_size: must be one.*with_step'):
    _match(objective, segment, _set()._replace(step_size=None))
  short = Segment(segment.start[1:], segment.end[1:])
  with pytest.raises(ValueError, match=r'shapes \(50,\).*P = 51'):
    _match(objective, short, _set())


# Experts.


def _experts(network=tiny.LINEAR, experts=2, epochs=3, **options):
  data = tiny.device_data(tiny.COUNTS)

  def train(key):
    return trajectories.train_experts(
      network, data, key, experts=experts, epochs=epochs, **options
    )

  return jax.jit(train)(tiny.KEY)


def test_experts_keep_every_epoch():
  found = _experts(batch_size=4, optimizer=optax.sgd(0.1))
  assert found.vectors.shape == (2, 4, 51)
  assert found.vectors.dtype == jnp.float32
  assert found.losses.shape == (2, 3)
  assert (found.losses[:, -1] < found.losses[:, 0]).all()
  assert (found.vectors[0, 0] != found.vectors[1, 0]).any()
  assert trajectories.expert_bytes(tiny.LINEAR, 2, 3) == found.vectors.nbytes


def test_experts_take_plain_steps_on_whole_epochs():
  """One batch an epoch, so that the order of images is no matter."""
  found = _experts(batch_size=27, optimizer=optax.sgd(0.5))
  data = tiny.device_data(tiny.COUNTS)
  labels = jax.nn.one_hot(data.labels, 3)
  vector = found.vectors[1, 0]
  gradient = objectives.flat_gradient(tiny.LINEAR, _FLAT.restore, {})
  for kept in found.vectors[1, 1:]:
    vector = vector - 0.5 * gradient(vector, Batch(data.images, labels))
    np.testing.assert_allclose(kept, vector, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('strategy', ['scan', 'vmap'])
def test_experts_in_pieces_are_those_of_one_call(strategy):
  whole = _experts(experts=3, batch_size=4, strategy=strategy)
  part = _experts(experts=2, first=1, batch_size=4)
  np.testing.assert_allclose(
    part.vectors, whole.vectors[1:], rtol=1e-5, atol=1e-6
  )


def test_flat_experts_step_by_the_adaptive_gap():
  rho, alpha = 0.5, 0.3
  found = _experts(
    experts=1,
    epochs=2,
    batch_size=27,
    optimizer=optax.sgd(0.5),
    flatness=trajectories.Flatness(rho, alpha),
  )
  data = tiny.device_data(tiny.COUNTS)
  batch = Batch(data.images, jax.nn.one_hot(data.labels, 3))
  of = objectives.flat_gradient(tiny.LINEAR, _FLAT.restore, {})
  vector = np.float64(found.vectors[0, 0])
  for kept in found.vectors[0, 1:]:
    first = np.float64(of(jnp.float32(vector), batch))
    away = vector + rho * vector**2 * first / np.linalg.norm(vector * first)
    second = np.float64(of(jnp.float32(away), batch))
    along = second * (first @ second) / (second @ second)
    vector = vector - 0.5 * (second - alpha * (first - along))
    np.testing.assert_allclose(kept, vector, rtol=1e-3, atol=1e-5)
  plain = _experts(experts=1, epochs=2, batch_size=27, optimizer=optax.sgd(0.5))
  assert np.abs(plain.vectors - found.vectors).max() > 1e-3


def test_batch_norm_experts_train():
  network = networks.convnet(tiny.SHAPE, 3, depth=1, width=2, norm='batch')
  found = _experts(network, experts=1, epochs=2, optimizer=optax.sgd(0.1))
  assert found.losses[0, 1] < found.losses[0, 0]


def test_logits_of_the_experts_that_are_right():
  rng = np.random.default_rng(0)
  vectors = jnp.asarray(rng.normal(size=(4, _FLAT.size)), jnp.float32)
  images = jnp.asarray(rng.normal(size=(8, *tiny.SHAPE)), jnp.float32)
  labels = np.array([0, 1, 2, 0, 1, 2, 0, 1])
  found = trajectories.expert_logits(tiny.LINEAR, vectors, images, labels)
  logits = np.stack(
    [
      np.asarray(images).reshape(8, -1) @ np.asarray(p['weight']) + p['bias']
      for p in map(_FLAT.restore, vectors)
    ]
  )
  right = logits.argmax(-1) == labels
  assert right.any() and not right.all(0).any()
  for image in range(8):
    chosen = right[:, image] if right[:, image].any() else [True] * 4
    np.testing.assert_allclose(
      found[image], logits[chosen, image].mean(0), rtol=1e-5, atol=1e-6
    )


def test_bad_experts():
  for options, message in (
    ({'experts': 0}, 'experts 0: must be at least 1'),
    ({'epochs': 0}, 'epochs 0: must be at least 1'),
    (
      {'flatness': trajectories.Flatness(rho=-1.0)},
      r'flatness.rho -1.0: must be at least 0',
    ),
  ):
    with pytest.raises(ValueError, match=message):
      _experts(**options)
  with pytest.raises(ValueError, match='experts 0: must be at least 1'):
    trajectories.expert_bytes(tiny.LINEAR, 0, 1)


# Segments.


def _numbered(experts=3, epochs=9):
  """Experts whose vectors say `(expert, epoch)`."""
  numbers = jnp.stack(
    jnp.meshgrid(jnp.arange(experts), jnp.arange(epochs + 1), indexing='ij'),
    axis=-1,
  )
  data = tiny.inner_data()
  return data._replace(
    experts=trajectories.Experts(numbers.astype(jnp.float32), None)
  )


def _draws(source, data, count):
  step = jax.jit(lambda key, state: source.next(key, state, data))
  state, found = source.init(tiny.KEY), []
  for number in range(count):
    state, segment = step(jax.random.key(number), state)
    np.testing.assert_array_equal(segment.start[0], segment.end[0])
    found.append((*segment.start, segment.end[1]))
  return np.asarray(found, int)


def test_segments_start_anywhere_in_their_window():
  found = _draws(
    trajectories.segments(first=2, last=6, length=3), _numbered(), 80
  )
  assert set(found[:, 0]) == {0, 1, 2}
  assert set(found[:, 1]) == {2, 3, 4, 5}
  np.testing.assert_array_equal(found[:, 2] - found[:, 1], 3)


def test_the_window_grows():
  source = trajectories.segments(last=8, length=1, grow_from=2, grow_steps=60)
  found = _draws(source, _numbered(), 120)
  bound = 2 + 6 * np.minimum(np.arange(120) / 60, 1)
  assert (found[:, 1] < bound).all()
  assert set(found[:20, 1]) <= {0, 1, 2, 3}
  assert set(found[60:, 1]) == set(range(8))


def test_bad_segments():
  for options, message in (
    ({'last': 0}, 'last 0: must be at least 1'),
    ({'last': 5, 'first': -1}, 'first -1: must be at least 0'),
    ({'last': 5, 'length': 0}, 'length 0: must be at least 1'),
    ({'last': 5, 'grow_from': 6}, r'grow_from 6: must be in 1..5'),
    ({'last': 5, 'grow_steps': 0}, 'grow_steps 0: must be at least 1'),
  ):
    with pytest.raises(ValueError, match=message):
      trajectories.segments(**options)
  source = trajectories.segments(last=9, length=2)
  with pytest.raises(ValueError, match=r'keep 9 epochs: must be at least 10'):
    source.next(tiny.KEY, source.init(tiny.KEY), _numbered())
  with pytest.raises(ValueError, match=r'data.experts None: .*train_experts'):
    source.next(tiny.KEY, source.init(tiny.KEY), tiny.inner_data())


# The recipe.


def _formation(labels=False):
  formation = formations.identity(value_range=(None, None))
  if labels:
    formation = formations.with_labels(formation, 'hard', 'logits')
  return formations.with_step_size(formation, 0.1)


def _run(formation=None, periods=2, **options):
  """States before, between and after periods, and the last metrics."""
  experts = _experts(
    experts=3, epochs=5, batch_size=9, optimizer=optax.sgd(0.2)
  )
  data = tiny.inner_data()._replace(experts=experts)
  formation = formation or _formation()
  made = methods.mtt(
    tiny.LINEAR,
    formation,
    **{
      'std': (0.5,),
      'learning_rate': 2.0,
      'step_size_learning_rate': 1e-3,
      'steps': 4,
      'starts': methods.Starts(last_start=3),
      'inner_steps': 8,
      **options,
    },
  )
  params = formation.init(tiny.KEY, tiny.stored(2))
  states = [jax.jit(made.init)(tiny.KEY, params, data)]
  period = jax.jit(made.period)
  for _ in range(periods):
    state, metrics = period(tiny.KEY, states[-1], data)
    states.append(state)
  return states, metrics, period, data


def test_mtt_learns_images_and_step_size():
  states, metrics, _, _ = _run(periods=4)
  control, untouched, _, _ = _run(
    periods=4, learning_rate=0.0, step_size_learning_rate=0.0
  )
  tiny.assert_trees_equal(control[0].params, control[-1].params)
  assert metrics['loss'].mean() < 0.9 * untouched['loss'].mean()
  assert states[-1].params['step_size'] != states[0].params['step_size']
  assert int(states[-1].step) == 32
  tiny.assert_trees_equal(states[-1].inner.variables, states[0].inner.variables)


def test_mtt_resumes_bit_for_bit():
  states, metrics, period, data = _run(batch_size=4, augment=_brighten)
  saved = jax.tree.map(np.asarray, states[1])
  again = period(tiny.KEY, jax.tree.map(jnp.asarray, saved), data)
  tiny.assert_trees_equal(again, (states[2], metrics))


def test_datm_learns_labels_and_keeps_an_average():
  states, _, _, _ = _run(
    _formation(labels=True),
    label_learning_rate=5.0,
    average_rate=0.9,
    starts=methods.Starts(last_start=3, grow_from=1, grow_steps=8),
    reject_above=10.0,
  )
  first, last = states[0].params, states[-1].params
  assert (first['labels'] != last['labels']).any()
  average = optimizers.averaged_params(states[-1].opt_state)
  for name in ('images', 'labels', 'step_size'):
    mean, ends = average[name], np.stack([first[name], last[name]])
    assert (mean != last[name]).any()
    assert (mean >= ends.min(0) - 1).all() and (mean <= ends.max(0) + 1).all()
  fixed, _, _, _ = _run(_formation(labels=True), periods=1)
  np.testing.assert_array_equal(fixed[1].params['labels'], first['labels'])


def test_rejected_steps_change_nothing_but_the_walk():
  states, metrics, _, _ = _run(periods=1, reject_above=0.0)
  tiny.assert_trees_equal(
    (states[0].params, states[0].opt_state),
    (states[1].params, states[1].opt_state),
  )
  np.testing.assert_array_equal(metrics['rejected'], 1)
  assert int(states[1].source) == int(states[1].step) == 8
  kept, metrics, _, _ = _run(periods=1, reject_above=100.0)
  plain, _, _, _ = _run(periods=1)
  np.testing.assert_array_equal(metrics['rejected'], 0)
  tiny.assert_trees_equal(kept[1].params, plain[1].params)


def test_approximate_mtt_works_on_multi_formation():
  formation = formations.with_step_size(
    formations.uniform(2, value_range=(None, None)), 0.1
  )
  states, metrics, _, _ = _run(
    formation, periods=4, exact=False, relabel=lambda key, images: images
  )
  _, untouched, _, _ = _run(
    formation,
    periods=4,
    learning_rate=0.0,
    step_size_learning_rate=0.0,
    relabel=lambda key, images: images,
  )
  assert metrics['loss'].mean() < untouched['loss'].mean()
  assert np.isfinite(states[-1].params['images']).all()


# What the recipes step with.


def test_by_name_steps_each_number_its_own_way():
  optimizer = optimizers.by_name(images=optax.sgd(1.0), absent=optax.sgd(9.0))
  params = {'images': jnp.ones(3), 'decoder': {'kernel': jnp.ones(2)}}
  state = optimizer.init(params)
  updates, _ = optimizer.update(params, state, params)
  np.testing.assert_array_equal(updates['images'], -1)
  np.testing.assert_array_equal(updates['decoder']['kernel'], 0)
  optimizer = optimizers.by_name(optax.sgd(0.5), images=optax.sgd(1.0))
  updates, _ = optimizer.update(params, optimizer.init(params), params)
  np.testing.assert_array_equal(updates['decoder']['kernel'], -0.5)


def test_clipping_by_the_running_mean():
  clip = optimizers.clip_by_running_mean(2.0, 0.5)
  state = clip.init({'a': jnp.zeros(2)})
  way = jnp.array([0.6, 0.8])
  # (norm before, norm after): means 1, 1, 5.5, then not moved by NaN.
  for norm, after in ((1, 1), (1, 1), (10, 2), (5.5, 5.5), (100, 11)):
    updates, state = clip.update({'a': norm * way}, state)
    np.testing.assert_allclose(updates['a'], after * way, rtol=1e-5)
  _, broken = clip.update({'a': way * jnp.nan}, state)
  tiny.assert_trees_equal(broken, state)
  for options, message in (
    ({'factor': 0.0}, 'factor 0.0: must be above 0'),
    ({'decay': 1.0}, r'decay 1.0: must be in \[0, 1\)'),
  ):
    with pytest.raises(ValueError, match=message):
      optimizers.clip_by_running_mean(**options)


def test_a_frozen_network_never_changes():
  variables = tiny.LINEAR.init(jax.random.key(5))
  given = inner.frozen(tiny.LINEAR, variables)
  state = given.init(tiny.KEY, None)
  tiny.assert_trees_equal(state.variables, variables)
  assert given.reset(tiny.KEY, state, None) is state
  assert given.update(tiny.KEY, state, None, None) == (state, {})
  drawn = inner.frozen(tiny.LINEAR)
  tiny.assert_trees_equal(
    drawn.init(tiny.KEY, None).variables, tiny.LINEAR.init(tiny.KEY)
  )


def test_datm_starts_from_what_an_expert_classifies_right():
  built = runner.built(
    'digits:size=8,smoke', 'datm', ipc=2, network='convnet:width=4:depth=1'
  )
  network, real = built.network, built.real.local
  flat = objectives.flat_network(network)
  keys = jax.random.split(jax.random.key(0), 3)
  vectors = jnp.stack([flat.flatten(network.init(k).params) for k in keys])
  right = expert_stages.are_right(built, vectors[0], {})
  params = _start._classified_right(built, vectors)

  def logits(vector, images):
    seen = built.normalise(keys[0], images)
    variables = Variables(flat.restore(vector), {})
    return np.asarray(network.apply(variables, seen, True)[0].logits)

  labels = np.repeat(np.arange(10), 2)
  images = params['images'].reshape(20, 8, 8, 1)
  found = [logits(vector, images) for vector in vectors]
  known = found[0].argmax(-1) == labels
  # As many as there are in each class, which a new network hardly knows.
  there = [right[np.asarray(real.labels) == c].sum() for c in range(10)]
  np.testing.assert_array_equal(
    known.reshape(10, 2).sum(1), np.minimum(there, 2)
  )
  assert 0 < known.sum() < 20
  expected = trajectories.expert_logits(
    network, vectors, built.normalise(keys[0], images), labels
  )
  np.testing.assert_allclose(
    params['labels'].reshape(20, 10), expected, rtol=1e-5, atol=1e-6
  )
  other = runner.built('digits:size=8,smoke', 'dm', start='experts')
  with pytest.raises(ValueError, match="start 'experts': method 'dm'"):
    _start.stage(other, [])
