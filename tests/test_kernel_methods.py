"""KIP and FRePo: recipes, pool, centred labels and their evaluation."""

import functools
import pathlib
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import runner
import tiny

import dcjax
from dcjax import (
  augment,
  evaluation,
  formations,
  inner,
  kernels,
  losses,
  methods,
  optimizers,
)
from dcjax.base import Batch
from dcjax.runs import _given

_CENTRED = formations.with_labels(
  formations.identity(value_range=(None, None)), 'hard', 'centred'
)
_COUNTS = np.array(tiny.COUNTS)


def _two_periods(method, formation, images, data, key=tiny.KEY):
  params = formation.init(tiny.KEY, images)
  state = method.init(tiny.KEY, params, data)
  period = jax.jit(method.period)
  first, before = period(key, state, data)
  second, after = period(key, first, data)
  assert jax.tree.structure(second) == jax.tree.structure(state)
  return (state, first, second), (before, after)


# The recipes.


@pytest.mark.parametrize('x64', [True, False])
def test_kip_learns_images_and_labels_in_both_floating_types(x64):
  data = tiny.inner_data()
  with jax.enable_x64(x64):
    images = jnp.asarray(tiny.stored(2), jnp.float64 if x64 else jnp.float32)
    method = methods.kip(
      kernels.fully_connected(),
      _CENTRED,
      _COUNTS,
      (0.5,),
      match_augment=augment.normalise((0.5,), (0.5,)),
      inner_steps=20,
      batch_real=9,
    )
    states, metrics = _two_periods(method, _CENTRED, images, data)
    last = states[-1]
    assert last.params['images'].dtype == images.dtype
    assert last.params['labels'].dtype == images.dtype
    assert metrics[1]['loss'][-1] < 0.2 * metrics[0]['loss'][0]
    assert metrics[1]['accuracy'][-1] > metrics[0]['accuracy'][0]
    assert float(metrics[1]['accuracy'][-1]) == 1
    # Adam's first step is its rate: on labels as it is, on pixels times std.
    for name, unit in (('images', 0.5), ('labels', 1.0)):
      moved = last.params[name] - states[0].params[name]
      assert 0 < np.abs(moved).max() <= 40 * 0.04 * unit * 1.5
    assert not jax.tree.leaves(last.inner.variables)
  assert not jax.config.jax_enable_x64


def test_kip_keeps_fixed_labels_and_augments_real_images_alone():
  data = tiny.inner_data()
  formation = formations.identity(value_range=(None, None))
  images = tiny.stored(2)

  def black(key, real):
    del key
    assert real.shape == (27, *tiny.SHAPE)
    return jnp.zeros_like(real)

  method = methods.kip(
    kernels.fully_connected(),
    formation,
    _COUNTS,
    (1.0,),
    target_augment=black,
    inner_steps=1,
    batch_real=9,
  )
  states, metrics = _two_periods(method, formation, images, data)
  assert set(states[-1].params) == {'images'}
  # Black images are all alike: the best answer to them is zero.
  support = Batch(
    images.reshape(6, *tiny.SHAPE), jnp.repeat(jnp.eye(3), 2, axis=0)
  )
  predicted = kernels.predict(
    kernels.fully_connected(), support, jnp.zeros((1, *tiny.SHAPE))
  )
  error = np.eye(3) - 1 / 3 - np.asarray(predicted)
  np.testing.assert_allclose(
    metrics[0]['loss'][0], np.mean(error**2) / 2, rtol=1e-3
  )


def test_a_word_augments_the_real_images_of_kip_alone():
  images = np.broadcast_to(np.arange(8.0) / 8, (40, 8, 8))[..., None]

  def seen(word):
    built = runner.built('digits:size=8,smoke', 'kip', augment__real=word)
    treat = _given.SUPPLIED['target_augment'](_given.Given(built))
    return treat if word == 'none' else treat(tiny.KEY, jnp.asarray(images))

  flipped = np.all(seen('flip') == images[:, :, ::-1], axis=(1, 2, 3))
  kept = np.all(seen('flip') == images, axis=(1, 2, 3))
  assert np.all(flipped ^ kept) and 8 < flipped.sum() < 32
  assert seen('none') is _given.ABSENT
  with pytest.raises(ValueError, match=r"^augment\.real 'turn': .*'turn'"):
    seen('turn')
  # Mirrored digits, in colour too, do not show their class.
  words = [
    runner.resolved(data, 'kip').config.augment.real
    for data in ('mnist', 'svhn', 'cifar10', 'fashion_mnist')
  ]
  assert words == ['none', 'none', 'flip', 'flip']


