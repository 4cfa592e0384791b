"""Observers and students: sizes, layer inputs, PyTorch's state dicts."""

import functools
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dcjax import networks
from dcjax.networks import _classic, _depthwise, _registry, _swin

_CIFAR = (32, 32, 3)
_LARGE = (224, 224, 3)
# Tests run a program once or twice: compiling it fast is what counts.
_QUICK = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}
_LAX = {'conv_form': 'lax'}
_BN = {'norm': 'batch'}


def _fast(spec):
  """The network in the form that traces and compiles fastest."""
  takes = 'conv_form' in _registry.options_of(spec)
  return {**spec, **_LAX} if takes else spec


def _size(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _shapes(network):
  return jax.eval_shape(network.init, jax.random.key(0))


@pytest.mark.parametrize(
  ('spec', 'shape', 'classes', 'count'),
  [
    # torchvision's documented sizes.
    ({'name': 'resnet', 'depth': 18, **_BN}, _LARGE, 1000, 11_689_512),
    ({'name': 'resnet', 'depth': 50, **_BN}, _LARGE, 1000, 25_557_032),
    ({'name': 'resnet', 'depth': 101, **_BN}, _LARGE, 1000, 44_549_160),
    ({'name': 'mobilenet_v2'}, _LARGE, 1000, 3_504_872),
    ({'name': 'shufflenet_v2'}, _LARGE, 1000, 1_366_792),
    (
      {'name': 'shufflenet_v2', 'width_multiplier': 1.0},
      _LARGE,
      1000,
      2_278_604,
    ),
    (
      {'name': 'efficientnet_b0', 'form': 'torchvision'},
      _LARGE,
      1000,
      5_288_548,
    ),
    ({'name': 'alexnet', 'form': 'imagenet'}, _LARGE, 1000, 61_100_840),
    ({'name': 'vgg11', 'form': 'imagenet', **_BN}, _LARGE, 1000, 132_868_840),
    ({'name': 'swin_tiny'}, _LARGE, 1000, 28_288_354),
    ({'name': 'convnext_tiny'}, _LARGE, 1000, 28_589_128),
    # The size in DeiT's paper is rounded: this is timm's.
    ({'name': 'deit_tiny'}, _LARGE, 1000, 5_717_416),
    # The distillation literature's sizes for CIFAR-100.
    ({'name': 'mobilenet_v2'}, _CIFAR, 100, 812_836),
    (
      {'name': 'shufflenet_v2', 'width_multiplier': 1.0},
      _CIFAR,
      100,
      1_355_528,
    ),
    ({'name': 'wide_resnet'}, _CIFAR, 100, 703_284),
    ({'name': 'resnet', 'depth': 50, **_BN}, _CIFAR, 100, 23_705_252),
  ],
)
def test_parameter_count_is_the_published_one(spec, shape, classes, count):
  network = networks.build(_fast(spec), shape, classes)
  assert _size(_shapes(network).params) == count


@pytest.mark.parametrize(
  ('spec', 'shape', 'embedding', 'taps'),
  [
    (
      {'name': 'mobilenet_v2'},
      _LARGE,
      1280,
      [112, 112, 56, 28, 14, 14, 7, 7],
    ),
    ({'name': 'mobilenet_v2'}, _CIFAR, 1280, [16, 16, 16, 8, 4, 4, 2, 2]),
    ({'name': 'shufflenet_v2'}, _LARGE, 1024, [56, 28, 14, 7]),
    ({'name': 'shufflenet_v2'}, _CIFAR, 1024, [32, 16, 8, 4]),
    ({'name': 'wide_resnet'}, _CIFAR, 128, [32, 32, 16, 8]),
    ({'name': 'alexnet', 'form': 'imagenet'}, _LARGE, 4096, [27, 13, 6]),
    (
      {'name': 'vgg11', 'form': 'imagenet'},
      _LARGE,
      4096,
      [112, 56, 28, 14, 7],
    ),
    ({'name': 'swin_tiny'}, _LARGE, 768, [56, 28, 14, 7]),
    ({'name': 'convnext_tiny'}, _LARGE, 768, [56, 28, 14, 7]),
    ({'name': 'deit_tiny'}, _LARGE, 192, []),
  ],
)
def test_maps_shrink_as_published(spec, shape, embedding, taps):
  network = networks.build(_fast(spec), shape, 10)

  def run(key):
    return network.apply(network.init(key), jnp.zeros((2, *shape)), False)[0]

  outputs = jax.eval_shape(run, jax.random.key(0))
  assert outputs.logits.shape == (2, 10)
  assert outputs.embedding.shape == (2, embedding)
  assert [tap.shape[1:3] for tap in outputs.taps] == [(n, n) for n in taps]


_SMALL = [
  ({'name': 'wide_resnet', 'depth': 10, 'widen': 1, 'dropout': 0.2}, (8, 8, 3)),
  (
    {'name': 'deit_tiny', 'width': 6, 'depth': 2, 'patch_size': 4},
    (8, 8, 3),
  ),
  (
    {
      'name': 'swin_tiny',
      'width': 32,
      'depths': (2, 1),
      'window': 2,
      'patch_size': 1,
    },
    (5, 6, 3),
  ),
  (
    {'name': 'convnext_tiny', 'width': 4, 'depths': (1, 1), 'patch_size': 2},
    (8, 8, 3),
  ),
]


@pytest.mark.parametrize(('spec', 'shape'), _SMALL)
def test_training_moves_logits_and_state(spec, shape):
  network = networks.build(_fast(spec), shape, 3)

  def run(key):
    variables = network.init(key)
    images = jax.random.normal(jax.random.fold_in(key, 1), (4, *shape)) + 1

    def loss(params):
      outputs, state = network.apply(
        variables._replace(params=params), images, True
      )
      return jnp.sum(outputs.logits**2), (outputs.logits, state)

    gradient, (logits, state) = jax.grad(loss, has_aux=True)(variables.params)
    return gradient, logits, variables.state, state

  run = jax.jit(run, compiler_options=_QUICK)
  gradient, logits, before, after = run(jax.random.key(0))
  assert logits.shape == (4, 3)
  assert np.std(logits, axis=0).max() > 0
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
  assert jax.tree.structure(before) == jax.tree.structure(after)
  assert all(
    np.any(new != old)
    for new, old in zip(
      jax.tree.leaves(after), jax.tree.leaves(before), strict=True
    )
  )


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('padding', ['EVEN', 'SAME'])
def test_depthwise_forms_agree(stride, padding):
  rng = np.random.default_rng(0)
  images = jnp.asarray(rng.normal(size=(2, 6, 7, 3)), jnp.float32)
  shifted = _depthwise.DepthwiseConv(3, stride, padding, use_bias=True)
  grouped = shifted.clone(form='lax')
  variables = shifted.init(jax.random.key(0), images)
  expected = grouped.apply(variables, images)
  assert expected.shape == (2, 6 // stride, -(-7 // stride), 3)
  np.testing.assert_allclose(
    shifted.apply(variables, images), expected, rtol=1e-5, atol=1e-6
  )


def test_adaptive_pooling_averages_windows():
  images = np.arange(1.0, 16.0).reshape(1, 5, 3, 1)
  pooled = _depthwise.adaptive_average_pool(jnp.asarray(images, jnp.float32), 2)
  expected = [
    [images[0, r, c].mean() for c in (slice(0, 2), slice(1, 3))]
    for r in (slice(0, 3), slice(2, 5))
  ]
  np.testing.assert_allclose(pooled[0, :, :, 0], expected, rtol=1e-6)


def test_shifted_windows_keep_strangers_apart():
  mask = _swin.region_mask((4, 4), 2, (1, 1))[:, 0]
  assert mask.shape == (4, 4, 4)
  assert not mask[0].any()
  # The last window holds the four corners of the map: all are strangers.
  np.testing.assert_array_equal(mask[3] == 0, np.eye(4, dtype=bool))
  assert not _swin.region_mask((4, 4), 2, (0, 0)).any()


def test_swin_attends_within_a_window_only():
  module = _swin.WindowAttention(heads=1, window=2, shift=1)
  x = jax.random.normal(jax.random.key(0), (1, 4, 4, 4))
  variables = jax.jit(module.init)(jax.random.key(1), x)
  apply = jax.jit(module.apply)

  def seen(row, column):
    moved = x.at[0, row, column].add(1.0)
    change = apply(variables, moved) - apply(variables, x)
    return {
      tuple(map(int, at)) for at in np.argwhere(np.abs(change[0]).max(-1))
    }

  assert seen(1, 2) == {(1, 1), (1, 2), (2, 1), (2, 2)}
  assert seen(0, 0) == {(0, 0)}
  assert seen(3, 1) == {(3, 1), (3, 2)}


def test_layer_inputs_are_what_the_layers_see():
  network = networks.build(
    {'name': 'convnet', 'depth': 2, 'width': 4, **_BN, **_LAX}, (8, 8, 3), 3
  )
  variables = jax.jit(network.init)(jax.random.key(0))
  images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))

  @functools.partial(jax.jit, static_argnums=1)
  def run(images, train):
    return networks.layer_inputs(network, variables, images, train=train)

  inputs = run(images, False)
  assert list(inputs) == ['conv0', 'norm0', 'conv1', 'norm1']
  assert dict(networks.layer_kinds(network, (8, 8, 3))) == {
    'conv0': 'convolution',
    'norm0': 'batch_norm',
    'conv1': 'convolution',
    'norm1': 'batch_norm',
  }
  np.testing.assert_array_equal(inputs['conv0'], images)
  kernel = variables.params['conv0']['kernel']
  convolved = networks.convolve(images, kernel, padding=1, form='lax')
  convolved = convolved + variables.params['conv0']['bias']
  np.testing.assert_allclose(inputs['norm0'], convolved, rtol=1e-4, atol=1e-5)
  outputs, _ = network.apply(variables, images, False)
  np.testing.assert_allclose(
    inputs['conv1'], outputs.taps[0], rtol=1e-4, atol=1e-5
  )
  # Batch statistics change what the second block sees.
  assert np.abs(run(images, True)['conv1'] - inputs['conv1']).max() > 1e-3


