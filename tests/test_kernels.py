"""Kernels in closed form, their regression, and the objective over them."""

import functools
import itertools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax import lax

import dcjax
from dcjax import kernels, objectives
from dcjax.base import Batch, Network, Outputs, Variables

_GOLDEN = pathlib.Path(__file__).parent / 'golden'
_KIP = dict(np.load(_GOLDEN / 'kip_fc_ntk.npz'))
_FREPO = dict(np.load(_GOLDEN / 'frepo_ridge.npz'))
_SHAPE = (4, 5, 2)


def _images(count, seed=0, shape=_SHAPE):
  return np.random.default_rng(seed).normal(size=(count, *shape))


def _as_images(rows):
  return jnp.asarray(rows).reshape(len(rows), 1, 1, -1)


def _apply(kernel, first, second=None):
  """The kernel as one program."""
  return jax.jit(kernel.apply)(first, second)


def _predict(kernel, support, images, **options):
  """The regression as one program."""
  predict = functools.partial(kernels.predict, kernel, **options)
  return jax.jit(predict)(support, images)


# Against the golden recursion, in both floating types.


@pytest.mark.parametrize('form', kernels.FORMS)
@pytest.mark.parametrize('depth', [1, 2])
@pytest.mark.parametrize('x64', [True, False])
def test_fully_connected_equals_the_golden_recursion(depth, form, x64):
  with jax.enable_x64(x64):
    a, b = (_as_images(_KIP[name]) for name in 'ab')
    kernel = kernels.fully_connected(depth, form=form)
    between, within = _apply(kernel, a, b), _apply(kernel, a)
    assert between.dtype == within.dtype == (jnp.float64 if x64 else 'float32')
    golden = _KIP[f'fc{depth}_ab_{form}']
    # Its last image is close to one of the others, where float32 is blind.
    tolerance = 1e-12 if x64 else 1e-4
    np.testing.assert_allclose(between, golden, rtol=tolerance)
    golden = _KIP[f'fc{depth}_aa_{form}']
    off = ~np.eye(5, dtype=bool)
    tolerance = 1e-12 if x64 else 1e-5
    np.testing.assert_allclose(within[off], golden[off], rtol=tolerance)
    # The recursion takes the angle of an image with itself from rounding.
    np.testing.assert_allclose(
      np.diag(within), np.diag(golden), rtol=1e-8 if x64 else 1e-5
    )


@pytest.mark.parametrize('depth', [1, 3])
def test_the_diagonal_is_that_of_the_closed_form(depth):
  with jax.enable_x64(True):
    a = jnp.asarray(_images(3))
    within = _apply(kernels.fully_connected(depth), a)
    square = np.mean(np.asarray(a) ** 2, (1, 2, 3))
    # Weights of variance 2 leave variances alone, layer after layer.
    layers = np.arange(1, depth + 2)
    expected = sum(2 * square + 0.01 * layer for layer in layers)
    np.testing.assert_allclose(np.diag(within), expected, rtol=1e-13)


@pytest.mark.parametrize('x64', [True, False])
def test_ridge_prediction_equals_the_golden_one(x64):
  with jax.enable_x64(x64):
    a, b = (_as_images(_KIP[name]) for name in 'ab')
    support = Batch(b, jnp.asarray(_KIP['labels_b']))
    predicted = _predict(
      kernels.fully_connected(), support, a, label_form='centred', batch_size=2
    )
    tolerance = 1e-12 if x64 else 1e-5
    np.testing.assert_allclose(predicted, _KIP['fc1_pred'], atol=tolerance)
    error = np.mean((predicted - _KIP['targets_a']) ** 2) / 2
    np.testing.assert_allclose(error, _KIP['fc1_loss'], rtol=10 * tolerance)


# Against finite networks of random weights.