def test_frepo_runs_two_periods_on_its_pool():
  data = tiny.inner_data()
  method = methods.frepo(
    tiny.LINEAR,
    _CENTRED,
    _COUNTS,
    (0.5,),
    (0.5,),
    steps=80,
    learning_rate=0.05,
    regularisation=1e-3,
    match_augment=augment.normalise((0.5,), (0.5,)),
    inner_steps=40,
    batch_real=9,
    networks=methods.Pool(
      pool_size=3,
      network_age=5,
      train_augment=augment.normalise((0.5,), (0.5,)),
    ),
  )
  states, metrics = _two_periods(method, _CENTRED, tiny.stored(2), data)
  assert metrics[1]['loss'][-1] < 0.7 * metrics[0]['loss'][0]
  assert {'loss', 'margin', 'accuracy', 'network_loss'} < set(metrics[0])
  renewed = np.concatenate([m['network_renewed'] for m in metrics])
  # Each use ages one network by one, or renews it after five.
  assert 8 <= renewed.sum() <= 80 / 5
  assert states[-1].inner.source.ages.shape == (3,)


def test_mirrored_labels_and_images_go_into_the_pool():
  """Half of the steps of a network that sees mirrored images are theirs."""
  images = jnp.arange(16.0).reshape(1, 1, *tiny.SHAPE) / 16
  synthetic = Batch(images, jnp.eye(3)[None, :1] - 1 / 3)
  data = tiny.inner_data()
  after = {}
  for mirror in (False, True):
    loop = inner.pool(
      tiny.LINEAR,
      optax.sgd(0.1),
      size=1,
      label_form='centred',
      mirror=mirror,
    )
    state = loop.init(tiny.KEY, data)
    after[mirror], _ = loop.update(tiny.KEY, state, data, synthetic)
  start = state.variables.params['weight']
  plain, both = (
    after[m].variables.params['weight'] - start for m in (False, True)
  )

  def gradient(pictures):
    logits = pictures.reshape(1, 16) @ start
    error = logits - synthetic.labels[0]
    return pictures.reshape(1, 16).T @ error

  one, other = gradient(images), gradient(jnp.flip(images, -2))
  np.testing.assert_allclose(plain, -0.1 * one, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(both, -0.05 * (one + other), rtol=1e-4, atol=1e-6)


# The pool.


def _pool(**options):
  options = {'size': 4, 'age': 3, 'most': 5, **options}
  return inner.pool(tiny.LINEAR, optax.adam(0.01), **options)


def _synthetic(per_class=4):
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, per_class, 3))
  return Batch(tiny.stored(per_class), labels)


def _current(source):
  return jax.tree.map(lambda leaf: leaf[source.current], source.members)


def _follow(loop, state, steps, start=0):
  update = jax.jit(loop.update, static_argnums=2)
  found = []
  for step in range(start, start + steps):
    key = jax.random.fold_in(tiny.KEY, step)
    state, metrics = update(key, state, None, _synthetic())
    found.append((state, metrics))
  return found


