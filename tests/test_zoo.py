"""The network zoo: sizes, golden forward, statistics, state dicts, warnings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_layout

from dcjax import networks

_GREY = (28, 28, 1)
_COLOUR = (32, 32, 3)
_LARGE = (224, 224, 3)
_DC = {'depth': 18, 'form': 'dc'}
_DC_AP = {**_DC, 'average_pooling': True, 'global_pooling': False}


# Tests run a program once or twice: compiling it fast is what counts.
_QUICK = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}


def _build(name, shape, classes=10, **options):
  return networks.build({'name': name, **options}, shape, classes)


@pytest.mark.parametrize(
  ('name', 'shape', 'classes', 'options', 'count'),
  [
    ('convnet', _GREY, 10, {'width': 64}, 85_130),
    ('convnet', _GREY, 10, {'width': 256}, 1_225_226),
    ('convnet', _COLOUR, 10, {'width': 32}, 24_714),
    ('convnet', _COLOUR, 10, {'width': 64}, 86_282),
    ('convnet', _GREY, 10, {'depth': 2}, 231_306),
    ('convnet', _GREY, 10, {'depth': 4}, 450_186),
    ('convnet', _COLOUR, 10, {'depth': 1}, 331_530),
    ('convnet', _COLOUR, 10, {'depth': 2}, 233_610),
    ('convnet', _GREY, 10, {'norm': 'batch'}, 317_706),
    ('convnet', _GREY, 10, {'norm': 'group'}, 317_706),
    ('convnet', _COLOUR, 10, {'norm': 'group'}, 320_010),
    ('convnet', _COLOUR, 10, {'norm': 'none'}, 319_242),
    ('convnet', _COLOUR, 10, {'norm': 'layer'}, 663_306),
    ('convnet', _GREY, 10, {'pooling': 'none'}, 1_607_946),
    ('convnet', (64, 64, 3), 200, {}, 1_938_120),
    ('mlp', _GREY, 10, {}, 118_282),
    ('mlp', _COLOUR, 10, {}, 411_146),
    ('lenet', _GREY, 10, {}, 61_706),
    ('lenet', _COLOUR, 10, {}, 62_006),
    ('alexnet', _GREY, 10, {}, 1_865_802),
    ('alexnet', _GREY, 10, {'norm': 'batch'}, 1_867_722),
    ('alexnet', _COLOUR, 10, {}, 1_872_202),
    ('alexnet', _COLOUR, 10, {'norm': 'batch'}, 1_874_122),
    ('vgg11', _GREY, 10, {}, 9_229_962),
    ('vgg11', _GREY, 10, {'norm': 'batch'}, 9_229_962),
    ('vgg11', _COLOUR, 10, {}, 9_231_114),
    ('vgg11', _COLOUR, 10, {'norm': 'batch'}, 9_231_114),
    ('resnet', _GREY, 10, _DC, 11_172_810),
    ('resnet', _COLOUR, 10, _DC, 11_173_962),
    ('resnet', _GREY, 10, {'norm': 'batch', **_DC}, 11_172_810),
    ('resnet', _COLOUR, 10, {'norm': 'batch', **_DC}, 11_173_962),
    ('resnet', _GREY, 10, {'norm': 'batch', **_DC_AP}, 11_213_770),
    ('resnet', _COLOUR, 10, {'norm': 'batch', **_DC_AP}, 11_250_762),
    ('resnet', _COLOUR, 10, {'form': 'cifar_thin'}, 1_228_970),
    (
      'resnet',
      _COLOUR,
      10,
      {'form': 'cifar_thin', 'average_pooling': True},
      1_228_970,
    ),
    ('resnet', _COLOUR, 10, {'form': 'cifar_thin', 'depth': 18}, 2_797_610),
    ('resnet', _COLOUR, 10, {}, 4_903_242),
    ('resnet', _GREY, 10, {}, 4_902_090),
    ('resnet', _LARGE, 10, {}, 4_910_922),
    ('resnet', _LARGE, 10, {'average_pooling': True}, 4_910_922),
    ('resnet', _LARGE, 100, {}, 4_957_092),
    ('resnet', _LARGE, 100, {'average_pooling': True}, 4_957_092),
    ('resnet', _LARGE, 10, {'depth': 18}, 11_181_642),
    ('resnet', _LARGE, 100, {'depth': 18}, 11_227_812),
    # torchvision's documented sizes, for 1000 classes.
    ('resnet', _LARGE, 1000, {'depth': 34}, 21_797_672),
    ('resnet', _LARGE, 1000, {'depth': 50}, 25_557_032),
    ('resnet', _LARGE, 1000, {'depth': 101}, 44_549_160),
    ('densenet121', _LARGE, 1000, {}, 7_978_856),
    ('densenet121', _COLOUR, 10, {}, 1_000_618),
    ('densenet121', _COLOUR, 100, {}, 1_035_268),
    ('densenet121', _COLOUR, 10, {'growth': 32}, 6_956_298),
    ('efficientnet_b0', _LARGE, 10, {}, 4_020_358),
    ('efficientnet_b0', _LARGE, 100, {}, 4_135_648),
  ],
)
def test_parameter_count_is_the_reference(name, shape, classes, options, count):
  network = _build(name, shape, classes, **options)
  variables = jax.eval_shape(network.init, jax.random.key(0))
  assert sum(leaf.size for leaf in jax.tree.leaves(variables.params)) == count


@pytest.mark.parametrize(
  ('name', 'shape', 'options', 'embedding', 'taps'),
  [
    ('mlp', _GREY, {}, 128, []),
    ('lenet', _COLOUR, {}, 84, [(14, 6), (5, 16)]),
    ('alexnet', _GREY, {}, 3072, [(16, 128), (8, 192), (4, 192)]),
    (
      'vgg11',
      _GREY,
      {},
      512,
      [(16, 64), (8, 128), (4, 256), (2, 512), (1, 512)],
    ),
    (
      'resnet',
      _LARGE,
      {},
      512,
      [(56, 64), (56, 64), (28, 128), (14, 256), (7, 512)],
    ),
    (
      'resnet',
      (128, 128, 3),
      {'depth': 50},
      2048,
      [(64, 64), (64, 256), (32, 512), (16, 1024), (8, 2048)],
    ),
    (
      'resnet',
      (96, 96, 3),
      {'depth': 50, 'average_pooling': True},
      2048,
      [(48, 64), (48, 256), (24, 512), (12, 1024), (6, 2048)],
    ),
    (
      'resnet',
      _GREY,
      _DC_AP,
      4608,
      [(28, 64), (28, 64), (14, 128), (7, 256), (3, 512)],
    ),
    (
      'resnet',
      _GREY,
      {'form': 'cifar_thin'},
      256,
      [(28, 32), (28, 32), (14, 64), (7, 128), (4, 256)],
    ),
    (
      'densenet121',
      _COLOUR,
      {},
      384,
      [(32, 24), (16, 48), (8, 96), (4, 192), (4, 384)],
    ),
    (
      'densenet121',
      _LARGE,
      {},
      1024,
      [(56, 64), (28, 128), (14, 256), (7, 512), (7, 1024)],
    ),
    (
      'efficientnet_b0',
      _LARGE,
      {},
      1280,
      [
        *((112, 32), (112, 16), (56, 24), (28, 40)),
        *((14, 80), (14, 112), (7, 192), (7, 320)),
      ],
    ),
  ],
)
def test_feature_maps_have_the_papers_sizes(
  name, shape, options, embedding, taps
):
  network = _build(name, shape, **options)

  def run(key):
    return network.apply(network.init(key), jnp.zeros((2, *shape)), False)[0]

  outputs = jax.eval_shape(run, jax.random.key(0))
  assert outputs.logits.shape == (2, 10)
  assert outputs.embedding.shape == (2, embedding)
  assert [tap.shape for tap in outputs.taps] == [
    (2, size, size, width) for size, width in taps
  ]


# The smallest images that each network takes.
_TINY = [
  ('mlp', (2, 2, 3), {'width': 4}),
  ('lenet', (16, 16, 3), {}),
  ('alexnet', (8, 8, 3), {'norm': 'batch'}),
  ('vgg11', _GREY, {'width': 4, 'norm': 'batch'}),
  ('resnet', (16, 16, 3), {'width_multiplier': 0.125, 'norm': 'batch'}),
  ('densenet121', (8, 8, 3), {'growth': 2}),
]


@pytest.mark.parametrize(('name', 'shape', 'options'), _TINY)
def test_training_step_runs_and_tracks(name, shape, options):
  if name != 'mlp':
    options = {'conv_form': 'lax', **options}
  network = _build(name, shape, 3, **options)

  def run(key):
    variables = network.init(key)
    images = jax.random.normal(jax.random.fold_in(key, 1), (4, *shape)) + 2
    outputs, state = network.apply(variables, images, True)
    return outputs.logits, variables.state, state

  run = jax.jit(run, compiler_options=_QUICK)
  logits, before, after = run(jax.random.key(0))
  assert logits.shape == (4, 3)
  assert np.isfinite(logits).all()
  assert np.std(logits, axis=0).max() > 0
  assert jax.tree.structure(before) == jax.tree.structure(after)
  if name in ('mlp', 'lenet'):
    assert after == {}
    return
  for path, leaf in jax.tree_util.tree_leaves_with_path(before):
    if path[-1].key in ('mean', 'var'):
      assert np.all(np.asarray(leaf) == (path[-1].key == 'var'))
  for path, leaf in jax.tree_util.tree_leaves_with_path(after):
    old = before
    for entry in path:
      old = old[entry.key]
    assert np.any(np.asarray(leaf) != np.asarray(old)), path


def test_batch_norm_state_has_a_mean_and_a_variance_for_each_norm():
  network = _build('resnet', _COLOUR, form='cifar_thin', norm='batch')
  state = jax.eval_shape(network.init, jax.random.key(0)).state
  assert list(state) == ['batch_stats']
  shapes = {
    '/'.join(entry.key for entry in path): leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(state['batch_stats'])
  }
  assert shapes['stem_norm/mean'] == (32,)
  assert shapes['stage4_block0/shortcut_norm/var'] == (256,)
  assert len(shapes) == 2 * (1 + 4 * 2 + 3)


def _conv_deviation(form):
  network = _build('resnet', _COLOUR, form=form, width_multiplier=0.25)
  params = jax.jit(network.init)(jax.random.key(0)).params
  return float(np.std(np.asarray(params['stage4_block0']['conv2']['kernel'])))


def test_resnets_start_as_idc_or_as_pytorch():
  he_fan_out = np.sqrt(2 / (9 * 64))
  assert _conv_deviation('cifar_thin') == pytest.approx(he_fan_out, rel=0.02)
  torch_default = 1 / np.sqrt(3 * 9 * 128)
  assert _conv_deviation('dc') == pytest.approx(torch_default, rel=0.02)


def test_stem_max_pooling_has_second_derivatives():
  network = _build(
    'resnet',
    (16, 16, 3),
    form='mid',
    norm='none',
    width_multiplier=0.0625,
    conv_form='lax',
  )
  variables = jax.jit(network.init)(jax.random.key(0))

  def distance(images):
    def loss(params):
      outputs, _ = network.apply(
        variables._replace(params=params), images, True
      )
      return jnp.sum(outputs.logits**2)

    gradient = jax.grad(loss)(variables.params)
    return jnp.sum(gradient['stem_conv']['kernel'] ** 2)

  images = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
  direction = jax.random.normal(jax.random.key(2), images.shape)
  run = jax.jit(jax.value_and_grad(distance), compiler_options=_QUICK)
  slope = jnp.vdot(run(images)[1], direction)
  step = 1e-3
  above, below = (run(images + s * direction)[0] for s in (step, -step))
  assert float(slope) == pytest.approx(
    float((above - below) / (2 * step)), rel=0.05
  )


@pytest.fixture(scope='module')
def resnetap(golden):
  """Network, state dict and the rest of the golden ResNetAP-10."""
  data = golden('resnetap10_in_224_width0125')
  weights = {name[2:]: data[name] for name in data if name.startswith('w/')}
  network = _build(
    'resnet', _LARGE, average_pooling=True, width_multiplier=0.125
  )
  return network, weights, data


def test_resnetap_forward_meets_the_reference(resnetap):
  network, weights, data = resnetap
  variables = networks.from_torch_state(network, weights, 'resnet')
  images = torch_layout.images(data['x'])
  outputs, _ = jax.jit(network.apply, static_argnums=2)(
    variables, images, False
  )
  np.testing.assert_allclose(
    outputs.logits, data['logits'], atol=1e-5, rtol=1e-4
  )


def test_resnet_names_of_dc_mean_the_same_as_those_of_idc(resnetap):
  network, weights, _ = resnetap
  renamed = {
    'module.'
    + name.removeprefix('layer0/')
    .replace('downsample', 'shortcut')
    .replace('fc/', 'classifier/')
    .replace('/', '.'): array
    for name, array in weights.items()
  }
  jax.tree.map(
    np.testing.assert_array_equal,
    networks.from_torch_state(network, renamed, 'resnet'),
    networks.from_torch_state(network, weights, 'resnet'),
  )


def _convolved(x, weight, bias):
  """PyTorch's convolution of `[N, I, H, W]`, size kept, by plain NumPy."""
  size = weight.shape[-1]
  reach = ((0, 0), (0, 0), *((size // 2, size // 2),) * 2)
  windows = np.lib.stride_tricks.sliding_window_view(
    np.pad(x, reach), (size, size), (2, 3)
  )
  return (
    np.einsum('nihwrs,oirs->nohw', windows, weight, optimize=True)
    + (bias[:, None, None])
  )


def _sequential(state, x):
  """Convolution, BatchNorm, ReLU and, where an index is left out, pooling."""
  indices = sorted(
    int(name.split('.')[1])
    for name, array in state.items()
    if name.startswith('features.') and array.ndim == 4
  )
  for index, following in zip(indices, [*indices[1:], np.inf], strict=True):
    part = [
      state[f'features.{index + place}.{name}']
      for place, name in (
        (0, 'weight'),
        (0, 'bias'),
        (1, 'weight'),
        (1, 'bias'),
        (1, 'running_mean'),
        (1, 'running_var'),
      )
    ]
    x = _convolved(x, *part[:2])
    scale, shift, mean, var = (array[:, None, None] for array in part[2:])
    x = np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + shift, 0)
    if following > index + 3:
      n, channels, height, width = x.shape
      cells = x.reshape(n, channels, height // 2, 2, width // 2, 2)
      x = cells.max((3, 5))
  return x.reshape(len(x), -1)


@pytest.mark.parametrize(
  ('name', 'options', 'head'),
  [('alexnet', {}, 'fc'), ('vgg11', {'width': 4}, 'classifier')],
)
def test_networks_of_dc_compute_what_their_states_say(name, options, head):
  spec = {'name': name, 'norm': 'batch', **options}
  network = networks.build(spec, (32, 32, 3), 5)

  @jax.jit
  def moved(key):
    return jax.tree.map(
      lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape) ** 2,
      network.init(key),
    )

  variables = moved(jax.random.key(0))
  state = networks.to_torch(variables, spec, (32, 32, 3), 5)
  images = np.random.default_rng(0).normal(size=(2, 3, 32, 32))
  expected = _sequential(state, images) @ state[f'{head}.weight'].T
  found, _ = jax.jit(network.apply, static_argnums=2)(
    variables, torch_layout.images(images), False
  )
  np.testing.assert_allclose(
    found.logits,
    expected + state[f'{head}.bias'],
    rtol=1e-4,
    atol=1e-5 * np.abs(expected).max(),
  )


@pytest.mark.parametrize('naming', ['idc', 'dc'])
def test_convnet_state_meets_the_reference(golden, naming):
  data = golden('matchloss_convnet3_w16_28x1')
  weights = {name[2:]: data[name] for name in data if name.startswith('w/')}
  if naming == 'dc':
    offset = {'conv': 0, 'norm': 1}

    def renamed(name):
      if name.startswith('classifier'):
        return name
      _, kind, block, leaf = name.split('/')
      return f'features.{4 * int(block) + offset[kind]}.{leaf}'

    weights = {renamed(name): array for name, array in weights.items()}
  network = _build('convnet', _GREY, width=16)
  variables = networks.from_torch_state(network, weights, 'convnet')
  outputs, _ = jax.jit(network.apply, static_argnums=2)(
    variables, torch_layout.images(data['x_real']), False
  )
  np.testing.assert_allclose(
    outputs.logits, data['logits_real'], atol=1e-5, rtol=1e-4
  )


@pytest.mark.parametrize('as_function', [False, True])
def test_own_names_and_channels_first_pixels(as_function):
  rng = np.random.default_rng(0)
  images = rng.normal(size=(2, 3, 4, 5)).astype('float32')
  sizes = (60, 7, 7, 3)
  weights = {}
  for index in range(3):
    weights[f'fc_{index + 1}.weight'] = rng.normal(
      size=(sizes[index + 1], sizes[index])
    )
    weights[f'fc_{index + 1}.bias'] = rng.normal(size=sizes[index + 1])
  expected = images.reshape(2, -1)
  for index in range(3):
    if index:
      expected = np.maximum(expected, 0)
    expected = expected @ weights[f'fc_{index + 1}.weight'].T
    expected = expected + weights[f'fc_{index + 1}.bias']
  table = {'fc_1': 'dense0', 'fc_2': 'dense1', 'fc_3': 'classifier'}
  network = _build('mlp', (4, 5, 3), 3, width=7)
  variables = networks.from_torch_state(
    network,
    weights,
    table.__getitem__ if as_function else table,
    feature_shape=(4, 5, 3),
  )
  outputs, _ = network.apply(variables, torch_layout.images(images), False)
  np.testing.assert_allclose(outputs.logits, expected, rtol=1e-4, atol=1e-4)


def _thin_state(network):
  """A state dict in IDC's names for a thin BatchNorm ResNet."""
  variables = jax.jit(network.init)(jax.random.key(3))
  rename = {'kernel': 'weight', 'scale': 'weight', 'bias': 'bias'}
  rename |= {'mean': 'running_mean', 'var': 'running_var'}
  state = {}
  for tree in (variables.params, variables.state['batch_stats']):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      *layer, kind = [entry.key for entry in path]
      name = '/'.join(layer)
      for old, new in (
        ('stem_conv', 'layer0/conv1'),
        ('stem_norm', 'layer0/bn1'),
        ('classifier', 'fc'),
        ('stage', 'layer'),
        ('_block', '/'),
        ('shortcut_conv', 'downsample/0'),
        ('shortcut_norm', 'downsample/1'),
        ('norm', 'bn'),
      ):
        name = name.replace(old, new)
      array = np.asarray(leaf)
      if kind == 'kernel':
        array = np.moveaxis(array, -1, 0)
        array = np.moveaxis(array, -1, 1) if array.ndim == 4 else array
      state[f'{name}/{rename[kind]}'] = array
      if kind == 'mean':
        state[f'{name}/num_batches_tracked'] = np.array(5)
        state[f'{name}/running_mean'] = array + 2
  return variables, state


def test_batch_norm_statistics_are_read():
  network = _build(
    'resnet', (16, 16, 3), form='cifar_thin', norm='batch', width_multiplier=0.1
  )
  variables, state = _thin_state(network)
  read = networks.from_torch_state(network, state, 'resnet')
  jax.tree.map(np.testing.assert_array_equal, read.params, variables.params)
  stem = read.state['batch_stats']['stem_norm']
  np.testing.assert_array_equal(stem['mean'], np.full(3, 2.0))
  np.testing.assert_array_equal(stem['var'], np.ones(3))


def test_bad_state_dicts_are_named(golden):
  data = golden('matchloss_convnet3_w16_28x1')
  weights = {name[2:]: data[name] for name in data if name.startswith('w/')}
  network = _build('convnet', _GREY, width=16)

  def read(changes, names='convnet', network=network, **options):
    changed = {**weights, **changes}
    changed = {k: v for k, v in changed.items() if v is not None}
    return networks.from_torch_state(network, changed, names, **options)

  with pytest.raises(ValueError, match=r"nothing for \['conv1/bias'\]"):
    read({'layers/conv/1/bias': None})
  with pytest.raises(ValueError, match=r"'layers/conv/3/weight'.*conv3"):
    read({'layers/conv/3/weight': np.zeros((16, 16, 3, 3))})
  with pytest.raises(ValueError, match=r"'layers/conv/0/weight'.*\(5, 5, 1"):
    read({'layers/conv/0/weight': np.zeros((16, 1, 5, 5))})
  with pytest.raises(ValueError, match=r'running_mean.*norm0/mean'):
    read({'layers/norm/0/running_mean': np.zeros(16)})
  with pytest.raises(ValueError, match=r"'classifier/weight'.*feature_shape"):
    read({}, feature_shape=(3, 3, 16))
  with pytest.raises(ValueError, match=r"names 'vgg'.*convnet"):
    read({}, names='vgg')


def test_efficientnet_drops_anew_in_each_step_and_never_in_evaluation():
  network = _build('efficientnet_b0', (8, 8, 3), 3)
  images = jax.random.normal(jax.random.key(1), (3, 8, 8, 3))
  init = jax.jit(network.init)
  start, other = init(jax.random.key(0)), init(jax.random.key(7))

  def step(variables):
    outputs, state = network.apply(variables, images, True)
    return outputs.logits, state

  run = jax.jit(step, compiler_options=_QUICK)
  first, state = run(start)
  again, _ = run(start)
  second, _ = run(
    start._replace(state={**start.state, 'dropout': state['dropout']})
  )
  assert first.shape == (3, 3)
  assert np.isfinite(first).all()
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - second).max() > 1e-3
  keys = [tree['dropout']['key'] for tree in (start.state, state, other.state)]
  assert len({tuple(np.asarray(key).tolist()) for key in keys}) == 3
  moved = state['batch_stats']['head_norm']['mean']
  assert float(np.abs(moved).max()) > 0

  def evaluate(variables):
    return network.apply(variables, images, False)

  assert 'random_bits' in str(jax.make_jaxpr(step)(start))
  assert 'random_bits' not in str(jax.make_jaxpr(evaluate)(start))
  _, kept = jax.eval_shape(evaluate, start)
  assert jax.tree.structure(kept) == jax.tree.structure(start.state)


def test_dropping_keeps_the_mean():
  from dcjax.networks import _efficientnet

  ones = jnp.ones((2000, 2))
  dropped = _efficientnet.drop(jax.random.key(0), ones, 0.25, (2000, 1))
  np.testing.assert_allclose(np.unique(dropped), [0, 4 / 3], rtol=1e-6)
  np.testing.assert_array_equal(dropped[:, 0], dropped[:, 1])
  assert float(dropped.mean()) == pytest.approx(1, abs=0.05)
  assert _efficientnet.drop(None, ones, 0.25, (2000, 1)) is ones


def test_rates_of_zero_leave_no_key_in_the_state():
  network = _build('efficientnet_b0', _LARGE, dropout=0, drop_connect=0)
  state = jax.eval_shape(network.init, jax.random.key(0)).state
  assert list(state) == ['batch_stats']


@pytest.mark.parametrize(
  ('name', 'shape', 'options', 'message'),
  [
    ('mlp', _GREY, {'depth': 0}, 'depth 0'),
    ('mlp', _GREY, {'width': 0}, 'width 0'),
    ('lenet', (15, 15, 3), {}, '15x15.*lenet'),
    ('lenet', _GREY, {'conv_form': 'fft'}, "'fft'.*patches"),
    ('alexnet', (7, 7, 3), {}, '7x7.*alexnet'),
    ('alexnet', _COLOUR, {'norm': 'bn'}, "norm 'bn'.*batch"),
    ('vgg11', (28, 28, 3), {}, '28x28.*vgg11'),
    ('vgg11', _COLOUR, {'width': 6, 'norm': 'group'}, 'multiple of 4'),
    ('resnet', _COLOUR, {'form': 'thin'}, "form 'thin'.*cifar_thin"),
    ('resnet', _COLOUR, {'depth': 20}, 'depth 20.*18'),
    ('resnet', _COLOUR, {'form': 'cifar_thin', 'depth': 7}, 'depth 7'),
    ('resnet', _COLOUR, {'width_multiplier': 0.01}, 'width 0'),
    ('resnet', (8, 8, 3), {}, "8x8.*resnet10.*'instance'"),
    ('resnet', (7, 7, 3), {'average_pooling': True}, '7x7.*resnetap10'),
    ('densenet121', (7, 7, 3), {}, '7x7.*densenet121'),
    ('densenet121', _COLOUR, {'growth': 0}, 'growth 0'),
    ('densenet121', _COLOUR, {'form': 'large'}, "form 'large'.*imagenet"),
    ('densenet121', _COLOUR, {'growth': 5, 'norm': 'group'}, 'multiple of 4'),
    ('efficientnet_b0', _LARGE, {'dropout': 1.0}, r'dropout 1.0.*\[0, 1\)'),
    ('efficientnet_b0', _LARGE, {'drop_connect': -1}, 'drop_connect -1'),
    ('efficientnet_b0', _COLOUR, {'norm': 'instance'}, '32x32'),
  ],
)
def test_bad_options_are_named(name, shape, options, message):
  with pytest.raises(ValueError, match=message):
    _build(name, shape, **options)


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ({'name': 'convnet'}, None),
    ({'name': 'mlp'}, None),
    ({'name': 'resnet', 'average_pooling': True}, None),
    ({'name': 'densenet121', 'norm': 'instance'}, None),
    ({'name': 'convnet', 'norm': 'batch'}, 'batch norm'),
    ({'name': 'vgg11', 'norm': 'batch'}, 'dsa, which freeze them'),
    ({'name': 'densenet121'}, 'batch norm'),
    ({'name': 'efficientnet_b0', 'norm': 'none'}, 'dropout and drop_connect'),
    (
      {
        'name': 'efficientnet_b0',
        'norm': 'none',
        'dropout': 0,
        'drop_connect': 0,
      },
      None,
    ),
  ],
)
def test_condensation_warning(spec, message):
  warning = networks.warn_condensation(spec)
  if message is None:
    assert warning is None
  else:
    assert message in warning
    assert spec['name'] in warning


def test_condensation_warning_knows_the_names():
  assert set(networks.names()) >= {'convnet', 'resnet', 'vgg11', 'mlp'}
  with pytest.raises(ValueError, match=r"network 'vit'.*resnet"):
    networks.warn_condensation({'name': 'vit'})
