"""Networks: parameter counts, initialisation, convolutions, adapters."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_layout
from flax import nnx

from dcjax import networks, utils
from dcjax.base import Outputs
from dcjax.networks import _winograd


def _count(network):
  variables = jax.eval_shape(network.init, jax.random.key(0))
  return sum(leaf.size for leaf in jax.tree.leaves(variables.params))


@pytest.mark.parametrize(
  ('shape', 'classes', 'options', 'count'),
  [
    ((28, 28, 1), 10, {}, 317_706),
    ((32, 32, 3), 10, {}, 320_010),
    ((32, 32, 3), 10, {'norm': 'batch'}, 320_010),
    ((28, 28, 1), 10, {'width': 32}, 24_138),
    ((32, 32, 3), 10, {'width': 256}, 1_229_834),
    ((28, 28, 1), 10, {'depth': 1}, 329_226),
    ((32, 32, 3), 10, {'depth': 4}, 452_490),
    ((28, 28, 1), 10, {'norm': 'none'}, 316_938),
    ((28, 28, 1), 10, {'norm': 'layer'}, 661_002),
    ((32, 32, 3), 10, {'pooling': 'none'}, 1_610_250),
    ((32, 32, 3), 100, {}, 504_420),
    ((64, 64, 1), 8, {'depth': 4}, 461_448),
    ((64, 64, 3), 200, {'depth': 4}, 857_160),
  ],
)
def test_convnet_has_the_reference_parameter_count(
  shape, classes, options, count
):
  assert _count(networks.convnet(shape, classes, **options)) == count


@pytest.mark.parametrize('name', ['28x1', '32x3'])
def test_convnet_forward_meets_the_reference(golden, name):
  data = golden(f'matchloss_convnet3_w16_{name}')
  images = torch_layout.images(data['x_real'])
  network = networks.convnet(images.shape[1:], 10, width=16)
  outputs, _ = jax.jit(network.apply, static_argnums=2)(
    torch_layout.convnet(data), images, False
  )
  np.testing.assert_allclose(
    outputs.logits, data['logits_real'], atol=1e-5, rtol=1e-4
  )
  for block, tap in enumerate(outputs.taps):
    reference = torch_layout.images(data[f'feat{block}_real'])
    np.testing.assert_allclose(tap, reference, atol=1e-5, rtol=1e-4)


def test_initialisation_is_uniform_with_torch_bounds():
  network = networks.convnet((32, 32, 3), 10, width=128)
  params = network.init(jax.random.key(3)).params
  for layer, bound in (
    ('conv0', 0.19245),
    ('conv1', 0.029463),
    ('classifier', 0.022097),
  ):
    kernel = np.asarray(params[layer]['kernel'])
    assert np.abs(kernel).max() <= bound * 1.0001
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)
    bias = np.asarray(params[layer]['bias'])
    assert 0 < np.abs(bias).max() <= bound * 1.0001
  assert np.all(np.asarray(params['norm0']['scale']) == 1)
  assert np.all(np.asarray(params['norm0']['bias']) == 0)


def test_he_fan_out_scheme():
  shapes = {'conv': {'kernel': jax.ShapeDtypeStruct((3, 3, 16, 64), 'float32')}}
  kernel = networks.draw_params(jax.random.key(0), shapes, 'he_fan_out')
  std = np.asarray(kernel['conv']['kernel']).std()
  assert std == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.03)


@pytest.mark.parametrize(
  ('size', 'padding', 'width'),
  [(3, 1, 6), (3, 1, 1), (3, 3, 6), (1, 0, 6), (5, 2, 6), (5, 1, 7)],
)
def test_forms_of_convolution_agree_to_second_order(size, padding, width):
  key = jax.random.key(0)
  images = jax.random.normal(key, (2, 6, width, 3))
  kernel = jax.random.normal(jax.random.fold_in(key, 1), (size, size, 3, 4))
  direction = jax.random.normal(jax.random.fold_in(key, 2), kernel.shape)

  def all_orders(form):
    def first(images, kernel):
      def loss(kernel):
        result = networks.convolve(images, kernel, padding=padding, form=form)
        return jnp.sum(jnp.sin(result))

      return jax.grad(loss)(kernel)

    def second(images, kernel):
      return jnp.vdot(first(images, kernel), direction)

    value = networks.convolve(images, kernel, padding=padding, form=form)
    return (
      value,
      first(images, kernel),
      jax.grad(second, (0, 1))(images, kernel),
    )

  expected = jax.jit(lambda: all_orders('lax'))()
  for form in ('patches', 'hybrid'):
    result = jax.jit(lambda form=form: all_orders(form))()
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4, rtol=2e-4),
      result,
      expected,
    )


@pytest.mark.parametrize('form', ['lax', 'patches', 'hybrid'])
def test_strided_convolution(form):
  images = jax.random.normal(jax.random.key(0), (2, 7, 8, 3))
  kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, 5))
  result = networks.convolve(images, kernel, padding=1, stride=2, form=form)
  expected = networks.convolve(images, kernel, padding=1, form='lax')
  np.testing.assert_allclose(result, expected[:, ::2, ::2], atol=1e-5)


def test_class_axis_by_vmap_equals_one_by_one():
  network = networks.convnet((16, 16, 3), 4, width=8, conv_form='hybrid')
  variables = jax.jit(network.init)(jax.random.key(0))
  images = jax.random.normal(jax.random.key(1), (3, 2, 16, 16, 3))

  @jax.jit
  def kernel_gradient(images):
    def loss(params):
      outputs, _ = network.apply(
        variables._replace(params=params), images, True
      )
      return jnp.sum(outputs.logits**2)

    return jax.grad(loss)(variables.params)['conv1']['kernel']

  together = jax.jit(jax.vmap(kernel_gradient))(images)
  for label in range(3):
    np.testing.assert_allclose(
      together[label], kernel_gradient(images[label]), atol=1e-3, rtol=1e-3
    )


# What shares a mean: the first two axes are images and groups of channels.
_NORMALISED = {
  'instance': (4, (2, 3, 4)),
  'layer': (1, (2, 3, 4)),
  'group': (4, (2, 3, 4)),
  'batch': (4, (0, 2, 3, 4)),
}


def _first_block(params, images, norm):
  """Convolution, norm and ReLU of a ConvNet, by plain NumPy."""
  kernel = np.asarray(params['conv0']['kernel'], np.float64)
  padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
  x = params['conv0']['bias'] + sum(
    padded[:, r : r + 8, c : c + 8] @ kernel[r, c]
    for r in range(3)
    for c in range(3)
  )
  if norm in _NORMALISED:
    groups, axes = _NORMALISED[norm]
    parts = np.moveaxis(x, -1, 1).reshape(len(x), groups, -1, 8, 8)
    centred = parts - parts.mean(axes, keepdims=True)
    centred /= np.sqrt(centred.var(axes, keepdims=True) + 1e-5)
    x = np.moveaxis(centred.reshape(len(x), -1, 8, 8), 1, -1)
    affine = params['norm0']
    scale, bias = np.asarray(affine['scale']), np.asarray(affine['bias'])
    x = x * scale + bias
  return np.maximum(x, 0)


@pytest.mark.parametrize(
  'norm', ['instance', 'batch', 'layer', 'group', 'none']
)
def test_every_norm_is_pytorchs_and_batch_norm_tracks(norm):
  network = networks.convnet((8, 8, 3), 3, width=4, depth=2, norm=norm)
  variables = jax.jit(network.init)(jax.random.key(0))
  # Affine parameters that are not 1 and 0.
  variables = variables._replace(
    params=jax.tree.map(
      lambda x: x + 0.3 * jnp.cos(jnp.arange(x.size)).reshape(x.shape),
      variables.params,
    )
  )
  images = jax.random.normal(jax.random.key(1), (5, 8, 8, 3)) + 3
  apply = jax.jit(network.apply, static_argnums=2)
  outputs, state = apply(variables, images, True)
  assert outputs.logits.shape == (5, 3)
  assert outputs.embedding.shape == (5, 4 * 2 * 2)
  np.testing.assert_allclose(
    outputs.unpooled[0],
    _first_block(variables.params, np.asarray(images, np.float64), norm),
    rtol=1e-4,
    atol=1e-5,
  )
  if norm != 'batch':
    assert state == {}
    return
  moved = state['batch_stats']['norm0']['mean']
  assert float(jnp.abs(moved).max()) > 0
  start = variables.state['batch_stats']['norm0']
  assert np.all(np.asarray(start['var']) == 1)


@pytest.mark.parametrize('pooling', ['avg', 'max', 'none'])
@pytest.mark.parametrize(
  'activation', ['relu', 'sigmoid', 'leaky_relu', 'swish']
)
def test_every_activation_and_pooling(activation, pooling):
  network = networks.convnet(
    (8, 8, 1), 3, width=4, depth=1, activation=activation, pooling=pooling
  )
  outputs = jax.jit(
    lambda key, images: network.apply(network.init(key), images, False)[0]
  )(jax.random.key(0), jnp.ones((2, 8, 8, 1)))
  assert np.isfinite(outputs.logits).all()


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'norm': 'batchnorm'}, "norm 'batchnorm'.*instance"),
    ({'pooling': 'mean'}, "pooling 'mean'.*avg"),
    ({'activation': 'gelu'}, "activation 'gelu'.*relu"),
    ({'depth': 9}, 'depth 9'),
    ({'depth': 0}, 'depth 0'),
    ({'width': 0}, 'width 0'),
    ({'width': 6, 'norm': 'group'}, 'multiple of 4'),
    ({'conv_form': 'fft'}, "'fft'.*patches"),
  ],
)
def test_bad_options_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    networks.convnet((32, 32, 3), 10, **options)


def test_unknown_network_and_option_list_the_known():
  with pytest.raises(ValueError, match=r"network 'vit'.*convnet"):
    networks.build({'name': 'vit'}, (32, 32, 3), 10)
  with pytest.raises(ValueError, match=r"no option 'widht'.*width"):
    networks.build({'name': 'convnet', 'widht': 3}, (32, 32, 3), 10)
  with pytest.raises(ValueError, match=r"'mlp': width=\(3, 4\) must be int"):
    networks.build('mlp:width=(3,4)', (32, 32, 3), 10)
  layered = networks.parse('network', 'convnet:width=(3,4,5)')
  for spec in (layered, 'convnet:width=(3,4,5)'):
    assert networks.build(spec, (32, 32, 3), 10).name == 'convnet3w3-4-5'


class _Linen(nn.Module):
  @nn.compact
  def __call__(self, images, train=False):
    x = nn.BatchNorm(use_running_average=not train)(images)
    return nn.Dense(3)(x.reshape(x.shape[0], -1))


class _Nnx(nnx.Module):
  def __init__(self, rngs):
    self.norm = nnx.BatchNorm(2, rngs=rngs)
    self.linear = nnx.Linear(4 * 4 * 2, 3, rngs=rngs)

  def __call__(self, images):
    x = self.norm(images)
    return self.linear(x.reshape(x.shape[0], -1))


@pytest.mark.parametrize('kind', ['linen', 'nnx'])
def test_adapters_for_own_modules(kind):
  if kind == 'linen':
    network = networks.from_linen(_Linen(), (4, 4, 2))
  else:
    network = networks.from_nnx(lambda rngs: _Nnx(rngs))
  init = jax.jit(network.init)
  variables, other = init(jax.random.key(0)), init(jax.random.key(1))
  images = jax.random.normal(jax.random.key(2), (5, 4, 4, 2)) + 2

  @jax.jit
  def run(variables):
    outputs, state = network.apply(variables, images, True)
    return outputs, state

  outputs, state = run(variables)
  assert isinstance(outputs, Outputs)
  assert outputs.logits.shape == (5, 3)
  assert jax.tree.structure(state) == jax.tree.structure(variables.state)
  moved = jax.tree.map(
    lambda a, b: float(jnp.abs(a - b).max()), state, variables.state
  )
  assert max(jax.tree.leaves(moved)) > 0
  assert not np.allclose(outputs.logits, run(other)[0].logits)
  frozen, same = jax.jit(network.apply, static_argnums=2)(
    variables, images, False
  )
  jax.tree.map(np.testing.assert_array_equal, same, variables.state)
  assert not np.allclose(frozen.logits, outputs.logits)

  def loss(params):
    outputs, _ = network.apply(variables._replace(params=params), images, True)
    return jnp.sum(outputs.logits**2)

  gradient = jax.grad(loss)(variables.params)
  assert jax.tree.structure(gradient) == jax.tree.structure(variables.params)


def test_images_and_weights_of_two_widths_are_refused_in_a_sentence():
  network = networks.convnet((8, 8, 1), 3, width=4, depth=2)
  variables = network.init(jax.random.key(0))
  images = jnp.ones((1, 8, 8, 1), jnp.float32)
  with jax.enable_x64(True):
    variables = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), variables)
    with pytest.raises(ValueError, match='images are float32, weights float64'):
      network.apply(variables, images, True)


@pytest.mark.parametrize('size', [2, 3])
def test_layers_for_a_tpu_are_the_same_functions(size):
  with jax.enable_x64(True):
    images = 3 + jax.random.normal(jax.random.key(0), (2, 7, 6, 3), jnp.float64)
    # A channel without variance, and a first pixel far from all others.
    images = images.at[0, :, :, 1].set(5.0).at[1, 0, 0].set(40.0)
    norm = networks._layers.InstanceNorm()
    params = norm.init(jax.random.key(1), images)

    def layers(images):
      return networks._layers.pool(norm.apply(params, images), 'avg', size)

    def sensitive(images):
      gradient = jax.grad(lambda x: jnp.sum(jnp.sin(layers(x))))
      return jnp.sum(gradient(images) ** 3)

    here = layers(images), jax.grad(sensitive)(images)
    with utils.traced_for('tpu'):
      there = layers(images), jax.grad(sensitive)(images)
  for x, y in zip(here, there, strict=True):
    np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
  ('name', 'form'), [('cpu', 'hybrid'), ('cuda', 'hybrid'), ('tpu', 'lax')]
)
def test_convolutions_take_the_form_of_their_platform(name, form, monkeypatch):
  monkeypatch.setattr(jax, 'device_count', lambda: 2)
  images, kernel = jnp.ones((2, 6, 6, 8)), jnp.ones((3, 3, 8, 8))

  def traced(form):
    def gradient(kernel):
      return jax.grad(
        lambda k: networks.convolve(images, k, padding=1, form=form).sum()
      )(kernel)

    return str(jax.jit(gradient).trace(kernel).jaxpr)

  with utils.traced_for(name):
    assert traced('auto') == traced(form)
    assert traced('auto') != traced({'lax': 'hybrid', 'hybrid': 'lax'}[form])


@pytest.mark.parametrize(
  ('name', 'devices', 'cpus', 'form'),
  [
    ('cpu', 1, 1, 'winograd'),
    ('cpu', 1, 2, 'hybrid'),  # its loops would leave one idle
    ('cpu', 2, 1, 'hybrid'),  # what they share is not for loops over images
    ('cuda', 1, 1, 'hybrid'),
    ('tpu', 1, 1, 'lax'),
  ],
)
def test_winograd_is_for_one_device_of_one_cpu(
  name, devices, cpus, form, monkeypatch
):
  for count in ('device_count', 'local_device_count'):
    monkeypatch.setattr(jax, count, lambda: devices)
  monkeypatch.setattr(_winograd, 'count_cpus', lambda: cpus)
  with utils.traced_for(name):
    assert networks.resolve_form('auto') == form


def test_winograd_is_for_each_device_of_a_shard_map(monkeypatch):
  monkeypatch.setattr(_winograd, 'count_cpus', lambda: jax.device_count())
  automatic = (jax.sharding.AxisType.Auto,)
  mesh = jax.make_mesh((jax.device_count(),), ('devices',), automatic)
  found = []

  def share(x):
    found.append(networks.resolve_form('auto'))
    return x

  jax.jit(
    jax.shard_map(
      share,
      mesh=mesh,
      in_specs=jax.P('devices'),
      out_specs=jax.P('devices'),
    )
  )(jnp.zeros(jax.device_count()))
  assert set(found) == {'winograd'}


@pytest.mark.parametrize(
  ('name', 'form'), [('cpu', 'patches'), ('cuda', 'lax')]
)
def test_strided_convolutions_take_the_form_of_their_platform(name, form):
  images, kernel = jnp.ones((2, 7, 7, 8)), jnp.ones((3, 3, 8, 8))

  def traced(form):
    def convolved(kernel):
      return networks.convolve(images, kernel, padding=1, stride=2, form=form)

    return str(jax.jit(convolved).trace(kernel).jaxpr)

  with utils.traced_for(name):
    assert traced('auto') == traced(form)


def test_lenet_takes_the_form_of_the_platform_it_is_traced_for():
  """So that a plan for another machine has that machine's programs."""

  def traced(form, platform):
    network = networks.lenet((28, 28, 1), 10, conv_form=form)
    variables = jax.eval_shape(network.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.float32)
    apply = jax.jit(lambda v, x: network.apply(v, x, False)[0].logits)
    with utils.traced_for(platform):
      return str(apply.trace(variables, images).jaxpr)

  assert traced('auto', 'tpu') == traced('lax', 'tpu')
  assert traced('auto', 'cpu') not in (
    traced(form, 'cpu') for form in ('lax', 'patches', 'hybrid', 'winograd')
  )


@pytest.mark.parametrize('shape', [(28, 28, 1), (17, 20, 3)])
def test_lenet_of_blocks_equals_one_of_convolutions(shape):
  """Also in what gradient matching takes: derivatives of derivatives."""
  images = jax.random.normal(jax.random.key(1), (3, *shape))

  def of(form):
    network = networks.lenet(shape, 10, conv_form=form)
    variables = network.init(jax.random.key(0))

    def loss(params, images):
      outputs, _ = network.apply(
        variables._replace(params=params), images, True
      )
      return jnp.sum(outputs.logits**2), outputs

    def first(params, images):
      gradient, outputs = jax.grad(loss, has_aux=True)(params, images)
      norm = sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))
      return norm, (gradient, outputs)

    second, (gradient, outputs) = jax.grad(first, (0, 1), has_aux=True)(
      variables.params, images
    )
    return outputs, gradient, second

  def compare(result, expected):
    size = float(jnp.abs(expected).max())
    np.testing.assert_allclose(result, expected, atol=1e-5 * size)

  jax.tree.map(
    compare, *(jax.jit(of, static_argnums=0)(f) for f in ('auto', 'lax'))
  )
