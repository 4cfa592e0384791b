"""`match` and `match_and_gradient`: one value, one gradient, any strategy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dcjax import augment, mapping, matching, networks, objectives, utils
from dcjax.base import Batch, Objective

_SHAPE = (8, 8, 1)
_AUGMENT = augment.sequence('color_crop_cutout')


def _shift(key, images):
  return images + jax.random.uniform(key)


def _batch(per_class, seed, shape=_SHAPE, num_classes=3):
  images = tiny.stored(per_class, num_classes, shape, seed)
  labels = jnp.broadcast_to(
    jnp.eye(num_classes)[:, None], (num_classes, per_class, num_classes)
  )
  return Batch(images, labels)


@pytest.fixture(scope='module')
def setting():
  """Network, variables, real and synthetic batch; gradients in `labels`."""
  network = networks.convnet(_SHAPE, 3, depth=1, width=4)
  synthetic = _batch(2, 1)
  soft = 0.7 * synthetic.labels + 0.1
  return (
    network,
    network.init(jax.random.key(0)),
    _batch(4, 0),
    synthetic._replace(labels=soft),
  )


def _loss(network, classes='scan', objective=None, augment=_AUGMENT):
  objective = objective or objectives.gradient_matching('l1')

  def loss(variables, real, synthetic, key):
    value, metrics = matching.match(
      network,
      variables,
      real,
      synthetic,
      key,
      objective=objective,
      augment=augment,
      classes=classes,
    )
    return value, metrics

  return loss


@pytest.fixture(scope='module')
def reference(setting):
  """Metrics and gradient by `jax.grad` of `match`."""
  gradient = jax.grad(_loss(setting[0]), argnums=2, has_aux=True)
  batch, metrics = jax.jit(gradient)(*setting[1:], jax.random.key(5))
  return metrics, batch


@pytest.mark.parametrize('classes', ['scan', 'vmap', 2])
def test_match_and_gradient_equals_grad_of_match(setting, reference, classes):
  network = setting[0]

  @jax.jit
  def both(variables, real, synthetic, key):
    return matching.match_and_gradient(
      network,
      variables,
      real,
      synthetic,
      key,
      objective=objectives.gradient_matching('l1'),
      augment=_AUGMENT,
      classes=classes,
    )

  metrics, gradient = both(*setting[1:], jax.random.key(5))
  expected_metrics, expected = reference
  np.testing.assert_allclose(
    metrics['loss'], expected_metrics['loss'], rtol=1e-5
  )
  assert gradient.weights is None
  for name in ('images', 'labels'):
    wanted = np.asarray(getattr(expected, name))
    scale = np.abs(wanted).max()
    assert scale > 0
    np.testing.assert_allclose(
      getattr(gradient, name), wanted, rtol=1e-4, atol=1e-5 * scale
    )


@pytest.mark.parametrize('classes', ['vmap', 2, 'auto'])
def test_match_does_not_depend_on_the_strategy(setting, classes):
  network = tiny.linear_network(_SHAPE)
  arguments = (
    network.init(jax.random.key(1)),
    *setting[2:],
    jax.random.key(5),
  )
  objective = objectives.gradient_matching(tensors='all')
  values = [
    jax.jit(_loss(network, strategy, objective, _shift))(*arguments)[0]
    for strategy in ('scan', classes)
  ]
  np.testing.assert_allclose(values[1], values[0], rtol=1e-5)


def test_composes_with_jit_vmap_and_grad(setting):
  network = tiny.linear_network(_SHAPE)
  variables = network.init(jax.random.key(1))
  real, synthetic = setting[2:]
  objective = objectives.gradient_matching(tensors='all')
  loss = _loss(network, 'scan', objective, _shift)

  def value(images, key):
    return loss(variables, real, synthetic._replace(images=images), key)[0]

  keys = jax.random.split(jax.random.key(2), 2)
  many = jax.jit(jax.vmap(jax.value_and_grad(value), (None, 0)))
  one = jax.jit(jax.value_and_grad(value))
  values, gradients = many(synthetic.images, keys)
  assert values[0] != values[1]  # each key draws its own augmentation
  for i, key in enumerate(keys):
    expected_value, expected = one(synthetic.images, key)
    np.testing.assert_allclose(values[i], expected_value, rtol=1e-5)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
      gradients[i], expected, rtol=1e-4, atol=1e-5 * scale
    )


def test_class_permutation_permutes_the_gradient(setting):
  network, variables, real, synthetic = setting
  order = jnp.array([2, 0, 1])

  @jax.jit
  def both(real, synthetic):
    return matching.match_and_gradient(
      network,
      variables,
      real,
      synthetic,
      jax.random.key(0),
      objective=objectives.gradient_matching('cosine'),
      classes='scan',
    )

  def permute(batch):
    return jax.tree.map(lambda leaf: leaf[order], batch)

  metrics, gradient = both(real, synthetic)
  permuted_metrics, permuted = both(permute(real), permute(synthetic))
  np.testing.assert_allclose(
    permuted_metrics['loss'], metrics['loss'], rtol=1e-6
  )
  np.testing.assert_array_equal(permuted.images, permute(gradient).images)
  np.testing.assert_array_equal(permuted.labels, permute(gradient).labels)


@pytest.mark.parametrize('classes', ['scan', 'vmap'])
def test_identical_batches_have_no_distance(setting, classes):
  network, variables, _, synthetic = setting
  loss = jax.jit(_loss(network, classes))
  key = jax.random.key(3)
  assert loss(variables, synthetic, synthetic, key)[0] == 0
  rolled = synthetic._replace(images=jnp.roll(synthetic.images, 1, axis=0))
  assert loss(variables, rolled, synthetic, key)[0] > 0.1


def _spy(joint):
  """Reports the mean of each class on both sides, as `[K]` metrics."""

  def loss(network, variables, target, synthetic, key):
    del network, variables, key

    def means(batch):
      weights = batch.labels / batch.labels.shape[-2]
      means = batch.images.mean((-3, -2, -1))
      return jnp.sum(
        means[..., None] * weights, axis=tuple(range(weights.ndim - 1))
      )

    real, fake = means(target), means(synthetic)
    return jnp.sum(jnp.square(real - fake)), {'real': real, 'fake': fake}

  return Objective(loss, joint)


@pytest.mark.parametrize('joint', [False, True])
def test_siamese_augmentation(joint):
  """Both sides of a class share a draw; classes do only if taken at once."""
  real, synthetic = _batch(4, 0), _batch(2, 1)
  blank = [b._replace(images=0 * b.images) for b in (real, synthetic)]
  loss = _loss(None, 'vmap', _spy(joint), _shift)
  value, metrics = loss(None, *blank, jax.random.key(0))
  np.testing.assert_allclose(value, 0, atol=1e-9)
  np.testing.assert_allclose(metrics['real'], metrics['fake'], rtol=1e-5)
  draws = len(set(np.asarray(metrics['real']).round(5).tolist()))
  assert draws == (1 if joint else 3)


def test_joint_objective_sees_all_classes():
  real, synthetic = _batch(4, 0), _batch(2, 1)
  objective = _spy(joint=True)
  key = jax.random.key(0)
  loss = _loss(None, 'scan', objective, _shift)
  value, metrics = loss(None, real, synthetic, key)
  expected = np.asarray(real.images).mean((1, 2, 3, 4)) - np.asarray(
    synthetic.images
  ).mean((1, 2, 3, 4))
  np.testing.assert_allclose(
    metrics['real'] - metrics['fake'], expected, atol=1e-5
  )
  np.testing.assert_allclose(value, np.sum(expected**2), rtol=1e-4)
  gradient = jax.grad(lambda b: loss(None, real, b, key)[0])(synthetic)
  found_metrics, found = matching.match_and_gradient(
    None, None, real, synthetic, key, objective=objective, augment=_shift
  )
  tiny.assert_trees_equal(found_metrics, metrics)
  np.testing.assert_allclose(found.images, gradient.images, rtol=1e-6)
  np.testing.assert_allclose(found.labels, gradient.labels, rtol=1e-6)


def test_a_target_may_be_anything_with_a_class_axis():
  synthetic = _batch(2, 1)

  def loss(network, variables, target, synthetic, key):
    del network, variables, key
    value = jnp.sum(jnp.square(synthetic.images.mean(0) - target['mean']))
    return value, {'loss': value}

  target = {'mean': jnp.zeros((3, *_SHAPE))}
  value, _ = _loss(None, 'scan', Objective(loss), None)(
    None, target, synthetic, jax.random.key(0)
  )
  expected = np.square(np.asarray(synthetic.images).mean(1)).sum()
  np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_padding_does_not_count():
  network = tiny.linear_network(_SHAPE)
  variables = network.init(jax.random.key(0))
  real, synthetic = _batch(3, 0), _batch(2, 1)
  padded = Batch(
    jnp.concatenate([real.images, 9 + real.images[:, :1]], axis=1),
    jnp.concatenate([real.labels, real.labels[:, :1]], axis=1),
    jnp.array([[1.0, 1.0, 1.0, 0.0]] * 3),
  )
  loss = _loss(
    network, 'scan', objectives.gradient_matching(tensors='all'), None
  )
  expected = loss(variables, real, synthetic, jax.random.key(0))[0]
  value = loss(variables, padded, synthetic, jax.random.key(0))[0]
  np.testing.assert_allclose(value, expected, rtol=1e-5)
  unweighted = padded._replace(weights=None)
  wrong = loss(variables, unweighted, synthetic, jax.random.key(0))[0]
  assert abs(wrong - expected) > 0.1 * expected


@pytest.mark.parametrize('function', ['match', 'match_and_gradient'])
@pytest.mark.parametrize(
  ('side', 'field', 'cut', 'message'),
  [
    ('fake', 'images', 0, r'synthetic\.images has shape \(2, 8, 8, 1\)'),
    ('fake', 'labels', np.s_[:, :1], r'synthetic\.labels has shape \(3, 1, 3'),
    ('real', 'images', np.s_[:2], r'target\.images has shape \(2, 4, 8'),
    ('real', 'images', np.s_[:, :, :4], r'target\.images has shape \(3, 4, 4'),
    ('real', 'images', 0, r'target\.images has shape \(4, 8, 8, 1\)'),
    ('real', 'labels', np.s_[:, :1], r'target\.labels has shape \(3, 1, 3'),
  ],
)
def test_rejects_shapes(function, side, field, cut, message):
  batches = {'real': _batch(4, 0), 'fake': _batch(2, 1)}
  cut_array = getattr(batches[side], field)[cut]
  batches[side] = batches[side]._replace(**{field: cut_array})
  with pytest.raises(ValueError, match=message):
    getattr(matching, function)(
      tiny.linear_network(_SHAPE),
      None,
      batches['real'],
      batches['fake'],
      jax.random.key(0),
      objective=objectives.gradient_matching(),
    )


@pytest.mark.parametrize('strategy', ['pmap', 0, -1, 1.5, None])
def test_rejects_strategies(strategy):
  with pytest.raises(ValueError, match=f'class strategy {strategy!r}: must'):
    mapping.over_classes(jnp.sum, strategy)


@pytest.mark.parametrize(
  ('platform', 'classes', 'trained'),
  [('cpu', True, True), ('tpu', True, False), ('cuda', False, False)],
)
def test_what_goes_one_after_another_on_which_platform(
  platform, classes, trained
):
  def loops(over):
    with utils.traced_for(platform):
      traced = jax.jit(over(jnp.sin)).trace(jnp.ones((3, 2)))
    return 'scan' in str(traced.jaxpr)

  assert loops(mapping.over_classes) == classes
  assert loops(mapping.over_networks) == trained