def test_a_pool_ages_renews_and_changes_one_network_at_a_time():
  loop = _pool()
  state = loop.init(tiny.KEY, tiny.inner_data())
  np.testing.assert_array_equal(state.source.ages, [0, 0, 1, 2])
  assert len(np.unique(state.source.members.variables.params['weight'])) > 99
  chosen, renewals = set(), 0
  for after, metrics in _follow(loop, state, 30):
    used = int(state.source.current)
    others = np.arange(4) != used
    weights = [
      s.source.members.variables.params['weight'] for s in (state, after)
    ]
    np.testing.assert_array_equal(weights[0][others], weights[1][others])
    assert np.any(weights[0][used] != weights[1][used])
    ages = state.source.ages, after.source.ages
    np.testing.assert_array_equal(ages[0][others], ages[1][others])
    old = bool(ages[0][used] >= 3)
    assert old == bool(metrics['renewed'])
    assert int(ages[1][used]) == (0 if old else ages[0][used] + 1)
    steps = after.source.members.step[used]
    assert int(steps) == (0 if old else state.train.step + 1)
    assert old == (float(metrics['loss']) == 0)
    chosen.add(int(after.source.current))
    tiny.assert_trees_equal(after.train, _current(after.source))
    renewals += old
    state = after
  assert chosen == {0, 1, 2, 3}
  assert 5 <= renewals <= 9


def test_a_pool_resumes_exactly():
  loop = _pool()
  start = loop.init(tiny.KEY, tiny.inner_data())
  whole = _follow(loop, start, 12)[-1][0]
  half = _follow(loop, start, 6)[-1][0]
  # As a checkpoint does: through host memory.
  half = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), half)
  tiny.assert_trees_equal(_follow(loop, half, 6, start=6)[-1][0], whole)
  assert loop.reset(tiny.KEY, half, None) is half


def test_frepo_resumes_exactly():
  data = tiny.inner_data()
  method = methods.frepo(
    tiny.LINEAR,
    _CENTRED,
    _COUNTS,
    (0.0,),
    (1.0,),
    steps=20,
    inner_steps=5,
    batch_real=4,
    networks=methods.Pool(pool_size=2, network_age=3),
  )
  states, _ = _two_periods(method, _CENTRED, tiny.stored(2), data)
  copy = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), states[1])
  again, _ = jax.jit(method.period)(tiny.KEY, copy, data)
  tiny.assert_trees_equal(again, states[2])


@pytest.mark.parametrize('option', ['size', 'age', 'most'])
def test_bad_pools(option):
  with pytest.raises(ValueError, match=f'{option} 0: must be at least 1'):
    _pool(**{option: 0})


# Optimisers.


def test_labels_and_what_lamb_sees_in_normalised_units():
  seen = {}

  def update(gradient, state, params=None):
    seen.update(gradient=gradient, params=params)
    return gradient, state

  spy = optax.GradientTransformation(lambda params: (), update)
  inside = optimizers.in_normalised_units(
    spy, (0.5, 0.25), ('images',), (0.1, 0.2)
  )
  params = {'images': jnp.ones((1, 1, 2, 2, 2)), 'labels': jnp.ones((1, 1, 3))}
  updates, _ = inside.update(params, (), params)
  np.testing.assert_allclose(
    seen['gradient']['images'][0, 0, 0, 0], [0.5, 0.25]
  )
  np.testing.assert_allclose(
    seen['params']['images'][0, 0, 0, 0], [0.9 / 0.5, 0.8 / 0.25], rtol=1e-6
  )
  np.testing.assert_allclose(
    updates['images'][0, 0, 0, 0], [0.25, 0.0625], rtol=1e-6
  )
  for tree in (seen['gradient'], seen['params'], updates):
    np.testing.assert_array_equal(tree['labels'], 1)


def test_debiased_average_weighs_later_parameters_alone():
  optimizer = optimizers.with_average(optax.sgd(1.0), 0.9, debias=True)
  params = jnp.array(5.0)
  state, history = optimizer.init(params), []
  for gradient in (1.0, -2.0, 0.5):
    updates, state = optimizer.update(jnp.array(gradient), state, params)
    params = optax.apply_updates(params, updates)
    history.append(float(params))
  weights = 0.9 ** np.arange(2, -1, -1)
  np.testing.assert_allclose(
    optimizers.averaged_params(state),
    np.average(history, weights=weights),
    rtol=1e-6,
  )


# Centred labels.