def test_layer_inputs_have_gradients_in_the_images():
  network = networks.build(
    {'name': 'convnet', 'depth': 1, 'width': 2, **_BN, **_LAX}, (4, 4, 1), 2
  )
  variables = jax.jit(network.init)(jax.random.key(0))
  images = jax.random.normal(jax.random.key(1), (2, 4, 4, 1))

  @jax.jit
  def loss(images):
    seen = networks.observe(network, variables, images)
    means = [jnp.mean(x, (0, 1, 2)) for x in seen.inputs.values()]
    return sum(jnp.sum(mean**2) for mean in means)

  gradient = jax.jit(jax.grad(loss))(images)
  direction = jax.random.normal(jax.random.key(2), images.shape)
  above, below = (loss(images + s * direction) for s in (1e-2, -1e-2))
  assert float(jnp.vdot(gradient, direction)) == pytest.approx(
    float((above - below) / 2e-2), rel=1e-2
  )


@pytest.mark.parametrize(
  ('spec', 'shape', 'norms', 'convolutions', 'first', 'last'),
  [
    (
      {'name': 'resnet', 'depth': 18, **_BN},
      _LARGE,
      20,
      20,
      'stem_conv',
      'stage4_block1/norm2',
    ),
    ({'name': 'mobilenet_v2'}, _LARGE, 52, 52, 'stem_conv', 'head_norm'),
    ({'name': 'shufflenet_v2'}, _LARGE, 56, 56, 'stem_conv', 'head_norm'),
    ({'name': 'efficientnet_b0'}, _LARGE, 49, 81, 'stem_conv', 'head_norm'),
    (
      {'name': 'alexnet', 'form': 'imagenet'},
      _LARGE,
      0,
      5,
      'conv0',
      'conv4',
    ),
    ({'name': 'wide_resnet'}, _CIFAR, 13, 16, 'stem_conv', 'final_norm'),
    ({'name': 'convnet', 'depth': 1}, _CIFAR, 0, 1, 'conv0', 'conv0'),
  ],
)
def test_every_norm_and_convolution_is_seen(
  spec, shape, norms, convolutions, first, last
):
  network = networks.build(_fast(spec), shape, 10)
  kinds = networks.layer_kinds(network, shape)
  assert list(kinds.values()).count('batch_norm') == norms
  assert list(kinds.values()).count('convolution') == convolutions
  assert (next(iter(kinds)), next(reversed(kinds))) == (first, last)