def _wide_network(images, key, widths, convolutional):
  """The empirical tangent kernel, and outputs' covariance over last weights."""
  channels = images.shape[-1]
  sizes = (channels, *widths)
  keys = jax.random.split(key, 2 * len(widths) + 2)
  taps = 9 if convolutional else 1
  params = [
    (
      jax.random.normal(
        keys[2 * i], (*((3, 3) if convolutional else ()), m, n)
      ),
      jax.random.normal(keys[2 * i + 1], (n,)),
    )
    for i, (m, n) in enumerate(itertools.pairwise(sizes))
  ]
  pixels = images[0, ..., 0].size
  last = (
    jax.random.normal(keys[-2], (pixels * sizes[-1],)),
    jax.random.normal(keys[-1], ()),
  )

  def layer(x, weight, bias, fan_in):
    if convolutional:
      x = lax.conv_general_dilated(
        x, weight, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
      )
    else:
      x = x @ weight
    return (2 / fan_in) ** 0.5 * x + 0.1 * bias

  def output(params, last, image):
    x = image[None]
    for (weight, bias), size in zip(params, sizes[:-1], strict=True):
      x = jax.nn.relu(layer(x, weight, bias, taps * size))
    flat = x.reshape(-1)
    return (2 / flat.size) ** 0.5 * flat @ last[0] + 0.1 * last[1]

  of_body, of_last = jax.lax.map(
    lambda image: jax.grad(output, (0, 1))(params, last, image), images
  )

  def products(gradients):
    flat = [x.reshape(len(images), -1) for x in jax.tree.leaves(gradients)]
    return sum(x @ x.T for x in flat)

  return products((of_body, of_last)), products(of_last)


@pytest.mark.parametrize('convolutional', [False, True])
def test_kernels_are_those_of_wide_random_networks(convolutional):
  images = np.float32(_images(3, shape=_SHAPE if convolutional else (1, 1, 12)))
  widths, networks = ((64, 64), 32) if convolutional else ((512, 512), 16)
  inputs = images if convolutional else images.reshape(3, 1, 1, 12)
  keys = jax.random.split(jax.random.key(0), networks)
  measured = jax.jit(
    lambda keys: jax.lax.map(
      lambda key: _wide_network(
        jnp.asarray(inputs), key, widths, convolutional
      ),
      keys,
    )
  )(keys)
  make = kernels.convolutional if convolutional else kernels.fully_connected
  for form, values in zip(('ntk', 'nngp'), measured, strict=True):
    kernel = make(2, form=form)
    for second in (None, jnp.asarray(images)):
      expected = _apply(kernel, jnp.asarray(images), second)
      deviation = np.std(values, 0, ddof=1) / networks**0.5
      distance = np.abs(np.mean(values, 0) - expected)
      assert np.all(distance < 4 * deviation + 0.005 * np.abs(expected))
      assert np.all(distance < 0.06 * np.diag(expected).max())


def test_convolutions_of_one_pixel_are_fully_connected():
  # Eight of nine shifts see nothing: the weight variance of such a layer is
  # that of a dense one, divided by nine.
  with jax.enable_x64(True):
    a, b = (jnp.asarray(_images(3, seed, (1, 1, 7))) for seed in (0, 1))
    one = kernels.convolutional(1, weight_variance=1.8, bias_variance=0.0)
    dense = kernels.fully_connected(1, weight_variance=1.8, bias_variance=0.0)
    np.testing.assert_allclose(
      _apply(one, a, b), _apply(dense, a, b) / 9, rtol=1e-12
    )


@pytest.mark.parametrize('chunk', [1, 2, 7])
def test_chunks_change_nothing(chunk):
  a, b = (jnp.asarray(_images(5, seed), jnp.float32) for seed in (0, 1))
  whole = kernels.convolutional(2, chunk=5)
  parts = kernels.convolutional(2, chunk=chunk)
  for second in (b, None):
    np.testing.assert_allclose(
      _apply(parts, a, second), _apply(whole, a, second), rtol=1e-5
    )


# Derivatives.


def _check_gradient(function, x, rtol=1e-6):
  function = jax.jit(function)
  gradient = jax.jit(jax.grad(function))(x)
  rng = np.random.default_rng(7)
  for _ in range(5):
    direction = jnp.asarray(rng.normal(size=x.shape))
    step = 1e-6
    sides = [function(x + s * step * direction) for s in (1, -1)]
    slope = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(
      jnp.sum(gradient * direction), slope, rtol=rtol, atol=1e-8
    )


