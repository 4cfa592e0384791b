"""Gradient and feature distances against the reference's numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_layout

from dcjax import losses, matching, networks, objectives
from dcjax.base import Batch, Network, Outputs, Variables
from dcjax.objectives import _distribution

_NAMES = {'mse': 'squared', 'l1': 'l1', 'l1_mean': 'l1_mean', 'cos': 'cosine'}
_TENSORS = [
  'conv1_w',
  'conv1_b',
  'norm1_scale',
  'norm1_shift',
  'conv2_w',
  'conv2_b',
  'norm2_scale',
  'norm2_shift',
  'fc_w',
  'fc_b',
]


def _gradients(data, side):
  return {t: torch_layout.weight(data[f'{side}_{t}']) for t in _TENSORS}


@pytest.mark.parametrize('reference', list(_NAMES))
def test_idc_distances(golden, reference):
  data = golden('matching_losses')
  real, fake = _gradients(data, 'real'), _gradients(data, 'syn')
  distance = _NAMES[reference]
  for layer in ('conv1', 'conv2', 'fc'):
    value = jax.jit(getattr(objectives, distance))(
      real[f'{layer}_w'], fake[f'{layer}_w']
    )
    expected = data[f'idc_{reference}_per_tensor_{layer}']
    np.testing.assert_allclose(value, expected, rtol=1e-4)
  totals = {'conv': 'total_default', 'conv+classifier': 'total_fc'}
  if reference != 'cos':
    totals['all'] = 'total_bias_fc'
  for tensors, name in totals.items():
    total = functools.partial(
      objectives.gradient_distance, distance=distance, tensors=tensors
    )
    value = jax.jit(total)(real, fake)
    expected = data[f'idc_{reference}_{name}']
    np.testing.assert_allclose(value, expected, rtol=1e-4)
  gradient = jax.jit(jax.grad(getattr(objectives, distance), 1))(
    real['conv1_w'], fake['conv1_w']
  )
  expected = torch_layout.weight(data[f'idc_{reference}_dsyn_conv1'])
  np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
  ('reference', 'distance', 'tensors'),
  [
    ('dc_ours', 'cosine', 'weights'),
    ('dc_mse', 'whole_squared', 'all'),
    ('dc_cos', 'whole_cosine', 'all'),
  ],
)
def test_dc_distances(golden, reference, distance, tensors):
  data = golden('matching_losses')
  value = objectives.gradient_distance(
    _gradients(data, 'real'),
    _gradients(data, 'syn'),
    distance=distance,
    tensors=tensors,
  )
  np.testing.assert_allclose(value, data[reference], rtol=1e-4)


def test_cosine_of_layer_norm_affine_and_of_zero_gradients(golden):
  data = golden('matching_losses')
  cosine = jax.jit(objectives.cosine)
  value = cosine(
    torch_layout.weight(data['ln_real']), torch_layout.weight(data['ln_syn'])
  )
  np.testing.assert_allclose(value, data['dc_ours_3d'], rtol=1e-4)
  zero = torch_layout.weight(data['edge_real_zero'])
  other = torch_layout.weight(data['edge_syn'])
  np.testing.assert_allclose(
    cosine(zero, other), data['edge_idc_cos'], rtol=1e-5
  )
  gradient = jax.jit(jax.grad(cosine, 1))(zero, jnp.zeros_like(other))
  assert np.isfinite(gradient).all()


_CASES = [
  ('idc_mse', objectives.gradient_matching('squared')),
  ('idc_l1', objectives.gradient_matching('l1')),
  ('idc_cos', objectives.gradient_matching('cosine')),
  ('idc_mse_bias_fc', objectives.gradient_matching('squared', tensors='all')),
  ('idc_feat', objectives.feature_matching()),
  ('dc_ours', objectives.gradient_matching('cosine', tensors='weights')),
  ('dc_mse', objectives.gradient_matching('whole_squared', tensors='all')),
  ('dc_cos', objectives.gradient_matching('whole_cosine', tensors='all')),
]


@pytest.mark.parametrize('name', ['28x1', '32x3'])
@pytest.mark.parametrize(
  ('reference', 'objective'), _CASES, ids=[c[0] for c in _CASES]
)
def test_whole_matching_loss_and_image_gradient(
  golden, name, reference, objective
):
  data = golden(f'matchloss_convnet3_w16_{name}')
  network = networks.convnet(
    torch_layout.images(data['x_real']).shape[1:], 10, width=16
  )
  variables = torch_layout.convnet(data)
  label = jax.nn.one_hot(int(data['label']), 10)

  def batch(images):
    images = torch_layout.images(images)
    labels = jnp.broadcast_to(label, (images.shape[0], 10))
    return Batch(images[None], labels[None])

  metrics, gradient = jax.jit(
    lambda variables, real, fake: matching.match_and_gradient(
      network,
      variables,
      real,
      fake,
      jax.random.key(0),
      objective=objective,
    )
  )(variables, batch(data['x_real']), batch(data['x_syn']))
  np.testing.assert_allclose(metrics['loss'], data[reference], rtol=1e-4)
  expected = torch_layout.images(data[f'{reference}_dx'])
  np.testing.assert_allclose(
    gradient.images[0],
    expected,
    rtol=1e-3,
    atol=1e-5 * np.abs(expected).max() + 1e-9,
  )


def test_real_gradient_meets_the_reference(golden):
  data = golden('matchloss_convnet3_w16_32x3')
  network = networks.convnet((32, 32, 3), 10, width=16)
  images = torch_layout.images(data['x_real'])
  labels = jnp.broadcast_to(jax.nn.one_hot(int(data['label']), 10), (6, 10))
  gradient = jax.jit(functools.partial(objectives.network_gradient, network))(
    torch_layout.convnet(data), Batch(images, labels)
  )
  expected = torch_layout.convnet(data, prefix='g_real/').params
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-6),
    gradient,
    expected,
  )


def test_weights_leave_padding_out():
  network = networks.convnet((4, 4, 1), 3, width=2, depth=2)
  variables = jax.jit(network.init)(jax.random.key(0))
  images = jax.random.normal(jax.random.key(1), (5, 4, 4, 1))
  labels = np.eye(3)[[1] * 5]
  short = Batch(images[:3], labels[:3])
  padded = Batch(images, labels, jnp.array([1.0, 1, 1, 0, 0]))
  for objective in (
    objectives.gradient_matching(),
    objectives.feature_matching((0, 1)),
  ):
    fake = Batch(images[::-1], labels)
    losses = [
      jax.jit(functools.partial(objective.loss, network))(
        variables, real, fake, jax.random.key(0)
      )[0]
      for real in (short, padded)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_bad_names_list_the_known():
  with pytest.raises(ValueError, match=r"distance 'l2'.*squared"):
    objectives.gradient_matching('l2')
  with pytest.raises(ValueError, match=r"tensors 'fc'.*conv"):
    objectives.gradient_matching(tensors='fc')
  with pytest.raises(ValueError, match=r"objective 'grad'.*gradient"):
    objectives.build({'name': 'grad'})
  network = networks.convnet((8, 8, 1), 3, width=4, depth=2)
  batch = Batch(jnp.ones((1, 2, 8, 8, 1)), jnp.ones((1, 2, 3)) / 3)
  variables = jax.eval_shape(network.init, jax.random.key(0))
  with pytest.raises(ValueError, match='2 block outputs'):
    matching.match(
      network,
      jax.tree.map(lambda x: jnp.zeros(x.shape), variables),
      batch,
      batch,
      jax.random.key(0),
      objective=objectives.feature_matching((5,)),
    )


@pytest.mark.parametrize('weights', [None, np.array([1.0, 0, 1, 1] * 3)])
def test_a_gradient_in_parts_is_the_whole_gradient(monkeypatch, weights):
  network = networks.convnet((8, 8, 3), 3, width=4, depth=1)
  variables = jax.jit(network.init)(jax.random.key(0))
  images = jax.random.uniform(jax.random.key(1), (12, 8, 8, 3))
  batch = Batch(images, np.eye(3)[np.arange(12) % 3], weights)

  def loss_and_gradient():  # anew, as what it reads changes
    of = functools.partial(losses.loss_and_gradient, network)
    return jax.jit(of)(variables, batch)

  value, tracked, parted = loss_and_gradient()
  assert tracked == variables.state
  monkeypatch.setattr(losses, '_MOST_PIXELS', 4 * 8 * 8)
  monkeypatch.setattr(jax, 'device_count', lambda: 1)
  assert losses.count_chunks(network, images.shape, variables) == 3
  in_parts = loss_and_gradient()
  np.testing.assert_allclose(in_parts[0], value, rtol=1e-6)
  whole = jax.jit(functools.partial(objectives.network_gradient, network))(
    variables, batch
  )
  for other in (parted, in_parts[2]):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      other,
      whole,
    )


def test_batches_are_parted_only_where_images_are_independent(monkeypatch):
  narrow, wide = (
    Variables({'kernel': jnp.zeros((3, 3, 3, width))}, {})
    for width in (32, 128)
  )
  own = networks.convnet((32, 32, 3), 10)
  monkeypatch.setattr(jax, 'device_count', lambda: 1)
  assert losses.count_chunks(own, (64, 32, 32, 3), narrow) == 4
  assert losses.count_chunks(own, (64, 32, 32, 3), wide) == 8
  assert losses.count_chunks(own, (64, 16, 16, 3), narrow) == 1
  assert losses.count_chunks(own, (62, 32, 32, 3), narrow) == 1  # 62 = 2 x 31
  tracking = narrow._replace(state={'mean': jnp.zeros(3)})
  assert losses.count_chunks(own, (64, 32, 32, 3), tracking) == 1
  monkeypatch.setattr(jax, 'device_count', lambda: 8)
  assert losses.count_chunks(own, (64, 32, 32, 3), narrow) == 1


def test_embeddings_in_parts_are_those_of_the_whole(monkeypatch):
  network = networks.convnet((8, 8, 3), 3, width=4, depth=1)
  variables = jax.jit(network.init)(jax.random.key(0))
  images = jax.random.uniform(jax.random.key(1), (12, 8, 8, 3))
  expected = network.apply(variables, images, True)[0].embedding
  monkeypatch.setattr(losses, '_MOST_PIXELS', 4 * 8 * 8)
  monkeypatch.setattr(jax, 'device_count', lambda: 1)
  np.testing.assert_allclose(
    _distribution._embed(network, variables, images),
    expected,
    rtol=1e-5,
    atol=1e-6,
  )


def _embedded(**options):
  """What `distribution_matching` says of embeddings that are the images."""

  def apply(variables, images, train):
    flat = images.reshape(images.shape[0], -1)
    return Outputs(flat, embedding=flat), variables.state

  network = Network(lambda key: Variables({}, {}), apply, independent=True)
  key = jax.random.key(0)
  real, fake = (
    jax.random.normal(jax.random.fold_in(key, n), (n, 2, 2, 1)) + shift
    for n, shift in ((7, 0.0), (5, 1.0))
  )
  weights = np.array([1.0] * 4 + [0.0] * 3)
  target = Batch(real, None, weights)
  loss = objectives.distribution_matching(**options).loss
  value, _ = jax.jit(functools.partial(loss, network))(
    Variables({}, {}), target, Batch(fake, None), key
  )
  return (
    value,
    np.asarray(real[:4]).reshape(4, -1),
    np.asarray(fake).reshape(5, -1),
  )


def test_distributions_by_a_kernel_by_hand():
  value, real, fake = _embedded(bandwidth=0.5)

  def distances(a, b):
    return np.square(a[:, None] - b[None]).sum(-1)

  width = 0.5 * distances(real, real).mean()
  kernel = [
    np.exp(-distances(a, b) / width).mean()
    for a, b in ((real, real), (fake, fake), (real, fake))
  ]
  expected = width / 2 * (kernel[0] + kernel[1] - 2 * kernel[2])
  np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_a_wide_kernel_sees_the_means_alone():
  wide, means = _embedded(bandwidth=1e4)[0], _embedded()[0]
  np.testing.assert_allclose(wide, means, rtol=1e-2)


@pytest.mark.parametrize('bandwidth', [0.0, -1.0, float('nan')])
def test_a_bandwidth_is_above_zero(bandwidth):
  with pytest.raises(ValueError, match=r'bandwidth .*: must be above 0'):
    objectives.distribution_matching(bandwidth=bandwidth)