class _Repeated(nn.Module):
  """A foreign network that applies one convolution twice."""

  @nn.compact
  def __call__(self, images):
    conv = nn.Conv(3, (1, 1), name='conv')
    return jnp.mean(conv(conv(images)), (1, 2))


def test_repeated_layers_are_counted():
  network = networks.from_linen(_Repeated(), (4, 4, 3))
  assert list(networks.layer_kinds(network, (4, 4, 3))) == ['conv', 'conv:1']


def test_networks_that_show_nothing_are_refused():
  with pytest.raises(ValueError, match=r"network 'linear'.*flax\.linen"):
    networks.layer_kinds(tiny.LINEAR, tiny.SHAPE)


def _fake_state(spec, shape, classes):
  """A random state dict of the network, with counters and other prefixes."""
  network = networks.build(spec, shape, classes)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    # Variances are not negative.
    lambda leaf: rng.uniform(size=leaf.shape).astype('float32'),
    _shapes(network),
  )
  return variables, networks.to_torch(variables, spec, shape, classes)


_TORCH_KEYS = [
  # (network, its entries without counters, some of its names)
  (
    {'name': 'resnet', 'depth': 18, **_BN},
    _LARGE,
    102,
    ['conv1.weight', 'layer2.0.downsample.1.running_var', 'fc.bias'],
  ),
  (
    {'name': 'resnet', 'depth': 50, **_BN},
    _LARGE,
    267,
    ['bn1.bias', 'layer1.0.downsample.0.weight', 'layer4.2.conv3.weight'],
  ),
  (
    {'name': 'mobilenet_v2'},
    _LARGE,
    262,
    [
      'features.0.1.running_mean',
      'features.1.conv.0.0.weight',
      'features.1.conv.2.weight',
      'features.2.conv.1.0.weight',
      'features.17.conv.3.bias',
      'features.18.0.weight',
      'classifier.1.weight',
    ],
  ),
  (
    {'name': 'mobilenet_v2'},
    _CIFAR,
    267,
    [
      'conv1.0.weight',
      'blocks.0.0.conv.1.bias',
      'blocks.6.0.conv.7.running_var',
      'conv2.1.weight',
      'classifier.0.bias',
    ],
  ),
  (
    {'name': 'shufflenet_v2'},
    _LARGE,
    282,
    [
      'conv1.0.weight',
      'stage2.0.branch1.3.running_mean',
      'stage3.7.branch2.6.weight',
      'conv5.1.bias',
      'fc.weight',
    ],
  ),
  (
    {'name': 'shufflenet_v2'},
    _CIFAR,
    282,
    ['conv1.weight', 'layer1.0.bn5.weight', 'layer3.3.conv3.weight'],
  ),
  (
    {'name': 'efficientnet_b0', 'form': 'torchvision'},
    _LARGE,
    311,
    [
      'features.0.0.weight',
      'features.1.0.block.1.fc1.bias',
      'features.1.0.block.2.1.running_var',
      'features.6.3.block.2.fc2.weight',
      'features.7.0.block.3.0.weight',
      'features.8.1.bias',
      'classifier.1.bias',
    ],
  ),
  (
    {'name': 'wide_resnet'},
    _CIFAR,
    70,
    [
      'block1.layer.0.convShortcut.weight',
      'block3.layer.1.bn2.bias',
      'bn1.bias',
    ],
  ),
  (
    {'name': 'alexnet'},
    _CIFAR,
    12,
    ['features.0.weight', 'features.10.bias', 'fc.weight'],
  ),
  (
    {'name': 'vgg11', **_BN},
    _CIFAR,
    50,
    ['features.0.weight', 'features.26.running_mean', 'classifier.bias'],
  ),
  (
    {'name': 'convnet', 'depth': 2, **_BN},
    _CIFAR,
    14,
    ['features.0.weight', 'features.5.running_var', 'classifier.weight'],
  ),
]