@pytest.mark.parametrize(
  'kernel', [kernels.fully_connected(2), kernels.convolutional(2)]
)
def test_gradients_are_finite_differences(kernel):
  with jax.enable_x64(True):
    a, b = (jnp.asarray(_images(3, seed)) for seed in (0, 1))
    mix = jnp.asarray(np.random.default_rng(2).normal(size=(3, 3)))
    _check_gradient(lambda x: jnp.sum(mix * kernel.apply(x, b)), a)
    _check_gradient(lambda x: jnp.sum(mix * kernel.apply(x, None)), a)


def test_arc_cosines_and_their_slopes():
  with jax.enable_x64(True):
    cosine = jnp.linspace(-0.999, 0.999, 50)
    angle = np.arccos(cosine)
    zero = 1 - angle / np.pi
    one = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi
    np.testing.assert_allclose(kernels.arc_cosine_0(cosine), zero, atol=1e-14)
    np.testing.assert_allclose(kernels.arc_cosine_1(cosine), one, atol=1e-14)
    _check_gradient(lambda c: jnp.sum(kernels.arc_cosine_0(c) ** 2), cosine)
    _check_gradient(lambda c: jnp.sum(kernels.arc_cosine_1(c) ** 2), cosine)


@pytest.mark.parametrize('x64', [True, False])
@pytest.mark.parametrize('cosine', [-1.0, 1.0, 1.0 + 1e-7])
def test_arc_cosines_have_finite_slopes_at_the_ends(cosine, x64):
  with jax.enable_x64(x64):
    value = jnp.asarray(cosine)
    end = float(cosine > 0)
    for function, slope in (
      (kernels.arc_cosine_0, 0.0),
      (kernels.arc_cosine_1, end),
    ):
      np.testing.assert_allclose(function(value), end, atol=1e-15)
      np.testing.assert_allclose(jax.grad(function)(value), slope, atol=1e-15)


@pytest.mark.parametrize(
  'kernel', [kernels.fully_connected(2), kernels.convolutional(2)]
)
def test_equal_and_black_images_have_finite_gradients(kernel):
  a = jnp.asarray(_images(3), jnp.float32).at[1].set(0)
  doubled = jnp.concatenate([a, a])

  def total(x):
    return jnp.sum(kernel.apply(x, None)) + jnp.sum(kernel.apply(x, doubled))

  value, gradient = jax.jit(jax.value_and_grad(total))(doubled)
  assert np.isfinite(value)
  assert np.all(np.isfinite(gradient))
  assert np.abs(gradient[0]).max() > 1e-2


def test_kernels_scale_with_images_without_biases():
  a = jnp.asarray(_images(3), jnp.float32).at[1].set(0)
  kernel = kernels.fully_connected(2, bias_variance=0.0)
  within = _apply(kernel, a)
  np.testing.assert_allclose(_apply(kernel, 3 * a), 9 * within, rtol=1e-5)
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(kernel.apply(x, None))))(a)
  assert np.all(np.isfinite(gradient))
  assert np.all(within[1] == 0)


# Regression.


def test_prediction_is_the_direct_solve_in_any_batches():
  support = Batch(
    jnp.asarray(_images(6), jnp.float32), jnp.eye(3)[jnp.arange(6) % 3]
  )
  asked = np.uint8(255 * np.random.default_rng(1).random((5, *_SHAPE)))
  kernel = kernels.fully_connected()

  def halved(key, images):
    del key
    return images / 2

  predicted = _predict(
    kernel,
    support,
    asked,
    regularisation=0.1,
    scale=255.0,
    normalise=halved,
    batch_size=2,
  )
  known = support.images / 2
  within = np.float64(_apply(kernel, known))
  ridge = within + 0.1 * np.trace(within) / 6 * np.eye(6)
  between = np.float64(_apply(kernel, jnp.float32(asked) / 510, known))
  expected = between @ np.linalg.solve(ridge, support.labels - 1 / 3)
  np.testing.assert_allclose(predicted, expected, rtol=1e-3, atol=1e-5)
  answers = expected.argmax(-1)
  options = {
    'regularisation': 0.1,
    'scale': 255.0,
    'normalise': halved,
  }
  accuracy = jax.jit(functools.partial(kernels.accuracy, kernel, **options))
  right = accuracy(support, asked, answers)
  wrong = accuracy(support, asked, answers + 1)
  assert (float(right), float(wrong)) == (1, 0)


