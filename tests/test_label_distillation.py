"""Label distillation: stored labels, both objectives, recipe and config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runner
import scipy.optimize
import tiny
import traced

from dcjax import formations, matching, methods, objectives
from dcjax.base import Batch

_RNG = np.random.default_rng(0)
_PARAMS = {
  'weight': _RNG.normal(size=(16, 3)) / 4,
  'bias': _RNG.normal(size=3) / 4,
}
_VARIABLES = tiny.LINEAR.init(tiny.KEY)._replace(
  params=jax.tree.map(jnp.asarray, _PARAMS)
)


def _images(per_class, seed):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(3, per_class, *tiny.SHAPE)).astype(np.float32)


def _hard(per_class):
  one_hot = np.eye(3, dtype=np.float32)[:, None]
  return np.broadcast_to(one_hot, (3, per_class, 3))


def _soft(per_class, seed=3):
  labels = np.random.default_rng(seed).dirichlet(np.ones(3), (3, per_class))
  labels[0, 0] = (0.0, 0.3, 0.7)  # a clipped entry must be able to come back
  return labels.astype(np.float32)


# The formation.


@pytest.mark.parametrize('start', formations.LABEL_STARTS)
def test_labels_are_stored_beside_any_formation(start):
  inner = formations.uniform(2)
  formation = formations.with_labels(inner, start)
  images = jnp.asarray(np.abs(_images(2, 0)))
  params = formation.init(tiny.KEY, images)
  assert params['labels'].shape == (3, 8, 3)
  expected = 1 / 3 if start == 'uniform' else _hard(8)
  np.testing.assert_allclose(
    params['labels'], np.broadcast_to(expected, (3, 8, 3)), rtol=1e-6
  )
  params['labels'] = jnp.asarray(_soft(8))
  decoded = formation.decode(params)
  np.testing.assert_array_equal(decoded.labels, _soft(8))
  np.testing.assert_array_equal(
    decoded.images, inner.decode({'images': images}).images
  )
  assert formation.spec == inner.spec
  assert formations.decoded_count(formation, 2) == 8
  assert formation.tiles == 4


def test_projection_gives_probabilities():
  formation = formations.with_labels(formations.identity())
  labels = jnp.array([[[1.5, 0.5, -1.0]], [[-1.0, -2.0, 0.0]], [[0.2, 0.2, 0]]])
  projected = formation.project(
    {'images': 3 * jnp.ones((3, 1, *tiny.SHAPE)), 'labels': labels}
  )
  expected = [[[2 / 3, 1 / 3, 0]], [[1 / 3, 1 / 3, 1 / 3]], [[0.5, 0.5, 0]]]
  np.testing.assert_allclose(projected['labels'], expected, rtol=1e-6)
  assert float(projected['images'].max()) == 1


def test_bad_labels():
  with pytest.raises(
    ValueError, match=r"start 'soft': must be one of .*'hard'"
  ):
    formations.with_labels(formations.identity(), 'soft')
  formation = formations.with_labels(formations.identity())
  params = formation.init(tiny.KEY, tiny.stored(2))
  params['labels'] = params['labels'][:, :1]
  with pytest.raises(
    ValueError, match=r'labels have shape \(3, 1, 3\).*\(3, 2'
  ):
    formation.decode(params)


# The objectives, against NumPy in double precision.


def _flat(images):
  return np.float64(images).reshape(-1, 16)


def _softmax(logits):
  powers = np.exp(logits - logits.max(-1, keepdims=True))
  return powers / powers.sum(-1, keepdims=True)


def _cross_entropy(logits, labels):
  return -np.mean(np.sum(labels * np.log(_softmax(logits)), axis=-1))


def _after_one_step(real, fake, labels, rate):
  """Gradient descent written out, then the loss on real images."""
  weight, bias = (np.float64(_PARAMS[n]) for n in ('weight', 'bias'))
  logits = _flat(fake) @ weight + bias
  labels = labels.reshape(-1, 3)
  # Labels need not sum to one: their derivatives look at each entry alone.
  wrong = labels.sum(-1, keepdims=True) * _softmax(logits) - labels
  weight = weight - rate * _flat(fake).T @ wrong / len(wrong)
  bias = bias - rate * wrong.mean(0)
  return _cross_entropy(
    _flat(real) @ weight + bias, _hard(real.shape[1]).reshape(-1, 3)
  )


def _after_ridge(real, fake, labels, regularisation, scale):
  def with_ones(images):
    return np.concatenate(
      [_flat(images), np.ones((images[..., 0, 0, 0].size, 1))], 1
    )

  features = with_ones(fake)
  weight = np.linalg.solve(
    features.T @ features + regularisation * np.eye(17),
    features.T @ labels.reshape(-1, 3),
  )
  return _cross_entropy(
    scale * with_ones(real) @ weight, _hard(real.shape[1]).reshape(-1, 3)
  )


def _loss(objective, real, fake, labels, weights=None):
  real = Batch(jnp.asarray(real), jnp.asarray(_hard(real.shape[1])))
  fake = Batch(jnp.asarray(fake), jnp.asarray(labels), weights)
  return jax.jit(
    lambda *args: matching.match(tiny.LINEAR, *args, objective=objective)
  )(_VARIABLES, real, fake, tiny.KEY)


_CASES = {
  'second_order': (
    objectives.unrolled_step(0.5),
    lambda *data: _after_one_step(*data, 0.5),
  ),
  'ridge': (
    objectives.ridge(0.3, scale=4.0),
    lambda *data: _after_ridge(*data, 0.3, 4.0),
  ),
}


@pytest.mark.parametrize('form', _CASES)
def test_loss_and_label_gradient_are_those_of_numpy(form):
  objective, plain = _CASES[form]
  real, fake, labels = _images(4, 0), _images(2, 1), _soft(2)
  (loss, _), gradient = jax.value_and_grad(
    lambda y: _loss(objective, real, fake, y), has_aux=True
  )(jnp.asarray(labels))
  np.testing.assert_allclose(loss, plain(real, fake, labels), rtol=1e-5)
  labels = np.float64(labels)
  for place in np.ndindex(labels.shape):
    step = np.zeros_like(labels)
    step[place] = 1e-5
    sides = [plain(real, fake, labels + s * step) for s in (1, -1)]
    np.testing.assert_allclose(
      gradient[place], (sides[0] - sides[1]) / 2e-5, rtol=1e-3, atol=1e-5
    )
  assert np.abs(gradient[0, 0, 0]) > 1e-3  # where the label is zero


@pytest.mark.parametrize('form', _CASES)
def test_weights_leave_padding_out(form):
  objective, _ = _CASES[form]
  real, fake, labels = _images(4, 0), _images(3, 1), _soft(3)
  padding = jnp.array([[1.0, 1, 0]] * 3)
  padded = _loss(objective, real, fake, labels, padding)[0]
  short = _loss(objective, real, fake[:, :2], labels[:, :2])[0]
  np.testing.assert_allclose(padded, short, rtol=1e-5)


def test_ridge_calibrates_on_the_synthetic_set():
  real, fake, labels = _images(4, 0), _images(2, 1), _soft(2)
  _, metrics = _loss(objectives.ridge(), real, fake, labels)
  features = np.concatenate([_flat(fake), np.ones((6, 1))], axis=1)
  batch = Batch(None, jnp.asarray(labels.reshape(-1, 3)))
  logits = features @ np.float64(
    objectives.ridge_classifier(jnp.asarray(features), batch, 1.0)
  )
  best = scipy.optimize.minimize_scalar(
    lambda s: _cross_entropy(s * logits, labels.reshape(-1, 3)),
    bounds=(0.1, 100),
    method='bounded',
  )
  np.testing.assert_allclose(metrics['scale'], best.x, rtol=1e-3)


def test_calibration_is_a_bounded_constant():
  logits = 1e-3 * jnp.asarray(_images(2, 0).reshape(-1, 16)[:, :3])
  batch = Batch(None, jax.nn.one_hot(logits.argmax(-1), 3))
  largest = objectives.calibrating_scale(logits, batch)
  np.testing.assert_allclose(largest, 100, rtol=1e-4)
  worst = batch._replace(labels=jax.nn.one_hot(logits.argmin(-1), 3))
  smallest = objectives.calibrating_scale(logits, worst)
  np.testing.assert_allclose(smallest, 0.1, rtol=1e-4)
  gradient = jax.jit(jax.grad(objectives.calibrating_scale))(logits, batch)
  assert not np.any(gradient)


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    (
      {'name': 'unrolled_step', 'learning_rate': 0.0},
      'learning_rate 0.0: must',
    ),
    ({'name': 'ridge', 'regularisation': -1.0}, 'regularisation -1.0: must be'),
    ({'name': 'ridge', 'scale': float('inf')}, 'scale inf: must be .*finite'),
  ],
)
def test_bad_options(spec, message):
  with pytest.raises(ValueError, match=message):
    objectives.build(spec)


# The recipe.


def _recipe(form='second_order', formation=None, **options):
  return methods.label_distillation(
    tiny.LINEAR,
    formation or formations.with_labels(formations.identity()),
    np.array(tiny.COUNTS),
    form=form,
    learning_rate=0.02,
    batch_real=9,
    **options,
  )


@pytest.mark.parametrize('form', ['second_order', 'ridge'])
def test_a_period_labels_real_images_and_leaves_them_alone(form):
  data = tiny.inner_data()
  formation = formations.with_labels(formations.identity())
  places = data.real.starts[:, None] + jnp.arange(4)
  images = data.real.images[places]
  params = formation.init(tiny.KEY, images)
  method = _recipe(form, unrolled_learning_rate=0.5, inner_steps=60)
  state = jax.jit(method.init)(tiny.KEY, params, data)
  after, metrics = jax.jit(method.period)(tiny.KEY, state, data)
  np.testing.assert_array_equal(after.params['images'], images)
  labels = np.asarray(after.params['labels'])
  np.testing.assert_allclose(labels.sum(-1), 1, rtol=1e-5)
  assert labels.min() >= 0
  answers = np.broadcast_to(np.arange(3)[:, None], (3, 4))
  np.testing.assert_array_equal(labels.argmax(-1), answers)
  assert metrics['loss'][-1] < metrics['loss'][0]
  assert int(after.inner.train.step) == 60
  assert jax.tree.structure(after) == jax.tree.structure(state)


def test_bad_recipes():
  with pytest.raises(
    ValueError, match=r"form 'third': must be one of .*'ridge'"
  ):
    _recipe('third')
  method = _recipe(formation=formations.identity())
  with pytest.raises(ValueError, match=r"\['images'\] hold no labels; wrap"):
    method.init(tiny.KEY, {'images': tiny.stored(2)}, tiny.inner_data())


# The config.


def test_a_run_keeps_images_in_their_range_and_starts_uniform():
  built = runner.built('digits:size=8,smoke', 'label_distillation')
  params = traced.start(built)
  np.testing.assert_allclose(params['labels'], 0.1, rtol=1e-6)
  assert tuple(built.formation.spec['value_range']) == (0, 1)


def test_ridge_form_of_the_config_traces():
  built = runner.built(
    'digits:size=8,smoke', 'label_distillation', method__form='ridge'
  )
  found = traced.period(built)
  assert set(found.metrics) == {
    'loss',
    'scale',
    'network_loss',
    'network_error',
    'network_updates',
  }
  assert jax.tree.map(jnp.shape, found.after.params) == jax.tree.map(
    jnp.shape, found.params
  )


def test_config_has_the_published_settings():
  made = runner.resolved('cifar10,ipc=10', 'label_distillation').config
  section = made.method
  assert (section.form, section.batch_real) == ('second_order', 102)
  assert section.learning_rate == section.network_learning_rate == 1e-3
  assert section.unrolled_learning_rate == 0.01
  assert made.stored_labels == 'uniform'
  many = runner.resolved(
    'cifar100', 'label_distillation', method__form='ridge'
  ).config
  assert (many.method.form, many.method.batch_real) == ('ridge', 10)


@pytest.mark.parametrize(
  ('data', 'ipc', 'batch_size', 'epochs', 'patience', 'outer'),
  [
    ('cifar10', 1, 10, 200, 50, 98),
    ('cifar10', 2, 10, 100, 50, 98),
    ('cifar10', 5, 25, 100, 50, 98),
    ('cifar10', 10, 50, 100, 50, 98),
    ('mnist', 50, 50, 20, 200, 196),
    ('cifar100', 1, 100, 200, 100, 196),
  ],
)
def test_parts_of_the_base_images_are_the_published_ones(
  data, ipc, batch_size, epochs, patience, outer
):
  made = runner.resolved(f'{data},ipc={ipc}', 'label_distillation').config
  section, tested = made.method, made.evaluation
  classes = 100 if data == 'cifar100' else 10
  assert section.network_batch_size == tested.batch_size == batch_size
  assert section.most_synthetic == batch_size // classes
  assert (section.patience, made.outer, tested.epochs) == (
    patience,
    outer,
    epochs,
  )
  assert (tested.optimizer, tested.learning_rate) == ('adam', 1e-3)
  assert (tested.weight_decay, tested.drops) == (0.0, ())


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'form': 'x'}, "method.form 'x': must be one of .*'ridge'"),
    ({'regularisation': 0.0}, 'method.regularisation 0.0: must be above 0'),
  ],
)
def test_bad_settings(changes, message):
  changes = {f'method__{name}': value for name, value in changes.items()}
  with pytest.raises(ValueError, match=message):
    runner.resolved('digits,smoke', 'label_distillation', **changes)