@pytest.mark.parametrize(('spec', 'shape', 'count', 'some'), _TORCH_KEYS)
def test_names_are_pytorchs(spec, shape, count, some):
  spec = _fast(spec)
  variables, state = _fake_state(spec, shape, 10)
  assert len(state) == count
  assert set(some) <= set(state)
  stored = {f'module.{name}': array for name, array in state.items()}
  stored['module.bn.num_batches_tracked'] = np.array(3)
  read = networks.load_torch({'state_dict': stored}, spec, shape, 10)
  tiny.assert_trees_equal(read.params, variables.params)
  for name in read.state:
    if name == 'dropout':
      assert not np.any(read.state[name]['key'])
    else:
      tiny.assert_trees_equal(read.state[name], variables.state[name])


@pytest.mark.parametrize(
  ('spec', 'rename'),
  [
    (
      {'name': 'resnet', 'width_multiplier': 0.0625, **_BN},
      lambda name: name.replace('downsample', 'shortcut').replace(
        'fc.', 'linear.'
      ),
    ),
    (
      {'name': 'convnet', 'depth': 2, 'width': 2},
      {
        'features.0': 'layers.conv.0',
        'features.1': 'layers.norm.0',
        'features.4': 'layers.conv.1',
        'features.5': 'layers.norm.1',
        'classifier': 'classifier',
      },
    ),
  ],
)
def test_other_spellings_are_understood(spec, rename):
  variables, state = _fake_state(spec, (16, 16, 3), 3)
  table = rename

  def renamed(name):
    if callable(table):
      return table(name)
    layer, _, kind = name.rpartition('.')
    return f'{table[layer]}.{kind}'

  stored = {renamed(name): array for name, array in state.items()}
  assert stored.keys() != state.keys()
  read = networks.load_torch(stored, spec, (16, 16, 3), 3)
  tiny.assert_trees_equal(read, variables)


