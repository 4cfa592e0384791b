"""Networks with running statistics: whose images their statistics come from."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runner
import tiny

from dcjax import (
  augment,
  evaluation,
  formations,
  inner,
  matching,
  methods,
  networks,
  objectives,
)
from dcjax.base import Batch, Network, Variables
from dcjax.data import sampling
from dcjax.runs import _stage

_STD = (0.5,)


def _convnet(norm):
  return networks.convnet(tiny.SHAPE, 3, depth=1, width=4, norm=norm)


def _watching(size):
  """A linear network whose statistics are the images of its last batch."""

  def init(key):
    blank = jnp.zeros((size, *tiny.SHAPE))
    return Variables(tiny.LINEAR.init(key).params, {'seen': blank})

  def apply(variables, images, train):
    outputs, _ = tiny.LINEAR.apply(variables, images, train)
    return outputs, {'seen': images} if train else variables.state

  return Network(init, apply, 'watching')


def _whole(data):
  """All images of balanced classes as a batch `[C, N, ...]`."""
  images = data.real.images.reshape(3, -1, *tiny.SHAPE)
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (*images.shape[:2], 3))
  return Batch(images, labels)


def test_which_networks_track_statistics():
  for norm in ('instance', 'layer', 'group', 'none'):
    assert not inner.tracks_statistics(_convnet(norm))
  assert inner.tracks_statistics(_convnet('batch'))
  assert not inner.tracks_statistics(tiny.LINEAR)


def test_networks_without_statistics_keep_their_loop():
  loop = tiny.train_on_real()
  assert inner.with_real_statistics(loop, tiny.LINEAR, [9, 9, 9]) is loop
  state = loop.init(tiny.KEY, tiny.inner_data())
  assert loop.prepare(tiny.KEY, state, None) is state


def test_no_images_for_statistics_are_refused():
  loop = inner.resample(_convnet('batch'))
  with pytest.raises(ValueError, match='images_per_class 0'):
    inner.with_real_statistics(
      loop, _convnet('batch'), [9, 9, 9], images_per_class=0
    )


@pytest.mark.parametrize('counts', [(9, 9, 9), (2, 9, 4)])
def test_statistics_are_of_real_images_of_every_class(counts):
  network = _watching(3 * 5)
  data = tiny.inner_data(counts)
  loop = inner.with_real_statistics(
    inner.resample(network),
    network,
    np.array(counts),
    images_per_class=5,
    augment=lambda key, images: images + 1,
  )
  state = loop.init(tiny.KEY, data)
  draws = []
  for seed in range(2):
    ready = jax.jit(loop.prepare)(jax.random.key(seed), state, data)
    tiny.assert_trees_equal(ready.variables.params, state.variables.params)
    seen = np.asarray(ready.variables.state['seen']).reshape(3, 5, -1) - 1
    draws.append(seen)
    for label, count in enumerate(counts):
      start = int(data.real.starts[label])
      own = np.asarray(data.real.images[start : start + count])
      same = np.isclose(seen[label][:, None], own.reshape(count, -1), atol=1e-6)
      drawn = same.all(-1).sum(0)
      assert drawn.sum() == 5
      assert drawn.max() == -(-5 // count)
      assert drawn.min() >= 5 // count
  assert np.abs(draws[0][1] - draws[1][1]).max() > 0.01


@pytest.fixture(scope='module')
def dc_period():
  """Network, data and stored images of DC, and the state and metrics after."""
  network, data = _convnet('batch'), tiny.inner_data()
  method = methods.dc(
    network,
    formations.identity(),
    np.array(tiny.COUNTS),
    _STD,
    inner_steps=2,
    networks=methods.OnSynthetic(epochs=0),
    batch_real=9,
    learning_rate=1e-9,
    match_augment=lambda key, images: images + 5,
    statistics=methods.RealStatistics(lambda key, images: images, 9),
  )
  params = {'images': tiny.stored(2)}
  state = jax.jit(method.init)(tiny.KEY, params, data)
  after, metrics = jax.jit(method.period)(tiny.KEY, state, data)
  return network, data, params['images'], after, metrics


def test_dc_updates_statistics_with_real_images(dc_period):
  """Two image steps, two updates, each by the whole of a small set."""
  network, data, _, after, _ = dc_period
  variables = after.inner.variables
  fresh = network.init(tiny.KEY).state
  update = jax.jit(
    lambda state: network.apply(
      Variables(variables.params, state), data.real.images, True
    )[1]
  )
  for _ in range(2):
    fresh = update(fresh)
  jax.tree.map(
    lambda found, hand: np.testing.assert_allclose(found, hand, rtol=1e-4),
    variables.state,
    fresh,
  )


def test_dc_matches_in_eval_mode(dc_period):
  network, data, images, after, metrics = dc_period
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 2, 3))

  @functools.partial(jax.jit, static_argnums=0)
  def loss(train):
    return matching.match(
      network,
      after.inner.variables,
      _whole(data),
      Batch(images, labels),
      tiny.KEY,
      objective=objectives.gradient_matching(
        'cosine', tensors='weights', train=train
      ),
      augment=lambda key, images: images + 5,
    )[0]

  np.testing.assert_allclose(metrics['loss'][-1], loss(False), rtol=1e-3)
  assert abs(metrics['loss'][-1] - loss(True)) > 0.01 * loss(True)


def _joint_and_separate(network, target, synthetic, **options):
  variables = network.init(tiny.KEY)
  return [
    jax.jit(
      lambda target, synthetic, joint=joint: matching.match_and_gradient(
        network,
        variables,
        target,
        synthetic,
        tiny.KEY,
        objective=objectives.distribution_matching(joint=joint, **options),
      )
    )(target, synthetic)
    for joint in (True, False)
  ]


@pytest.mark.parametrize('bandwidth', [0.5, math.inf])
def test_joint_distribution_matching_is_the_same_without_batch_norm(bandwidth):
  data = tiny.device_data((2, 9, 4))
  positions = jnp.array([[0, 1, 0, 1], [0, 1, 2, 3], [3, 2, 1, 0]])
  weights = jnp.array([[1.0, 1, 0, 0], [1] * 4, [1] * 4])
  target = sampling.class_batch(data, positions, weights, 3)
  synthetic = Batch(tiny.stored(2), jnp.zeros((3, 2, 3)))
  joint, separate = _joint_and_separate(
    _convnet('instance'), target, synthetic, bandwidth=bandwidth
  )
  np.testing.assert_allclose(joint[0]['loss'], separate[0]['loss'], rtol=1e-4)
  np.testing.assert_allclose(
    joint[1].images, separate[1].images, rtol=1e-3, atol=1e-4
  )


def test_joint_distribution_matching_with_batch_norm():
  """By hand: all real together, all synthetic together, means by class."""
  network, target = _convnet('batch'), _whole(tiny.inner_data())
  synthetic = Batch(tiny.stored(2), jnp.zeros((3, 2, 3)))
  joint, separate = _joint_and_separate(network, target, synthetic)

  def means(images):
    flat = images.reshape(-1, *tiny.SHAPE)
    variables = network.init(tiny.KEY)
    outputs, _ = jax.jit(network.apply, static_argnums=2)(variables, flat, True)
    return outputs.embedding.reshape(3, images.shape[1], -1).mean(1)

  by_hand = ((means(target.images) - means(synthetic.images)) ** 2).sum()
  np.testing.assert_allclose(joint[0]['loss'], by_hand, rtol=1e-4)
  assert abs(joint[0]['loss'] - separate[0]['loss']) > 0.01 * by_hand


@pytest.mark.parametrize('norm', ['instance', 'batch'])
def test_dm_chooses_by_the_network(norm):
  network, sizes = _convnet(norm), set()

  def apply(variables, images, train):
    sizes.add((images.shape[0], train))
    return network.apply(variables, images, train)

  method = methods.dm(
    network._replace(apply=apply),
    formations.identity(),
    np.array(tiny.COUNTS),
    _STD,
    inner_steps=1,
    batch_real=4,
  )
  params, data = {'images': tiny.stored(2)}, tiny.inner_data()
  state = jax.jit(method.init)(tiny.KEY, params, data)
  after, _ = jax.jit(method.period)(tiny.KEY, state, data)
  together = 3 if norm == 'batch' else 1
  assert sizes == {(together * 4, True), (together * 2, True)}
  moved = np.abs(after.params['images'] - params['images']).max((2, 3, 4))
  assert (moved > 0).all()


def test_short_batches_are_filled_with_the_whole_set():
  """64 places for 3 images: each image fills about a third of them."""
  images, labels = tiny.images_and_labels((1, 1, 1))
  network = _watching(64)
  protocol = evaluation.Protocol(epochs=1)
  evaluator = evaluation.evaluator(
    network,
    evaluation.feed(protocol),
    protocol=protocol,
    normalise=lambda key, images: images,
  )
  data = evaluation.training_set(images, labels, 3, padded_to=64)
  keys = tiny.KEY[None]
  state, _ = evaluator.train(keys, data, evaluator.start(keys, data), 1)
  seen = np.asarray(state[0].variables.state['seen'][0]).reshape(64, -1)
  same = (seen[:, None] == images.reshape(3, -1)).all(-1)
  np.testing.assert_array_equal(np.sort(same.sum(0)), [21, 21, 22])


def _cutmix(key, images, labels, weights):
  return augment.cutmix(key, images, labels, probability=1.0, weights=weights)


def _trained(network):
  """A network after two passes, each of a full batch and one of two images."""
  images, labels = tiny.images_and_labels((3, 2, 2))
  protocol = evaluation.Protocol(epochs=2, batch_size=5)
  evaluator = evaluation.evaluator(
    network,
    evaluation.feed(protocol, mix=_cutmix),
    protocol=protocol,
    normalise=lambda key, images: images,
  )
  data = evaluation.training_set(images, labels, 3, padded_to=9)
  keys = tiny.KEY[None]
  state, _ = evaluator.train(keys, data, evaluator.start(keys, data), 2)
  return state[0].variables


def test_other_networks_do_not_see_what_fills_short_batches(monkeypatch):
  network = _convnet('instance')
  ours = _trained(network)
  shuffler = sampling.shuffler

  def filled_with_the_first(*args, **options):
    walk = shuffler(*args, **options)

    def next_fn(key, counts, state):
      state, positions, weights = walk.next(key, counts, state)
      return state, jnp.where(weights > 0, positions, 0), weights

    return walk._replace(next=next_fn)

  monkeypatch.setattr(sampling, 'shuffler', filled_with_the_first)
  tiny.assert_trees_equal(ours, _trained(network))


@pytest.mark.parametrize('norm', ['instance', 'batch'])
def test_the_warning_comes_before_the_work(norm, tmp_path, capsys, monkeypatch):
  def stop(*args):
    raise ValueError('far enough')

  monkeypatch.setattr(_stage, 'run', stop)
  network = f'convnet:width=4:depth=1:norm={norm}'
  with pytest.raises(ValueError, match='far enough'):
    runner.run(tmp_path / 'run', 'digits:size=8,smoke', network=network)
  lines = capsys.readouterr().out.splitlines()
  warnings = [line for line in lines if line.startswith('warning: ')]
  assert len(warnings) == (norm == 'batch')
  assert all("network 'convnet' with batch norm" in line for line in warnings)