def test_images_of_weight_zero_do_not_count():
  images = jnp.asarray(_images(6), jnp.float32)
  labels = jnp.eye(3)[jnp.arange(6) % 3]
  weights = jnp.array([1.0, 1, 1, 1, 0, 0])
  kernel, asked = kernels.fully_connected(), _images(4, 1)
  padded = _predict(kernel, Batch(images, labels, weights), asked)
  short = _predict(kernel, Batch(images[:4], labels[:4]), asked)
  np.testing.assert_allclose(padded, short, rtol=1e-4, atol=1e-5)


# The objective.


def _identity_network():
  """The images are their own embedding."""

  def apply(variables, images, train):
    del train
    flat = images.reshape(images.shape[0], -1)
    return Outputs(flat[:, :3], flat), variables.state

  return Network(lambda key: Variables({}, {}), apply, 'identity')


def _frepo_batches():
  """The golden features as images of one row."""
  shape = (1, 6, 1, 24, 1)
  fake = jnp.asarray(_FREPO['features_syn']).reshape(shape)
  labels = jnp.asarray(_FREPO['labels_syn'])[None]
  real = jnp.asarray(_FREPO['features_real']).reshape(1, 7, 1, 24, 1)
  answers = jax.nn.one_hot(_FREPO['labels_real'], 4, dtype=fake.dtype)[None]
  return Batch(real, answers), Batch(fake, labels)


def _frepo_loss(images, labels, **options):
  target, _ = _frepo_batches()
  objective = objectives.kernel_regression(
    label_form='centred', reduction='sum', **options
  )
  return dcjax.match(
    _identity_network(),
    Variables({}, {}),
    target,
    Batch(images, labels),
    tiny.KEY,
    objective=objective,
  )


@pytest.mark.parametrize('x64', [True, False])
def test_regression_on_features_equals_the_golden_loss_and_gradients(x64):
  tolerance = {'rtol': 1e-11 if x64 else 2e-4}
  with jax.enable_x64(x64):
    _, synthetic = _frepo_batches()

    def loss(images, labels):
      return _frepo_loss(images, labels, margin=True)

    (value, metrics), gradients = jax.jit(
      jax.value_and_grad(loss, (0, 1), has_aux=True)
    )(synthetic.images, synthetic.labels)
    np.testing.assert_allclose(value, _FREPO['loss'], **tolerance)
    np.testing.assert_allclose(
      metrics['margin'], -_FREPO['label_loss'], **tolerance
    )
    for found, name in zip(
      gradients, ('dfeatures_syn', 'dlabels_syn'), strict=True
    ):
      golden = _FREPO[name]
      largest = np.abs(golden).max()
      np.testing.assert_allclose(
        found.reshape(golden.shape),
        golden,
        atol=(1e-12 if x64 else 1e-4) * largest,
        **tolerance,
      )
    plain = jax.jit(jax.grad(lambda y: _frepo_loss(synthetic.images, y)[0]))
    np.testing.assert_allclose(
      plain(synthetic.labels)[0],
      _FREPO['dlabels_syn_kernel_only'],
      atol=1e-12 if x64 else 1e-5,
      **tolerance,
    )