_MOBILE_WIDTHS = (8, 8, 8, 8, 16, 24, 40, 80, 1280)


def _references():
  from torch_networks import (
    AlexNet,
    EfficientNetB0,
    MobileNetV2,
    ResNet18,
    ShuffleNetV2,
    Vgg11BatchNorm,
  )

  return {
    'resnet': (ResNet18(4, 3), {'depth': 18, 'form': 'large', **_BN}),
    'mobilenet_v2': (MobileNetV2(_MOBILE_WIDTHS, 3), {'form': 'imagenet'}),
    'shufflenet_v2': (ShuffleNetV2(3), {'form': 'imagenet'}),
    'efficientnet_b0': (
      EfficientNetB0(3),
      {'form': 'torchvision', 'dropout': 0, 'drop_connect': 0},
    ),
    'alexnet': (AlexNet(3, 5), {'form': 'imagenet'}),
    'vgg11': (Vgg11BatchNorm(2, 3, 5), {'form': 'imagenet', 'width': 2, **_BN}),
  }


_EXTRA = {
  'resnet': {'width_multiplier': 0.0625},
  'mobilenet_v2': {'width_multiplier': 0.25},
}


@pytest.mark.parametrize(
  ('name', 'size'),
  [
    ('resnet', 32),
    ('mobilenet_v2', 32),
    ('shufflenet_v2', 32),
    ('efficientnet_b0', 32),
    ('alexnet', 67),
    ('vgg11', 38),
  ],
)
def test_logits_are_pytorchs(name, size, monkeypatch):
  torch = pytest.importorskip('torch')
  import torch_networks

  for large in ('LargeAlexNet', 'LargeVgg11'):
    small = functools.partial(getattr(_classic, large), hidden=5)
    monkeypatch.setattr(_classic, large, small)
  torch.manual_seed(0)
  reference, options = _references()[name]
  reference = torch_networks.randomised(reference)
  spec = {'name': name, **options, **_EXTRA.get(name, {}), **_LAX}
  shape = (size, size, 3)
  variables = networks.load_torch(reference.state_dict(), spec, shape, 3)
  network = networks.build(spec, shape, 3)
  images = np.random.default_rng(0).normal(size=(3, *shape)).astype('float32')
  with torch.no_grad():
    channels_first = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    expected = reference(channels_first).numpy()
  run = jax.jit(
    lambda variables, x: network.apply(variables, x, False)[0].logits,
    compiler_options=_QUICK,
  )
  scale = np.std(expected)
  np.testing.assert_allclose(
    run(variables, images) / scale, expected / scale, atol=1e-4
  )
  back = networks.to_torch(variables, spec, shape, 3)
  stored = {
    key: value
    for key, value in reference.state_dict().items()
    if not key.endswith('num_batches_tracked')
  }
  assert back.keys() == stored.keys()
  for key, value in stored.items():
    np.testing.assert_array_equal(back[key], value)


