"""Flax modules of all kinds as networks."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dcjax
from dcjax import networks, objectives

_SHAPE = (4, 4, 1)
_IMAGES = np.random.default_rng(0).uniform(size=(6, *_SHAPE)).astype('float32')
_KEY = jax.random.key(0)


class _Plain(nn.Module):
  """Has no `train`."""

  @nn.compact
  def __call__(self, images):
    return nn.Dense(3)(images.reshape(images.shape[0], -1))


class _Dropped(nn.Module):
  norm: bool = False

  @nn.compact
  def __call__(self, images, train: bool):
    x = images.reshape(images.shape[0], -1)
    if self.norm:
      x = nn.BatchNorm(use_running_average=not train)(x)
    return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))


class _Nnx(nnx.Module):
  """Takes `train`, and has its own random stream."""

  def __init__(self, rngs):
    self.drop = nnx.Dropout(0.5, rngs=rngs)
    self.linear = nnx.Linear(16, 3, rngs=rngs)

  def __call__(self, images, train=None):
    assert train is not None
    x = self.drop(images.reshape(images.shape[0], -1), deterministic=not train)
    return self.linear(x)


def _logits(network, variables, train):
  outputs, state = jax.jit(network.apply, static_argnums=2)(
    variables, _IMAGES, train
  )
  return np.asarray(outputs.logits), variables._replace(state=state)


def test_a_linen_module_without_train():
  network = networks.from_linen(_Plain(), _SHAPE)
  variables = network.init(_KEY)
  trained, after = _logits(network, variables, True)
  tested, _ = _logits(network, variables, False)
  assert trained.shape == (6, 3)
  np.testing.assert_array_equal(trained, tested)
  assert after.state == {}


@pytest.mark.parametrize('norm', [False, True])
@pytest.mark.parametrize('init', ['module', 'torch'])
def test_dropout_of_a_linen_module(norm, init):
  network = networks.from_linen(_Dropped(norm), _SHAPE, init=init, dropout=True)
  variables = network.init(_KEY)
  first, following = _logits(network, variables, True)
  again, _ = _logits(network, variables, True)
  second, last = _logits(network, following, True)
  np.testing.assert_array_equal(first, again)
  assert not np.allclose(first, second)
  assert set(last.state) == {'dropout', *(['batch_stats'] if norm else [])}
  assert jax.tree.structure(last) == jax.tree.structure(variables)
  tested, unchanged = _logits(network, following, False)
  assert not np.allclose(tested, second)
  jax.tree.map(np.testing.assert_array_equal, unchanged, following)
  other = network.init(jax.random.key(1)).state['dropout']['key']
  assert not np.array_equal(other, variables.state['dropout']['key'])


def test_dropout_that_was_not_asked_for():
  with pytest.raises(ValueError, match=r"network 'mine' .*dropout=True"):
    networks.from_linen(_Dropped(), _SHAPE, name='mine')


def test_an_nnx_module_with_train_and_dropout():
  network = networks.from_nnx(lambda rngs: _Nnx(rngs))
  variables = network.init(_KEY)
  first, following = _logits(network, variables, True)
  second, _ = _logits(network, following, True)
  assert not np.allclose(first, second)
  tested = [_logits(network, v, False)[0] for v in (variables, following)]
  np.testing.assert_array_equal(*tested)


def _flat(images):
  return images.reshape(images.shape[0], -1)


@pytest.mark.parametrize('argument', ['call', 'field'])
@pytest.mark.parametrize(
  ('name', 'training'),
  [
    ('train', True),
    ('training', True),
    ('is_training', True),
    ('deterministic', False),
    ('use_running_average', False),
  ],
)
def test_every_usual_switch_is_served(argument, name, training):
  def forward(self, images, on):
    return nn.Dense(3)(nn.BatchNorm(use_running_average=not on)(_flat(images)))

  if argument == 'call':
    source = (
      f'def __call__(self, a, {name}): '
      f'return run(self, a, {name} == {training})'
    )
  else:
    source = (
      f'def __call__(self, a): return run(self, a, self.{name} == {training})'
    )
  scope = {'run': forward}
  exec(source, scope)
  fields = {} if argument == 'call' else {name: not training}
  members = {
    '__call__': nn.compact(scope['__call__']),
    '__annotations__': dict.fromkeys(fields, bool),
    **fields,
  }
  module = type('Switched', (nn.Module,), members)()
  network = networks.from_linen(module, _SHAPE)
  variables = network.init(_KEY)
  trained, after = _logits(network, variables, True)
  tested, unchanged = _logits(network, variables, False)
  assert not np.allclose(trained, tested)
  jax.tree.map(np.testing.assert_array_equal, unchanged, variables)
  moved = jax.tree.leaves(after.state)
  assert any(
    (a != b).any()
    for a, b in zip(moved, jax.tree.leaves(variables.state), strict=True)
  )


def test_sequential_modules_get_no_argument_they_do_not_name():
  layers = [nn.Conv(4, (3, 3)), nn.relu, _flat, nn.Dense(3)]
  made = {
    'linen': networks.from_linen(nn.Sequential(layers), _SHAPE, num_classes=3),
    'nnx': networks.from_nnx(
      lambda rngs: nnx.Sequential(
        nnx.Conv(1, 4, (3, 3), rngs=rngs),
        nnx.relu,
        nnx.BatchNorm(4, rngs=rngs),
        nnx.Dropout(0.5, rngs=rngs),
        _flat,
        nnx.Linear(64, 3, rngs=rngs),
      ),
      image_shape=_SHAPE,
      num_classes=3,
    ),
  }
  for name, network in made.items():
    variables = network.init(_KEY)
    trained, _ = _logits(network, variables, True)
    tested, _ = _logits(network, variables, False)
    assert trained.shape == (6, 3)
    # nnx switches its layers by itself.
    assert np.allclose(trained, tested) == (name == 'linen')


def test_layers_of_a_sequential_module_are_switched():
  layers = [nn.BatchNorm(), nn.Sequential([_flat, nn.Dropout(0.5)])]
  module = nn.Sequential([*layers, nn.Dense(3)])
  network = networks.from_linen(module, _SHAPE, dropout=True)
  variables = network.init(_KEY)
  trained, after = _logits(network, variables, True)
  tested, _ = _logits(network, variables, False)
  assert not np.allclose(trained, tested)
  before, after = (
    v.state['batch_stats']['layers_0'] for v in (variables, after)
  )
  assert (before['mean'] != after['mean']).any()
  lost = nn.Sequential([_Dropped(), nn.Dense(3)])
  with pytest.raises(
    ValueError, match='does not pass train on to its _Dropped'
  ):
    networks.from_linen(lost, _SHAPE, dropout=True)


class _Says(nn.Module):
  """Returns something of `3` logits."""

  what: str

  @nn.compact
  def __call__(self, images, train=False):
    hidden = nn.Dense(8)(_flat(images))
    logits = nn.Dense(3)(hidden)
    return {
      'logits': lambda: logits,
      'outputs': lambda: dcjax.Outputs(logits, hidden),
      'bare': lambda: dcjax.Outputs(logits, hidden.mean()),
      'tuple': lambda: (logits, hidden),
      'list': lambda: [logits],
      'dict': lambda: {'logits': logits},
      'nothing': lambda: None,
      'map': lambda: nn.Dense(3)(images),
      'vector': lambda: logits[:, 0],
      'one': lambda: logits[:, :1],
      'summed': lambda: logits.sum(0, keepdims=True),
      'integer': lambda: logits.argmax(-1, keepdims=True).repeat(3, -1),
      'stream': lambda: (
        logits + jax.random.normal(self.make_rng('noise'), (3,))
      ),
      'always': lambda: nn.Dropout(0.5, deterministic=False)(logits),
      'fails': lambda: logits @ jnp.ones((2, 2)),
    }[self.what]()


@pytest.mark.parametrize('what', ['logits', 'outputs'])
def test_logits_and_outputs_are_taken(what):
  network = networks.from_linen(_Says(what), _SHAPE, num_classes=3)
  outputs, _ = network.apply(network.init(_KEY), _IMAGES, False)
  assert outputs.logits.shape == (6, 3)
  assert (outputs.embedding is None) == (what == 'logits')


@pytest.mark.parametrize(
  ('what', 'said'),
  [
    ('bare', r'an embedding of shape \[\] for 2 images; must be \[2, F\]'),
    ('tuple', r'returns a tuple; must return logits \[B, K\]'),
    ('list', 'returns a list'),
    ('dict', r"returns a dict of \['logits'\]"),
    ('nothing', 'returns a NoneType'),
    ('map', r'shape \[2, 4, 4, 3\] for 2 images.*flatten'),
    ('vector', r'shape \[2\]'),
    ('one', r'\[B, 1\].* one for each class'),
    ('summed', r'shape \[1, 3\] for 2 images'),
    ('integer', 'int32'),
    ('stream', "asks for 'noise', and only 'dropout'"),
    ('always', 'draws random numbers in evaluation'),
    ('fails', 'cannot be evaluated on images'),
  ],
)
def test_what_a_network_returns_is_checked_where_it_is_wrapped(what, said):
  for dropout in (False, True):
    with pytest.raises(ValueError, match=said) as raised:
      networks.from_linen(_Says(what), _SHAPE, name='mine', dropout=dropout)
    assert "'mine'" in str(raised.value)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('width', [2, 10])
def test_logits_of_another_width_are_refused_at_the_door_and_in_the_loss(width):
  class Wide(nn.Module):
    @nn.compact
    def __call__(self, images):
      return nn.Dense(width)(_flat(images))

  with pytest.raises(ValueError, match=rf'\[B, {width}\].* 3 classes'):
    networks.from_linen(Wide(), _SHAPE, num_classes=3)
  network = networks.from_linen(Wide(), _SHAPE)
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 2, 3))
  batch = dcjax.Batch(jnp.zeros((3, 2, *_SHAPE)), labels)
  with pytest.raises(ValueError, match=rf'logits \[B, {width}\].* 3 classes'):
    dcjax.match(
      network,
      network.init(_KEY),
      batch,
      batch,
      _KEY,
      objective=objectives.gradient_matching('l1'),
      classes='scan',
    )


def test_statistics_that_nothing_switches_are_refused():
  class Frozen(nn.Module):
    @nn.compact
    def __call__(self, images):
      return nn.Dense(3)(nn.BatchNorm(use_running_average=True)(_flat(images)))

  with pytest.raises(ValueError, match=r'running statistics.*train, training'):
    networks.from_linen(Frozen(), _SHAPE)


def test_a_class_is_no_module_and_other_images_are_said():
  with pytest.raises(ValueError, match='must be an instance'):
    networks.from_linen(_Plain, _SHAPE)

  class Fixed(nn.Module):
    @nn.compact
    def __call__(self, images):
      return nn.Dense(3)(images.reshape(images.shape[0], 16))

  networks.from_linen(Fixed(), _SHAPE)
  with pytest.raises(ValueError, match=r"network 'fixed'.*5, 4, 1"):
    networks.from_linen(Fixed(), (5, 4, 1))


def test_what_makes_no_nnx_module_is_refused():
  with pytest.raises(ValueError, match='is a Linear; must be a function'):
    networks.from_nnx(nnx.Linear(16, 3, rngs=nnx.Rngs(0)))
  with pytest.raises(ValueError, match='makes a Dense; must be a function'):
    networks.from_nnx(lambda rngs: nn.Dense(3))


def test_an_nnx_module_is_checked_where_a_shape_is_given():
  def pair(rngs):
    class Pair(nnx.Module):
      def __init__(self):
        self.linear = nnx.Linear(16, 3, rngs=rngs)

      def __call__(self, images):
        return self.linear(_flat(images)), images

    return Pair()

  with pytest.raises(ValueError, match="network 'nnx': returns a tuple"):
    networks.from_nnx(pair, image_shape=_SHAPE)
  late = networks.from_nnx(pair)
  with pytest.raises(ValueError, match='returns a tuple'):
    late.apply(late.init(_KEY), _IMAGES, False)
  with pytest.raises(ValueError, match='num_classes'):
    networks.from_nnx(pair, num_classes=3)