def test_centred_labels_start_around_zero_and_are_free():
  formation = formations.with_labels(
    formations.uniform(2), 'hard', 'centred', scale=0.5
  )
  params = formation.init(tiny.KEY, tiny.stored(1))
  hard = np.broadcast_to(np.eye(3)[:, None], (3, 4, 3))
  np.testing.assert_allclose(params['labels'], 0.5 * (hard - 1 / 3), rtol=1e-6)
  params['labels'] = 3 * params['labels'] - 1
  projected = formation.project(params)
  np.testing.assert_array_equal(projected['labels'], params['labels'])
  np.testing.assert_array_equal(
    formation.decode(params).labels, params['labels']
  )
  assert formation.spec == {**formations.uniform(2).spec, 'labels': 'centred'}
  assert formations.label_form(formation) == 'centred'
  assert formations.label_form(formations.uniform(2)) == 'probabilities'
  built = formations.build(formation.spec)
  assert built.spec == formation.spec
  images = {'images': params['images']}
  np.testing.assert_array_equal(
    built.decode(images).images, formations.uniform(2).decode(images).images
  )
  blank = formations.with_labels(formations.identity(), form='centred')
  assert not np.any(blank.init(tiny.KEY, tiny.stored(1))['labels'])


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (
      lambda: formations.with_labels(formations.identity(), form='x'),
      "form 'x': must be one of .*'centred'",
    ),
    (
      lambda: formations.with_labels(formations.identity(), scale=2.0),
      'scale 2.0: only centred labels have one',
    ),
    (
      lambda: formations.build({'name': 'identity', 'labels': 'x'}),
      "labels 'x': must be one of .*'centred'",
    ),
    (
      lambda: _artefact(spec={'name': 'identity', 'labels': 'x'}),
      "spec has labels 'x', allowed are probabilities, nonnegative, centred",
    ),
    (lambda: _artefact(labels=None), 'labels are None, but spec says'),
    (
      lambda: _artefact().numpy(label_form='x'),
      "label_form must be None, 'probabilities' or 'centred', got 'x'",
    ),
    (lambda: kernels.centred(jnp.eye(3), 'x'), "label_form 'x': must be one"),
  ],
)
def test_bad_labels(make, message):
  with pytest.raises(ValueError, match=message):
    make()


_LABELS = np.float32([[[0.7, -0.4, -0.3]], [[0.1, 1.2, -0.9]], [[-1, -1, -1]]])


def _artefact(**changes):
  fields = {
    'params': {'images': np.asarray(tiny.stored(1))},
    'spec': dict(_CENTRED.spec),
    'mean': (0.5,),
    'std': (1.0,),
    'class_names': ('a', 'b', 'c'),
    'labels': _LABELS,
    'label_regime': 'one soft label per image',
  }
  return dcjax.Artefact(**fields | changes)


def test_an_artefact_says_and_keeps_that_labels_are_centred(tmp_path):
  dcjax.save(tmp_path / 'set.npz', _artefact())
  loaded = dcjax.load(tmp_path / 'set.npz')
  assert loaded.spec['labels'] == 'centred'
  np.testing.assert_array_equal(loaded.labels, _LABELS)
  with np.load(tmp_path / 'set.npz') as file:
    text = file['meta'].tobytes().decode()
  assert 'Labels are centred' in text
  plain = dcjax.artefact.export_plain(loaded)
  assert plain.spec['labels'] == 'centred'
  np.testing.assert_array_equal(plain.labels, _LABELS)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    np.testing.assert_array_equal(loaded.batch().labels, _LABELS)


def test_users_of_cross_entropy_are_warned():
  artefact = _artefact()
  flat = _LABELS.reshape(3, 3)
  for view in (artefact.numpy, artefact.jax):
    with pytest.warns(UserWarning, match="label_form='probabilities'") as found:
      np.testing.assert_array_equal(view()[1], flat)
    assert found[0].filename == __file__
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      np.testing.assert_array_equal(view(label_form='centred')[1], flat)
      shares = view(label_form='probabilities')[1]
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-6)
    assert shares.min() >= 0
    shifted = np.clip(flat[:2] + 1 / 3, 0, 1)
    np.testing.assert_allclose(
      shares[:2], shifted / shifted.sum(-1, keepdims=True), rtol=1e-6
    )
    np.testing.assert_allclose(shares[2], 1 / 3, rtol=1e-6)