_TINY = {'name': 'convnet', 'depth': 1, 'width': 2}


def test_files_are_read(tmp_path):
  torch = pytest.importorskip('torch')
  variables, state = _fake_state(_TINY, (4, 4, 3), 2)
  tensors = {
    name: torch.from_numpy(array.copy()) for name, array in state.items()
  }
  path = tmp_path / 'net.pth'
  torch.save({'epoch': 3, 'model': tensors}, path)
  read = networks.load_torch(path, _TINY, (4, 4, 3), 2)
  tiny.assert_trees_equal(read, variables)
  torch.save([1, 2], path)
  with pytest.raises(ValueError, match=r'net\.pth.*holds a list'):
    networks.load_torch(path, _TINY, (4, 4, 3), 2)


def test_safetensors_are_read(tmp_path):
  safetensors = pytest.importorskip('safetensors.numpy')
  variables, state = _fake_state(_TINY, (4, 4, 3), 2)
  path = tmp_path / 'net.safetensors'
  safetensors.save_file(
    {name: np.ascontiguousarray(array) for name, array in state.items()}, path
  )
  read = networks.load_torch(path, _TINY, (4, 4, 3), 2)
  tiny.assert_trees_equal(read, variables)


def test_bad_files_are_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'none\.pth.*no such file'):
    networks.load_torch(tmp_path / 'none.pth', _TINY, (4, 4, 3), 2)
  with pytest.raises(ValueError, match=r'net\.npz.*safetensors'):
    networks.load_torch(tmp_path / 'net.npz', _TINY, (4, 4, 3), 2)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
  path = tmp_path / 'net.pth'
  path.touch()
  monkeypatch.setitem(sys.modules, 'torch', None)
  with pytest.raises(ImportError, match="needs the package 'torch'"):
    networks.load_torch(path, _TINY, (4, 4, 3), 2)