def test_mirrored_images_double_the_set():
  """The golden features of mirrored images come from a network of its own."""
  golden = jnp.asarray(_FREPO['features_syn_flipped'])

  def apply(variables, images, train):
    del train
    # A position tells which image this is, its order which way it looks.
    number, flipped = images[:, 0, :, 0].max(-1), images[:, 0, 0, 0] == 0
    number = number.astype(jnp.int32) - 1
    own = jnp.asarray(_FREPO['features_syn'])[number]
    real = jnp.asarray(_FREPO['features_real'])[number - 6]
    features = jnp.where(flipped[:, None], golden[number], own)
    return Outputs(own, jnp.where(number[:, None] < 6, features, real)), {}

  with jax.enable_x64(True):
    golden = jnp.asarray(_FREPO['features_syn_flipped'])
    pictures = (
      jnp.zeros((1, 13, 1, 2, 1)).at[0, :, 0, 0, 0].set(jnp.arange(13.0) + 1)
    )
    target, synthetic = _frepo_batches()
    value, _ = tiny.match(
      Network(lambda key: Variables({}, {}), apply),
      Variables({}, {}),
      target._replace(images=pictures[:, 6:]),
      synthetic._replace(images=pictures[:, :6]),
      tiny.KEY,
      objective=objectives.kernel_regression(
        label_form='centred', reduction='sum', mirror=True
      ),
    )
    np.testing.assert_allclose(value, _FREPO['kernel_loss_doubled'], rtol=1e-11)


def test_objective_over_a_kernel_equals_the_golden_loss():
  with jax.enable_x64(True):
    a, b = (_as_images(_KIP[name]) for name in 'ab')
    target = Batch(a[None], jnp.asarray(_KIP['targets_a'] + 1 / 3)[None])
    synthetic = Batch(b[None], jnp.asarray(_KIP['labels_b'])[None])
    spec = {
      'name': 'kernel_regression',
      'kernel': {'name': 'fully_connected', 'depth': 1},
      'label_form': 'centred',
    }
    value, metrics = tiny.match(
      None, None, target, synthetic, tiny.KEY, objective=objectives.build(spec)
    )
    np.testing.assert_allclose(value, _KIP['fc1_loss'], rtol=1e-12)
    right = _KIP['fc1_pred'].argmax(-1) == _KIP['targets_a'].argmax(-1)
    assert float(metrics['accuracy']) == right.mean()


def test_gradient_of_the_objective_is_a_finite_difference():
  with jax.enable_x64(True):
    real, fake = (jnp.asarray(_images(n, n)) for n in (12, 6))
    labels = jnp.eye(3)[jnp.arange(6) % 3].reshape(3, 2, 3)
    answers = jnp.eye(3)[jnp.arange(12) % 3].reshape(3, 4, 3)
    objective = objectives.kernel_regression(kernels.fully_connected())

    def loss(images):
      return dcjax.match(
        None,
        None,
        Batch(real.reshape(3, 4, *_SHAPE), answers),
        Batch(images.reshape(3, 2, *_SHAPE), labels),
        tiny.KEY,
        objective=objective,
      )[0]

    _check_gradient(loss, fake, rtol=1e-5)


@pytest.mark.parametrize(
  ('make', 'message'),
  [
    (lambda: kernels.fully_connected(0), 'depth 0: must be at least 1'),
    (lambda: kernels.fully_connected(form='x'), "form 'x': must be .*'nngp'"),
    (
      lambda: kernels.fully_connected(weight_variance=0.0),
      'weight_variance 0.0: must be above 0',
    ),
    (
      lambda: kernels.convolutional(bias_variance=-1.0),
      'bias_variance -1.0: must be at least 0',
    ),
    (lambda: kernels.convolutional(chunk=0), 'chunk 0: must be at least 1'),
    (lambda: kernels.build({'name': 'x'}), "kernel 'x': must be one of"),
    (
      lambda: objectives.kernel_regression(regularisation=0.0),
      'regularisation 0.0: must be above 0',
    ),
    (
      lambda: objectives.kernel_regression(label_form='x'),
      "label_form 'x': must be one of .*'centred'",
    ),
    (
      lambda: objectives.kernel_regression(reduction='x'),
      "reduction 'x': must be one of .*'sum'",
    ),
  ],
)
def test_bad_options(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_a_network_without_embedding_is_named():
  def apply(variables, images, train):
    del train
    return Outputs(jnp.zeros((len(images), 3))), variables.state

  network = Network(lambda key: Variables({}, {}), apply, 'bare')
  kernel = kernels.of_features(network, Variables({}, {}))
  with pytest.raises(ValueError, match="'bare' exposes no embedding"):
    kernel.apply(jnp.zeros((1, *tiny.SHAPE)), None)