def test_torch_users_are_warned():
  pytest.importorskip('torch')
  with pytest.warns(UserWarning, match='labels are centred') as found:
    dataset = _artefact().torch()
  assert found[0].filename == __file__
  np.testing.assert_array_equal(dataset.targets.numpy(), _LABELS[:, 0])
  dataset = _artefact().torch(label_form='probabilities')
  np.testing.assert_allclose(dataset.targets.sum(-1), 1, rtol=1e-6)


def test_hard_labels_can_be_asked_for_in_both_forms():
  artefact = _artefact(
    spec={'name': 'identity'}, labels=None, label_regime='hard'
  )
  np.testing.assert_array_equal(artefact.numpy()[1], [0, 1, 2])
  np.testing.assert_array_equal(
    artefact.numpy(label_form='probabilities')[1], [0, 1, 2]
  )
  for view in (artefact.numpy, artefact.jax):
    np.testing.assert_allclose(
      view(label_form='centred')[1], np.eye(3) - 1 / 3, rtol=1e-6
    )


def test_a_regression_answers_alike_after_loading(tmp_path):
  dcjax.save(tmp_path / 'set.npz', _artefact())
  asked, options = tiny.stored(4)[0], {'label_form': 'centred'}
  predict = jax.jit(
    functools.partial(kernels.predict, kernels.fully_connected(), **options)
  )
  before, after = (
    predict(one.jax(**options), asked)
    for one in (_artefact(), dcjax.load(tmp_path / 'set.npz'))
  )
  np.testing.assert_array_equal(before, after)


def test_the_page_on_kernels_runs():
  page = pathlib.Path(__file__).parent.parent / 'docs' / 'kernels.md'
  (code,) = re.findall(r'```python\n(.*?)```', page.read_text(), re.DOTALL)
  names = {}
  exec(compile(code, str(page), 'exec'), names)
  assert float(names['accuracy']) > 0.8


# The evaluation.


def test_squared_error_is_half_the_sum_over_classes():
  logits = jnp.array([[1.0, 2.0], [0.0, 0.0]])
  batch = Batch(None, jnp.array([[0.5, -0.5], [0.5, -0.5]]))
  value = losses.squared_error(logits, batch)
  np.testing.assert_allclose(value, (0.5**2 + 2.5**2 + 0.5) / 4)
  weighted = batch._replace(weights=jnp.array([0.0, 1.0]))
  value = losses.squared_error(logits, weighted)
  np.testing.assert_allclose(value, 0.25)


def test_frepo_protocol_trains_on_centred_labels():
  images, labels = tiny.images_and_labels(tiny.COUNTS)
  protocol = evaluation.frepo_protocol(300)._replace(learning_rate=0.02)
  evaluator = evaluation.evaluator(
    tiny.LINEAR,
    evaluation.feed(protocol),
    protocol=protocol,
    normalise=augment.identity,
  )
  data = evaluation.training_set(images, labels, 3, centred=True)
  np.testing.assert_allclose(data.labels.sum(-1), 0, atol=1e-6)
  assert protocol.loss == 'squared'
  result = evaluation.evaluate(evaluator, data, (images, labels), tiny.KEY)
  assert result.last[0] > 0.9
  # Least squares is what it comes to: logits are centred, as cross-entropy's
  # would not be.
  assert float(result.loss[0]) < 0.15
  published = evaluation.PROTOCOLS['frepo']()
  assert (published.learning_rate, published.average_rate) == (3e-4, 0.995)
  assert (published.epochs, published.weight_decay) == (1000, 0)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'loss': 'x'}, "loss 'x': must be one of .*'squared'"),
    ({'weight_decay': 0.1}, 'weight_decay 0.1: must be 0 with adam'),
  ],
)
def test_bad_protocols(changes, message):
  protocol = evaluation.frepo_protocol()._replace(**changes)
  with pytest.raises(ValueError, match=message):
    evaluation.evaluator(
      tiny.LINEAR,
      evaluation.feed(protocol),
      protocol=protocol,
      normalise=augment.identity,
    )
