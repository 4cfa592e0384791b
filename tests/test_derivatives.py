"""`match` against finite differences, once and twice, in every argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_observer

import dcjax
from dcjax import losses, networks, objectives, statistics
from dcjax.base import Batch
from dcjax.objectives import StatisticsTarget

_SHAPE = (4, 4, 3)
_CLASSES = 3
_STEP = 1e-5
_STRATEGIES = ('scan', 'vmap', 2)
_FORMS = ('hybrid', 'patches', 'lax')
_MATCHING = {
  'squared': lambda **o: objectives.gradient_matching('squared', **o),
  'l1': lambda **o: objectives.gradient_matching('l1', **o),
  'l1_mean': lambda **o: objectives.gradient_matching('l1_mean', **o),
  'cosine': lambda **o: objectives.gradient_matching(
    'cosine', tensors='weights', **o
  ),
  'whole_cosine': lambda **o: objectives.gradient_matching(
    'whole_cosine', tensors='all', **o
  ),
  'whole_squared': lambda **o: objectives.gradient_matching(
    'whole_squared', tensors='all', **o
  ),
  'feature': lambda **o: objectives.feature_matching((0, -1), **o),
  'distribution': objectives.distribution_matching,
  'distribution_kernel': lambda **o: objectives.distribution_matching(
    bandwidth=0.5, **o
  ),
}
_JOINT = {
  'distribution_joint': lambda **o: objectives.distribution_matching(
    joint=True, **o
  ),
  'cafe': objectives.cafe_matching,
  'cafe_pooled': lambda **o: objectives.cafe_matching(
    layers='after_pooling', **o
  ),
}
_UNLABELLED = ('feature', 'distribution', 'distribution_kernel', *_JOINT)
# Differentiable in everything as they are.
_TRAINED = {
  'unrolled_step': lambda: objectives.unrolled_step(0.1),
  'ridge': lambda: objectives.ridge(scale=2.0),
  'kernel_regression': lambda: objectives.kernel_regression(
    regularisation=0.1, mirror=True
  ),
  'unrolled': lambda: objectives.unrolled(objectives.Unroll(2)),
}


def _cases():
  """Every objective with every strategy and form; most of them are slow.

  The others hold every strategy and form of one objective, and one of each of
  the others. Joint objectives know no strategies.
  """
  for number, name in enumerate(_MATCHING):
    for place, classes in enumerate(_STRATEGIES):
      for turn, form in enumerate(_FORMS):
        quick = name == 'squared' or place == turn == number % 3
        yield name, classes, form, quick
  for number, name in enumerate((*_JOINT, *_TRAINED)):
    for turn, form in enumerate(_FORMS):
      yield name, 'scan', form, turn == number % 3


_CASES = [
  pytest.param(*case, marks=() if quick else pytest.mark.slow)
  for *case, quick in _cases()
]


@pytest.fixture(autouse=True)
def float64():
  """Finite differences of second derivatives need the digits."""
  with jax.enable_x64(True):
    yield


def _network(form='hybrid', norm='none'):
  return networks.convnet(
    _SHAPE,
    _CLASSES,
    depth=1,
    width=2,
    norm=norm,
    activation='swish',
    conv_form=form,
  )


def _variables(network):
  return jax.tree.map(
    lambda x: jnp.asarray(x, jnp.float64), network.init(jax.random.key(0))
  )


def _batch(per_class, seed):
  rng = np.random.default_rng(seed)
  labels = np.eye(_CLASSES)[:, None] + 0.2 * rng.uniform(
    size=(_CLASSES, per_class, _CLASSES)
  )
  return Batch(
    jnp.asarray(rng.normal(size=(_CLASSES, per_class, *_SHAPE))),
    jnp.asarray(labels / labels.sum(-1, keepdims=True)),
  )


def _towards(seed, tree):
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape)), tree)


def _dot(a, b):
  return sum(
    jnp.vdot(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def _assert_derivatives(function, arguments):
  """First and second derivative of a function of a dict, entry by entry."""
  fixed = _towards(1, arguments)

  def slope(x):
    value, gradient = jax.value_and_grad(function)(x)
    return _dot(gradient, fixed), (value, gradient)

  @tiny_observer.jit
  def both(x):
    (once, (value, first)), second = jax.value_and_grad(slope, has_aux=True)(x)
    return jnp.stack([value, once]), (first, second)

  _, derivatives = both(arguments)
  for name, argument in arguments.items():
    direction = _towards(2, argument)
    ends = []
    for step in (_STEP, -_STEP):
      moved = jax.tree.map(
        lambda x, d, step=step: x + step * d, argument, direction
      )
      ends.append(both({**arguments, name: moved})[0])
    expected = (ends[0] - ends[1]) / (2 * _STEP)
    assert np.all(abs(expected) > 1e-6), f'{name}: nothing to compare'
    np.testing.assert_allclose(
      [_dot(found[name], direction) for found in derivatives],
      expected,
      rtol=1e-6,
      err_msg=name,
    )


def _loss(network, objective, classes, real_images=4):
  """`match` of what is in a dict; the rest is that of the batches."""
  synthetic, real = _batch(2, 0), _batch(real_images, 1)

  def loss(arguments):
    return dcjax.match(
      network,
      arguments['variables'],
      Batch(arguments['real'], arguments.get('real_labels', real.labels)),
      Batch(
        arguments['images'],
        arguments.get('labels', synthetic.labels),
        step_size=arguments.get('step_size'),
      ),
      jax.random.key(0),
      objective=objective,
      classes=classes,
    )[0]

  arguments = {
    'variables': _variables(network),
    'images': synthetic.images,
    'real': real.images,
  }
  labels = {'labels': synthetic.labels, 'real_labels': real.labels}
  return loss, arguments, labels


def _objective(name, **options):
  if name in _TRAINED:
    return _TRAINED[name]()
  return {**_MATCHING, **_JOINT}[name](**options)


@pytest.mark.parametrize(('name', 'classes', 'form'), _CASES)
def test_match_equals_finite_differences(name, classes, form):
  objective = _objective(name, constant_target=False)
  loss, arguments, labels = _loss(_network(form), objective, classes)
  if name not in _UNLABELLED:
    arguments |= labels
  if name == 'unrolled':
    arguments['step_size'] = jnp.asarray(0.1)
  _assert_derivatives(loss, arguments)


@pytest.mark.parametrize(
  'form',
  ['lax', *(pytest.param(f, marks=pytest.mark.slow) for f in _FORMS[:2])],
)
def test_trajectories_equal_finite_differences(form):
  """In both ends of the segment, images, labels and the step size."""
  network, synthetic = _network(form), _batch(2, 0)
  objective = objectives.trajectory_matching(steps=2)
  flat = objectives.flat_network(network)

  def loss(arguments):
    return dcjax.match(
      network,
      _variables(network),
      arguments['segment'],
      arguments['synthetic'],
      jax.random.key(0),
      objective=objective,
    )[0]

  start = flat.flatten(_variables(network).params)
  end = start + 0.1 * _towards(3, start)
  step_size = jnp.asarray(0.1)
  _assert_derivatives(
    loss,
    {
      'segment': objectives.Segment(start, end),
      'synthetic': synthetic._replace(step_size=step_size),
    },
  )


@pytest.mark.parametrize('name', ['squared', 'distribution'])
def test_batches_in_parts_equal_finite_differences(name, monkeypatch):
  monkeypatch.setattr(losses, '_MOST_PIXELS', 1)
  monkeypatch.setattr(jax, 'device_count', lambda: 1)
  objective = _objective(name, constant_target=False)
  loss, arguments, _ = _loss(_network(), objective, 'scan', real_images=8)
  shape = arguments['real'].shape[1:]
  built = losses.count_chunks(_network(), shape, arguments['variables'])
  assert built == 2
  _assert_derivatives(loss, arguments)


def test_statistics_equal_finite_differences():
  """Statistics and flatness; the network is one with instance norm."""
  network = _network(norm='instance')
  variables, synthetic, other = _variables(network), _batch(2, 0), _batch(2, 1)
  seen = networks.layer_inputs(network, variables, other.images[0])
  whole = statistics.pool(statistics.image_statistics(seen, ('conv0',), 2))
  objective = objectives.statistics_matching(
    objectives.StatisticsTerms(
      patch_size=2, flatness=2.0, constant_target=False
    )
  )

  def loss(arguments):
    target = StatisticsTarget(
      statistics.Targets(arguments['whole'], arguments['classes']),
      averaged=arguments['averaged'],
    )
    return dcjax.match(
      network,
      arguments['variables'],
      target,
      Batch(arguments['images'], arguments['labels']),
      jax.random.key(0),
      objective=objective,
    )[0]

  _assert_derivatives(
    loss,
    {
      'variables': variables,
      'images': synthetic.images,
      'labels': synthetic.labels,
      'averaged': other.images,
      'whole': whole,
      'classes': jax.tree.map(
        lambda x: x * jnp.asarray([0.5, 1.5, 2.0])[:, None], whole
      ),
    },
  )


@pytest.mark.parametrize(
  'name', ['squared', 'feature', 'distribution', *_JOINT]
)
def test_the_target_side_is_a_constant_by_default(name):
  loss, arguments, _ = _loss(_network(), _objective(name), 'scan')
  whole, *_ = _loss(_network(), _objective(name, constant_target=False), 'scan')
  found, wanted = (
    tiny_observer.jit(jax.grad(f))(arguments) for f in (loss, whole)
  )
  assert not np.any(found['real'])
  assert np.any(wanted['real'])
  np.testing.assert_allclose(found['images'], wanted['images'], rtol=1e-12)
  kernels = [g['variables'].params['conv0']['kernel'] for g in (found, wanted)]
  assert not np.allclose(*kernels, rtol=1e-3)
