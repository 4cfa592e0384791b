"""Condensation into a generative model: every loss, and a run of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dcjax import formations, methods, networks, objectives, specs
from dcjax.base import Batch, Network, Outputs, Variables
from dcjax.objectives import Judged

_SHAPE = (8, 8, 1)
_COUNTS = np.array([9, 9, 9])
_NETWORK = networks.convnet(_SHAPE, 3, width=4, depth=1, norm='none')
_FORMATION = formations.codebook(
  3, _SHAPE, codes_dim=5, projection_dim=4, width=4, embedding_dim=4
)


# The formulas once more, in NumPy and float64.


def _unit(features):
  return features / np.sqrt((features**2).sum(-1, keepdims=True) + 1e-8)


def _intra(features, anchors, temperature=0.1, normalised=True):
  if normalised:
    features, anchors = _unit(features), _unit(anchors)
  losses = []
  for of_class, anchor in zip(features, anchors, strict=True):
    for i, f in enumerate(of_class):
      own = np.exp(f @ anchor / temperature)
      others = [
        np.exp(f @ g / temperature) for j, g in enumerate(of_class) if j != i
      ]
      losses.append(-np.log(own / (sum(others) + own)))
  return np.mean(losses)


def _inter(features, margin=1.0, normalised=True):
  if normalised:
    features = _unit(features)
  means = features.mean(1)
  pairs = [
    max(margin - np.sqrt(((a - b) ** 2).sum() + 1e-8), 0)
    for i, a in enumerate(means)
    for j, b in enumerate(means)
    if i != j
  ]
  return np.mean(pairs)


def _association(fake, real, weights, reduction, compared):
  total = 0.0
  for weight, f, r in zip(weights, fake, real, strict=True):
    for of_class, association in zip(f, r, strict=True):
      centre = association.mean(0)
      if compared == 'class':
        of_class = of_class.mean(0, keepdims=True)
      for one in of_class:
        squares = (one - centre) ** 2
        value = squares.mean() if reduction == 'mean' else squares.sum()
        total += weight * value / (f.shape[0] * len(of_class))
  return total


def _slope(function, at, step=1e-5):
  """Central differences of a function of one float64 array."""
  gradient = np.zeros_like(at)
  for place in np.ndindex(at.shape):
    ends = []
    for side in (step, -step):
      moved = at.copy()
      moved[place] += side
      ends.append(function(moved))
    gradient[place] = (ends[0] - ends[1]) / (2 * step)
  return gradient


def _agree(function, expected, at):
  """Value and gradient in `at`, and no change by permuted images."""
  both = jax.jit(jax.value_and_grad(function))
  value, gradient = both(jnp.float32(at))
  np.testing.assert_allclose(value, expected(at), rtol=1e-5)
  assert abs(value) > 1e-3  # else the comparison means nothing
  slope = _slope(expected, at)
  np.testing.assert_allclose(gradient, slope, rtol=2e-3, atol=1e-4)
  permuted, _ = both(jnp.float32(at[:, ::-1]))
  np.testing.assert_allclose(permuted, value, rtol=1e-5)


def _features(seed=0, shape=(3, 4, 5)):
  return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize('normalised', [True, False])
def test_intra_loss_is_that_of_numpy(normalised):
  options = (0.5, normalised)
  anchors = _features(1, (3, 5))
  _agree(
    lambda f: objectives.intra_loss(f, jnp.float32(anchors), *options),
    lambda f: _intra(f, anchors, *options),
    _features(),
  )


@pytest.mark.parametrize('normalised', [True, False])
def test_inter_loss_is_that_of_numpy(normalised):
  options = (2.0, normalised)
  _agree(
    lambda f: objectives.inter_loss(f, *options),
    lambda f: _inter(f, *options),
    _features(),
  )


def _judged(layers, classes=3):
  per_class = layers[0].shape[1]
  blank = jnp.zeros((classes, per_class, 1, 1, 1))
  flat = tuple(jnp.reshape(x, (-1, *x.shape[2:])) for x in layers)
  return Judged(flat, flat[-1], flat[-1], Batch(blank, blank[:, :, 0, 0]))


@pytest.mark.parametrize(
  ('reduction', 'compared'),
  [('sum', 'image'), ('mean', 'image'), ('sum', 'class')],
)
def test_association_loss_is_that_of_numpy(reduction, compared):
  first, real = (
    _features(2, (3, 4, 2, 2, 2)),
    [
      _features(3, (3, 6, 2, 2, 2)),
      _features(4, (3, 6, 5)),
    ],
  )
  weights = (0.5, 2.0)

  def loss(f, target):
    fake = _judged([jnp.float32(first), f])
    options = (weights, reduction, compared)
    return objectives.association_loss(fake, target, *options)

  target = _judged([jnp.float32(r) for r in real])
  _agree(
    lambda f: loss(f, target),
    lambda f: _association([first, f], real, weights, reduction, compared),
    _features(),
  )
  into_real = jax.grad(lambda t: loss(jnp.float32(_features()), t))
  layers = into_real(target).layers
  assert not any(np.any(layer) for layer in layers)


def test_adversarial_losses_are_those_of_numpy():
  real, fake = _features(5, (6,)), _features(6, (8,))
  d_real, d_fake = (1 / (1 + np.exp(-x)) for x in (real, fake))
  np.testing.assert_allclose(
    objectives.adversarial_loss(jnp.float32(fake)),
    -np.log(d_fake).mean(),
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    objectives.adversarial_loss(jnp.float32(fake), saturating=True),
    np.log(1 - d_fake).mean(),
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    objectives.discriminator_loss(jnp.float32(real), jnp.float32(fake)),
    -np.log(d_real).mean() - np.log(1 - d_fake).mean(),
    rtol=1e-5,
  )
  right = ((real > 0).mean() + (fake < 0).mean()) / 2
  accuracy = objectives.discriminator_accuracy(real, fake)
  np.testing.assert_allclose(accuracy, right)


def test_a_sure_discriminator_leaves_the_gradient_of_the_default_only():
  sure = jnp.full((1,), -200.0)
  slope = jax.grad(objectives.adversarial_loss)(sure)
  np.testing.assert_allclose(slope, -1.0)
  saturated = jax.grad(lambda x: objectives.adversarial_loss(x, True))(sure)
  np.testing.assert_allclose(saturated, 0.0)


def test_intra_loss_keeps_images_apart():
  anchors = np.array([[1.0, 1.0]])
  same = np.array([[[1.0, 0.2], [1.0, 0.2]]])
  apart = np.array([[[1.0, 0.2], [0.2, 1.0]]])
  slope = jax.jit(jax.value_and_grad(objectives.intra_loss, (0, 1)))
  loss = [slope(x, anchors)[0] for x in (same, apart)]
  assert loss[1] < loss[0]
  assert not np.any(slope(apart, anchors)[1][1])
  alone = slope(_features(shape=(1, 1, 2)), anchors)
  assert alone[0] == 0.0 and not np.any(alone[1][0])


def test_inter_loss_ends_at_the_margin_and_has_a_finite_gradient():
  slope = jax.jit(jax.value_and_grad(objectives.inter_loss))
  assert slope(np.eye(3, dtype=np.float32)[:, None], 1.4)[0] == 0.0
  assert objectives.inter_loss(jnp.ones((1, 2, 4))) == 0.0
  value, gradient = slope(np.ones((3, 1, 3), np.float32), 1.4)
  np.testing.assert_allclose(value, 1.4, atol=1e-3)
  assert np.isfinite(gradient).all()


def test_standardised_features_are_those_of_numpy_and_tell_classes_apart():
  real = 10 + np.arange(3)[:, None, None] + _features(0, (3, 6, 5))
  fake = 10 + np.arange(3)[:, None, None] + _features(1, (3, 4, 5))
  flat = real.reshape(-1, 5)
  expected = (fake - flat.mean(0)) / flat.std(0)
  found = objectives.standardised(jnp.float32(fake), jnp.float32(real))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
  assert objectives.inter_loss(jnp.float32(fake)) > 0.5
  assert objectives.inter_loss(found) < 0.2
  ones = jnp.ones_like(found)
  slope = jax.grad(
    lambda like: jnp.sum(objectives.standardised(ones, like) ** 2)
  )(jnp.float32(real))
  assert not slope.any()


def test_weights_of_the_terms_and_every_term_in_the_metrics():
  fake = _judged([jnp.float32(_features(i, (3, 4, 3))) for i in (0, 1)])
  real = _judged([jnp.float32(_features(i, (3, 5, 3))) for i in (2, 3)])
  names = ('adversarial', 'classification', 'feature', 'intra', 'inter')
  weights = dict(zip(names, (2.0, 0.0, 0.5, 3.0, 0.25), strict=True))
  terms = objectives.GenerativeTerms(**weights)
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 4, 3))
  fake = fake._replace(batch=fake.batch._replace(labels=labels))
  given = {
    'scores': jnp.float32(_features(4, (12,))),
    'anchors': jnp.float32(_features(5, (3, 3))),
  }
  loss, metrics = jax.jit(
    lambda given: objectives.generative_loss(terms, fake, real, **given)
  )(given)
  assert set(metrics) == {'loss', *names}
  parts = [weights[name] * metrics[name] for name in names]
  np.testing.assert_allclose(loss, sum(parts), rtol=1e-6)
  logits = np.float64(fake.logits)
  labels = np.repeat(np.arange(3), 4)
  expected = np.log(np.exp(logits).sum(-1)) - logits[np.arange(12), labels]
  np.testing.assert_allclose(
    metrics['classification'], expected.mean(), rtol=1e-5
  )


def test_class_embeddings_are_means_over_all_real_images():
  data = tiny.device_data((7, 9, 4), seed=3)
  variables = tiny.LINEAR.init(tiny.KEY)
  found = jax.jit(
    lambda data: methods.class_embeddings(
      tiny.LINEAR, variables, data, lambda key, x: x - 0.5, batch_size=6
    )
  )(data)
  flat = np.float64(data.images).reshape(20, -1) - 0.5
  logits = flat @ np.float64(variables.params['weight'])
  soft = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  for c in range(3):
    own = np.asarray(data.labels) == c
    np.testing.assert_allclose(
      found.embeddings[c], flat[own].mean(0), atol=1e-5
    )
    np.testing.assert_allclose(
      found.soft_labels[c], soft[own].mean(0), atol=1e-5
    )


def test_class_embeddings_of_parts_are_those_of_the_whole():
  data, size = tiny.device_data((7, 9, 4), seed=3), 4
  variables = tiny.LINEAR.init(tiny.KEY)

  @jax.jit
  def sums(data, weights):
    return methods.class_sums(
      tiny.LINEAR, variables, data, lambda key, x: x, weights=weights
    )

  parts = []
  for number in range(3):  # as windows that go on with images seen before
    places = number * size + np.arange(size)
    at = (
      np.asarray(data.starts)[:, None]
      + places % np.asarray(data.counts)[:, None]
    )
    new = places < np.asarray(data.counts)[:, None]
    labels = jnp.repeat(jnp.arange(3), size)
    part = data._replace(images=data.images[at.ravel()], labels=labels)
    parts.append(sums(part, jnp.float32(new.ravel())))
  total = jax.tree.map(lambda *s: sum(s), *parts)
  np.testing.assert_array_equal(total.counts, data.counts)
  expected = methods.class_embeddings(
    tiny.LINEAR, variables, data, lambda key, x: x
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    methods.class_means(total),
    expected,
  )


# Steps.


def _method(**options):
  options = {
    'steps': 80,
    'inner_steps': 20,
    'reduction': 'mean',
    'batch_real': 4,
    'codes_per_step': 3,
    'classes_per_step': 2,
    'network_batch_size': 8,
    'generator_learning_rate': 0.02,
    **options,
  }
  arguments = specs.arguments(methods.generative, options)
  return methods.generative(_NETWORK, _FORMATION, _COUNTS, **arguments)


def _seen(params):
  """All images as training makes them."""
  return _FORMATION.sample(params, tiny.KEY, 10**9, None)


def _params(ipc=4):
  return _FORMATION.init(tiny.KEY, jnp.zeros([3, ipc, *_SHAPE]))


@pytest.fixture(scope='module')
def run():
  """Start, states after two periods, and metrics of both."""
  method, data = _method(), tiny.inner_data(_COUNTS, _SHAPE)
  state = jax.jit(method.init)(tiny.KEY, _params(), data)
  period = jax.jit(method.period)
  first, metrics = period(tiny.KEY, state, data)
  # As a checkpoint would bring it back.
  restored = jax.tree.map(jnp.asarray, jax.tree.map(np.asarray, first))
  second, more = period(tiny.KEY, restored, data)
  unbroken, _ = period(tiny.KEY, first, data)
  tiny.assert_trees_equal(second, unbroken)
  return state, second, [metrics, more]


def test_a_run_trains_codes_generator_and_discriminator(run):
  start, end, (first, last) = run
  for name in ('codes', 'generator'):
    moved = jax.tree.map(
      lambda a, b: np.any(a != b), start.params[name], end.params[name]
    )
    assert all(jax.tree.leaves(moved))
  name = 'embeddings'
  tiny.assert_trees_equal(start.params[name], end.params[name])
  # What is decoded is what training saw, by statistics of the whole set.
  seen = jax.jit(_seen)(end.params)
  stored = jax.jit(_FORMATION.decode)(end.params)
  np.testing.assert_allclose(stored.images, seen.images, atol=1e-4)
  np.testing.assert_array_equal(stored.labels, seen.labels)
  before, after = (s.memory.weights for s in (start, end))
  assert np.any(before['output']['kernel'] != after['output']['kernel'])
  assert int(end.step) == 40 and int(end.inner.train.step) == 20
  assert last['classification'].mean() < first['classification'].mean()
  assert last['loss'].mean() < first['loss'].mean()
  assert methods.discriminator_problem(last) is None
  assert set(first) == {
    'loss',
    'adversarial',
    'classification',
    'feature',
    'intra',
    'inter',
    'discriminator_loss',
    'discriminator_accuracy',
    'network_loss',
  }


def test_a_step_costs_the_same_for_any_number_of_stored_images():
  method, data = _method(inner_steps=1), tiny.inner_data(_COUNTS, _SHAPE)

  def operations(ipc):
    params = jax.eval_shape(lambda: _params(ipc))
    state = jax.eval_shape(method.init, tiny.KEY, params, data)
    lowered = jax.jit(method.period).lower(tiny.KEY, state, data)
    return lowered.cost_analysis()['flops']

  # Statistics are measured on 256 images at most.
  few, many = operations(90), operations(490)
  # Codes are stepped and permuted, 5 numbers each; no image is.
  assert 0 <= many - few < 100 * 400
  assert few > 100 * 400


def test_online_conditions_and_codes_that_are_drawn():
  soft = jnp.full((3, 3), 1 / 3)
  method = _method(
    condition='online',
    codes='truncated',
    soft_labels=soft,
    inner_steps=1,
    standardised=True,
  )
  data = tiny.inner_data(_COUNTS, _SHAPE)

  @jax.jit
  def first_period(params, data):
    state = method.init(tiny.KEY, params, data)
    return state, *method.period(tiny.KEY, state, data)

  state, after, metrics = first_period(_params(), data)
  np.testing.assert_array_equal(after.params['codes'], state.params['codes'])
  rows = (after.params['embeddings'] != state.params['embeddings']).any(-1)
  assert rows.sum() == 2  # the classes of the step
  of_step = after.params['embeddings'][rows]
  np.testing.assert_allclose(of_step.mean(0), 0, atol=1e-3)
  assert np.median(of_step.std(0)) > 0.9  # told apart, as codes are
  assert metrics['classification'] >= np.log(3) - 1e-4


def test_rates_fall_linearly_to_zero():
  params = {
    name: jnp.zeros(())
    for name in ('codes', 'embeddings', 'generator', 'statistics')
  }
  optimizer = methods.codebook_optimizer(methods.CodebookSteps(momentum=0.0), 4)
  state, steps = optimizer.init(params), []
  for _ in range(5):
    ones = jax.tree.map(jnp.ones_like, params)
    updates, state = optimizer.update(ones, state, params)
    steps.append(updates)
  rates = {n: np.array([-s[n] for s in steps]) for n in params}
  falling = np.array([1, 0.75, 0.5, 0.25, 0])
  np.testing.assert_allclose(rates['codes'], 0.01 * falling, rtol=1e-5)
  np.testing.assert_allclose(rates['generator'], 0.001 * falling, rtol=1e-5)
  assert not rates['embeddings'].any() and not rates['statistics'].any()


def test_gradients_of_codes_and_generator_are_clipped():
  zeros = {n: jnp.zeros(2) for n in ('codes', 'embeddings', 'generator')}
  gradient = {
    **zeros,
    'codes': jnp.array([3.0, 4.0]),
    'generator': zeros['codes'],
  }
  for largest, expected in ((1.0, [0.6, 0.8]), (10.0, [3, 4]), (0.0, [3, 4])):
    optimizer = methods.codebook_optimizer(
      methods.CodebookSteps(1.0, 1.0, 0.0, largest), 4
    )
    updates, _ = optimizer.update(gradient, optimizer.init(zeros), zeros)
    np.testing.assert_allclose(updates['codes'], -np.array(expected), rtol=1e-5)
    assert not np.any(updates['generator'])
  with pytest.raises(ValueError, match='largest_gradient -1: must be at least'):
    methods.codebook_optimizer(methods.CodebookSteps(1.0, 1.0, 0.0, -1), 4)


def test_adam_steps_by_the_rate_whatever_the_size_of_a_gradient():
  params = {n: jnp.ones(2) for n in ('codes', 'generator', 'statistics')}
  for size in (1e-3, 1e3):
    optimizer = methods.codebook_optimizer(
      methods.CodebookSteps(0.1, 0.02, optimizer='adam'), 4
    )
    gradient = jax.tree.map(lambda x, size=size: size * x, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    for name, rate in (('codes', 0.1), ('generator', 0.02), ('statistics', 0)):
      np.testing.assert_allclose(updates[name], [-rate, -rate], rtol=1e-3)
  with pytest.raises(ValueError, match=r"optimizer.*'sgd'"):
    methods.codebook_optimizer(methods.CodebookSteps(optimizer='lion'), 4)


def test_a_codebook_is_fitted_to_images():
  levels = jax.random.uniform(jax.random.key(3), (3, 4, 1, 1, 1))
  images = jnp.broadcast_to(levels, (3, 4, *_SHAPE))
  params = _params()

  def error(params):
    return jnp.mean((_FORMATION.decode(params).images - images) ** 2)

  options = {'steps': 60, 'codes_per_step': 2}
  fitted = methods.fit_codebook(_FORMATION, params, images, tiny.KEY, **options)
  assert error(fitted) < 0.7 * error(params)
  np.testing.assert_array_equal(fitted['embeddings'], params['embeddings'])
  seen = _seen(fitted).images
  np.testing.assert_allclose(_FORMATION.decode(fitted).images, seen, atol=1e-4)
  with pytest.raises(
    ValueError, match=r'must be \[C, N, H, W, D\] with C, N = '
  ):
    methods.fit_codebook(_FORMATION, params, images[:, :3], tiny.KEY)


@pytest.mark.parametrize(
  ('loss', 'accuracy', 'message'),
  [
    ((1.0, np.nan), (0.5, 0.5), 'not finite'),
    ((30.0, 40.0), (0.5, 0.5), r'stayed above 20 \(mean 35\)'),
    ((0.1, 0.1), (1.0, 1.0), 'stuck at 100%'),
    ((9.0, 9.0), (0.0, 0.0), 'stuck at 0%'),
  ],
)
def test_a_useless_discriminator_is_reported(loss, accuracy, message):
  metrics = {'discriminator_loss': loss, 'discriminator_accuracy': accuracy}
  with pytest.raises(AssertionError, match=message):
    raise AssertionError(methods.discriminator_problem(metrics))


def test_a_discriminator_that_recovers_is_not():
  metrics = {
    'discriminator_loss': (30.0, 1.0),
    'discriminator_accuracy': (1.0, 0.9),
  }
  assert methods.discriminator_problem(metrics) is None
  assert methods.discriminator_problem({'loss': 1.0}) is None


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'condition': 'none'}, "condition 'none': must be one of .*online"),
    ({'condition': 'one_hot'}, 'embedding_dim 4: must be 3 .*one_hot'),
    ({'codes': 'fixed'}, "codes 'fixed': must be one of .*learned"),
    ({'batch_real': 0}, 'batch_real 0: must be at least 1'),
    ({'classes_per_step': -1}, 'classes_per_step -1: must be at least 0'),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=message):
    _method(**options)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'feature': -1.0}, 'feature -1.0: must be at least 0'),
    ({'layer_weights': ()}, 'layer_weights .*at least one'),
    ({'reduction': 'max'}, "reduction 'max': must be one of"),
    ({'compared': 'set'}, "compared 'set': must be one of"),
    ({'temperature': 0.0}, 'temperature 0.0: must be positive'),
  ],
)
def test_bad_terms(options, message):
  with pytest.raises(ValueError, match=message):
    _method(**options)


def test_needs_a_codebook_and_features():
  with pytest.raises(ValueError, match="'identity': the generative method"):
    methods.generative(_NETWORK, formations.identity(), _COUNTS, steps=1)
  bare = Network(
    lambda key: Variables({}, {}),
    lambda variables, images, train: (Outputs(images[:, 0, 0]), {}),
  )
  with pytest.raises(ValueError, match='neither blocks nor an embedding'):
    methods.generative(bare, _FORMATION, _COUNTS, steps=1)
  with pytest.raises(ValueError, match='widths 0: must be at least 1'):
    networks.feature_discriminator(4, 4, (0,))