def test_bad_entries_are_listed_together():
  _, state = _fake_state(_TINY, (4, 4, 3), 2)
  del state['features.0.bias'], state['features.1.weight']
  state['head.weight'] = np.zeros(3)
  state['classifier.weight'] = np.zeros((5, 8))
  with pytest.raises(ValueError) as error:
    networks.load_torch(state, _TINY, (4, 4, 3), 2)
  message = str(error.value)
  assert 'convnet1w2: of 6 entries' in message
  assert "2 missing ('features.0.bias', 'features.1.weight')" in message
  assert "1 not known ('head.weight')" in message
  assert "'classifier.weight' (5, 8) instead of (2, 8)" in message


def test_long_lists_of_entries_are_cut():
  spec = {'name': 'wide_resnet', 'depth': 10, 'widen': 1}
  with pytest.raises(ValueError, match=r"missing \('.*, \.\.\.\)$"):
    networks.load_torch({}, spec, (8, 8, 3), 2)


@pytest.mark.parametrize(
  ('spec', 'shape', 'message'),
  [
    ({'name': 'mobilenet_v2', 'form': 'large'}, _CIFAR, "form 'large'.*cifar"),
    ({'name': 'mobilenet_v2', 'width_multiplier': 0.01}, _CIFAR, 'width 0'),
    ({'name': 'mobilenet_v2', 'dropout': 1.0}, _CIFAR, r'dropout 1.0.*\[0, 1'),
    (
      {'name': 'shufflenet_v2', 'width_multiplier': 0.7},
      _CIFAR,
      'width_multiplier 0.7.*0.5',
    ),
    ({'name': 'shufflenet_v2', 'norm': 'bn'}, _CIFAR, "norm 'bn'.*batch"),
    ({'name': 'wide_resnet', 'depth': 18}, _CIFAR, r'depth 18.*6 n \+ 4'),
    ({'name': 'wide_resnet', 'widen': 0}, _CIFAR, 'widen 0'),
    ({'name': 'alexnet', 'form': 'imagenet'}, _CIFAR, '32x32.*alexnet'),
    ({'name': 'alexnet', 'dropout': 0.5}, _CIFAR, "dropout 0.5.*form 'dc'"),
    (
      {'name': 'alexnet', 'form': 'imagenet', **_BN},
      _LARGE,
      "norm of form 'imagenet' 'batch'.*none",
    ),
    ({'name': 'vgg11', 'form': 'imagenet'}, (30, 30, 3), '30x30.*vgg11'),
    ({'name': 'efficientnet_b0', 'form': 'tf'}, _LARGE, "form 'tf'.*torchv"),
    ({'name': 'deit_tiny'}, (60, 64, 3), 'patch_size 16.*60x64'),
    ({'name': 'deit_tiny', 'width': 64}, _CIFAR, 'width 64.*heads 3'),
    ({'name': 'swin_tiny', 'width': 40}, _CIFAR, 'width 40.*32'),
    ({'name': 'swin_tiny', 'depths': ()}, _CIFAR, 'depths 0'),
    ({'name': 'swin_tiny', 'drop_path': 2}, _CIFAR, 'drop_path 2'),
    ({'name': 'convnext_tiny'}, (16, 16, 3), '16x16.*convnext'),
  ],
)
def test_bad_options_are_named(spec, shape, message):
  with pytest.raises(ValueError, match=message):
    networks.build(spec, shape, 10)


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ({'name': 'mlp'}, "names 'mlp'.*resnet"),
    ({'name': 'efficientnet_b0'}, "'tensorflow'.*'torchvision'"),
  ],
)
def test_networks_without_names_are_refused(spec, message):
  with pytest.raises(ValueError, match=message):
    networks.load_torch({}, spec, _LARGE, 10)


def test_dropped_paths_are_warned_of():
  assert 'drop_path' in networks.warn_condensation({'name': 'swin_tiny'})
  assert networks.warn_condensation({'name': 'deit_tiny'}) is None
  assert _registry.options_of({'name': 'deit_tiny'})['heads'] == 3
