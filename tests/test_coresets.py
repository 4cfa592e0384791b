"""Selections against plain loops, herding also against the reference."""

import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runner
import tiny
from stopping import StopWhen

from dcjax import coresets
from dcjax.base import Outputs
from dcjax.coresets import _k_means
from dcjax.runs import _networks, _pipelines, _sets
from dcjax.runs._folder import Folder, Interrupted, Stop
from dcjax.runs._outlook import Outlook
from dcjax.runs._stage import Work


def _features(labels, seed=0, size=4):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(len(labels), size)) + np.asarray(labels)[:, None]


def _greedy(features, ipc):
  """Herding as its definition reads, in float64."""
  chosen, mean = [], features.mean(axis=0)
  for step in range(ipc):
    target = (step + 1) * mean - features[chosen].sum(axis=0)
    distances = np.linalg.norm(target - features, axis=1)
    distances[chosen] = np.inf
    chosen.append(int(distances.argmin()))
  return chosen


def test_herding_equals_golden(golden):
  data = golden('herding')
  chosen = coresets.herding(data['features'], data['targets'], int(data['ipc']))
  assert chosen.shape == (3, 7)
  assert chosen.dtype == jnp.int32
  indices = coresets.to_dataset_indices(chosen, data['targets'])
  for label in range(3):
    np.testing.assert_array_equal(indices[label], data[f'indices_class{label}'])
  np.testing.assert_array_equal(indices.ravel(), data['indices'])


@pytest.mark.parametrize('offset', [0.0, 100.0])
def test_herding_of_unbalanced_classes(offset):
  """Also with features whose mean is large against their spread."""
  labels = np.random.default_rng(3).permutation(
    np.repeat([0, 1, 2], [5, 20, 9])
  )
  features = np.float32(_features(labels) + offset)
  chosen = np.asarray(coresets.herding(jnp.asarray(features), labels, 5))
  for label in range(3):
    own = features[labels == label].astype(np.float64)
    assert chosen[label].tolist() == _greedy(own, 5)


def test_herding_never_chooses_twice():
  labels = np.repeat([0, 1], [6, 9])
  # Equal images would be chosen again and again.
  features = np.zeros((15, 3), np.float32)
  chosen = np.asarray(coresets.herding(features, labels, 6))
  for row, size in zip(chosen, (6, 9), strict=True):
    assert len(set(row.tolist())) == 6
    assert row.max() < size


def test_to_dataset_indices():
  labels = np.array([1, 0, 1, 2, 0, 2, 2])
  indices = coresets.to_dataset_indices(
    jnp.array([[1, 0], [0, 1], [2, 0]]), labels
  )
  np.testing.assert_array_equal(indices, [[4, 1], [0, 2], [6, 3]])


def test_random():
  chosen = coresets.random(jax.random.key(0), np.array([4, 30, 9]), 4)
  assert chosen.shape == (3, 4)
  assert chosen.dtype == jnp.int32
  for row, size in zip(np.asarray(chosen), (4, 30, 9), strict=True):
    assert len(set(row.tolist())) == 4
    assert row.min() >= 0
    assert row.max() < size
  again = coresets.random(jax.random.key(0), np.array([4, 30, 9]), 4)
  np.testing.assert_array_equal(again, chosen)
  other = coresets.random(jax.random.key(1), np.array([4, 30, 9]), 4)
  assert (other != chosen).any()


def test_embed_keeps_the_order_and_scales():
  data = tiny.device_data([3, 2, 2])
  data = data._replace(
    images=(255 * data.images).astype(jnp.uint8), scale=jnp.asarray(255.0)
  )
  network = tiny.linear_network()
  features = coresets.embed(
    network,
    network.init(jax.random.key(0)),
    data,
    lambda key, images: images - 0.5,
    batch_size=3,
  )
  expected = np.asarray(data.images).reshape(7, -1) / 255 - 0.5
  np.testing.assert_allclose(features, expected, atol=1e-6)


def test_embed_needs_an_embedding():
  network = tiny.linear_network()

  def apply(variables, images, train):
    outputs, state = network.apply(variables, images, train)
    return Outputs(outputs.logits), state

  with pytest.raises(ValueError, match="'linear' exposes no embedding"):
    coresets.embed(
      network._replace(apply=apply),
      network.init(jax.random.key(0)),
      tiny.device_data([2, 2, 2]),
      lambda key, images: images,
    )


def test_rejects():
  labels = np.repeat([0, 1], [4, 3])
  with pytest.raises(ValueError, match='ipc 4: class 1 holds only 3'):
    coresets.herding(_features(labels), labels, 4)
  with pytest.raises(ValueError, match=r'features \(7, 4, 1\): .* M = 7'):
    coresets.herding(_features(labels)[..., None], labels, 2)
  with pytest.raises(ValueError, match=r'features \(6, 4\)'):
    coresets.herding(_features(labels)[1:], labels, 2)
  with pytest.raises(ValueError, match='class 0 holds only 0'):
    coresets.herding(_features(labels), labels + 1, 2)
  with pytest.raises(ValueError, match='labels go down to -1'):
    coresets.herding(_features(labels), labels - 1, 2)
  with pytest.raises(ValueError, match=r'labels float64 \(7,\): must be int'):
    coresets.herding(_features(labels), labels * 1.0, 2)
  with pytest.raises(ValueError, match='ipc is 0'):
    coresets.k_center(_features(labels), labels, 0)
  with pytest.raises(ValueError, match='features hold NaN'):
    coresets.k_center(np.full((7, 4), np.nan), labels, 2)
  with pytest.raises(ValueError, match='num_steps is 0'):
    coresets.k_means(_features(labels), labels, 2, tiny.KEY, 0)
  with pytest.raises(ValueError, match='class 1 has 3 images; 4 are asked'):
    coresets.random(jax.random.key(0), np.array([4, 3]), 4)


def test_nearest_to_the_mean_are_sorted_by_distance():
  labels = np.array([1, 0, 0, 1, 0, 0, 1])
  features = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
  chosen = np.asarray(coresets.nearest_mean(jnp.asarray(features), labels, 3))
  for label, row in enumerate(chosen):
    own = features[labels == label]
    far = np.linalg.norm(own - own.mean(0), axis=1)
    np.testing.assert_array_equal(row, np.argsort(far)[:3])
  first = np.asarray(coresets.herding(jnp.asarray(features), labels, 1))
  np.testing.assert_array_equal(first, chosen[:, :1])


def test_k_center_against_a_plain_loop():
  rng = np.random.default_rng(3)
  counts = (9, 4, 6)
  labels = rng.permutation(np.repeat(np.arange(3), counts))
  features = rng.normal(size=(len(labels), 5)) + 7
  chosen = np.asarray(coresets.k_center(jnp.asarray(features), labels, 4))
  for label in range(3):
    own = features[labels == label]
    expected = [np.argmin(np.linalg.norm(own - own.mean(0), axis=1))]
    while len(expected) < 4:
      gaps = np.linalg.norm(own[:, None] - own[expected], axis=2).min(1)
      expected.append(np.argmax(gaps))
    np.testing.assert_array_equal(chosen[label], expected)


def test_k_center_never_takes_an_image_twice():
  labels = np.zeros(5, int)
  chosen = coresets.k_center(jnp.ones((5, 3)), labels, 5)
  assert sorted(np.asarray(chosen[0])) == [0, 1, 2, 3, 4]
  with pytest.raises(ValueError, match='class 0 holds only 5'):
    coresets.k_center(jnp.ones((5, 3)), labels, 6)


def _distances(points, places):
  return np.linalg.norm(points[:, None] - places, axis=2)


def _centred(seed, count, size=3):
  points = np.random.default_rng(seed).normal(size=(count, size))
  points = np.float32(points - points.mean(axis=0))
  return points, np.sum(points**2, axis=1)


@pytest.mark.parametrize('steps', [1, 3, 40])
def test_lloyd_against_a_plain_loop(steps):
  """Cut short, and long after the centres have come to rest."""
  points, norms = _centred(0, 30)
  valid = np.arange(30) < 24
  # The last centre is nearest to no image and stays.
  expected = np.concatenate([points[:4], [[50.0, 0, 0]]])
  centres = _k_means.lloyd(points, norms, valid, jnp.asarray(expected), steps)
  for _ in range(steps):
    cluster = _distances(points[valid], expected).argmin(axis=1)
    for label in set(cluster.tolist()):
      expected[label] = points[valid][cluster == label].mean(axis=0)
  assert set(cluster.tolist()) == {0, 1, 2, 3}
  np.testing.assert_allclose(centres, expected, atol=1e-5)


def test_a_taken_image_makes_way_for_the_next_nearest():
  points, _ = _centred(1, 12)
  valid = np.arange(12) < 9
  centres = np.float32(points[[4, 4, 4, 10]])  # The last is on padding.
  chosen = _k_means.nearest_images(points, valid, centres)
  expected = []
  for distances in _distances(points, centres).T:
    order = distances.argsort().tolist()
    expected.append(next(i for i in order if i < 9 and i not in expected))
  assert expected[0] == 4
  np.testing.assert_array_equal(chosen, expected)


def test_k_means_starts_in_proportion_to_squared_distance():
  points = jnp.array([[0.0], [1.0], [3.0], [100.0]])
  valid = jnp.array([True, True, True, False])
  norms = points[:, 0] ** 2
  pairs = np.asarray(
    jax.vmap(lambda key: _k_means.spread(key, points, norms, valid, 2))(
      jax.random.split(jax.random.key(0), 4000)
    )
  )
  share = np.zeros((4, 4))
  np.add.at(share, tuple(pairs.T), 1 / len(pairs))
  chances = np.array([[0, 0.1, 0.9], [0.2, 0, 0.8], [9 / 13, 4 / 13, 0]]) / 3
  np.testing.assert_allclose(share[:3, :3], chances, atol=0.03)
  assert share[3].sum() == share[:, 3].sum() == 0


def test_k_means_finds_the_middle_of_every_cluster():
  """In classes of unequal size whose images come in any order."""
  rng = np.random.default_rng(5)
  labels = rng.permutation(np.repeat([0, 1, 2], [9, 30, 14]))
  features = rng.normal(size=(len(labels), 3))
  cluster = np.zeros(len(labels), int)
  for label in range(3):
    own = np.flatnonzero(labels == label)
    cluster[own] = np.arange(len(own)) % 3
  features[:, 0] += 1000 * cluster
  key = jax.random.key(2)
  chosen = np.asarray(coresets.k_means(features, labels, 3, key))
  assert chosen.dtype == np.int32
  for label in range(3):
    own, groups = features[labels == label], cluster[labels == label]
    means = np.stack([own[groups == g].mean(axis=0) for g in range(3)])
    expected = _distances(own, means).argmin(axis=0)
    assert sorted(chosen[label].tolist()) == sorted(expected.tolist())
  np.testing.assert_array_equal(
    coresets.k_means(features, labels, 3, key), chosen
  )


@pytest.mark.parametrize('copies', [False, True])
def test_k_means_takes_a_whole_class(copies):
  labels = np.array([1, 0, 0, 1, 0, 1, 1, 1])
  features = np.ones((8, 3)) if copies else _features(labels)
  chosen = np.asarray(coresets.k_means(features, labels, 3, tiny.KEY))
  assert sorted(chosen[0].tolist()) == [0, 1, 2]
  assert len(set(chosen[1].tolist())) == 3
  assert chosen[1].max() < 5


@pytest.fixture(scope='module')
def built():
  network = 'convnet:width=4:depth=1'
  return runner.built(
    'digits:size=8,smoke',
    ipc=3,
    network=network,
    evaluation__herding_steps=200,
  )


def _made(path, make, built, *args, stop=None):
  folder = Folder(path, {})
  with folder.owned():
    work = Work(folder, stop or Stop(), Outlook())
    return make(built, work, *args).make(None)


def _embedded(path, built, stop=None):
  return _made(path, _sets.features_stage, built, stop=stop)


@pytest.fixture(scope='module')
def features(built, tmp_path_factory):
  return _embedded(tmp_path_factory.mktemp('features'), built)


def test_an_interrupted_embedding_goes_on_bit_for_bit(
  built, features, tmp_path
):
  stop = StopWhen(tmp_path, 'checkpoints/features')
  with pytest.raises(Interrupted, match='training features after 100 steps 1'):
    _embedded(tmp_path, built, stop)
  tiny.assert_trees_equal(_embedded(tmp_path, built), features)


@pytest.mark.parametrize(
  'name',
  ['random', 'herding', 'nearest_mean', 'k_center', 'k_means', 'forgetting'],
)
def test_a_run_selects_as_many_images_of_every_class(
  built, features, name, tmp_path
):
  if name == 'forgetting':
    found = _made(tmp_path, _sets.selection_stage, built, name)
  else:
    stage = _sets.selection_stage(built, None, name)
    found = stage.make(*(None, features)[: len(stage.inputs)])
  chosen = found['chosen']
  assert chosen.shape == (10, 3)
  for row, count in zip(chosen, built.dataset.counts, strict=True):
    assert len(set(row.tolist())) == 3
    assert 0 <= row.min() <= row.max() < count
  labels = np.asarray(built.real.local.labels)
  if name in ('herding', 'nearest_mean', 'k_center'):
    expected = getattr(coresets, name)(features['features'], labels, 3)
    np.testing.assert_array_equal(chosen, expected)


def test_selections_by_features_share_them(built):
  stages = _pipelines.sets(built, None, ['herding', 'k_means', 'random'])
  inputs = {stage.name: stage.inputs for stage in stages}
  assert inputs['select/herding'] == inputs['select/k_means']
  assert inputs['select/k_means'] == ('data', 'features')
  assert inputs['select/random'] == ('data',)
  assert [stage.name for stage in stages].count('features') == 1


@pytest.mark.parametrize('steps', [4, 1000])
def test_forgetting_is_counted_for_as_long_as_herding_trains(
  steps, monkeypatch
):
  asked = []

  def train(work, built, stage, loop, keys, epochs, **options):
    asked.append(epochs)
    zeros = np.zeros((1, len(built.dataset.labels)), int)
    return coresets.ForgettingState((), zeros, zeros, zeros)

  monkeypatch.setattr(_networks, 'train', train)
  built = runner.built('digits:size=8,smoke', evaluation__herding_steps=steps)
  _sets.selection_stage(built, None, 'forgetting').make(None)
  batches = len(built.dataset.labels) // 64
  assert asked == [max(2, steps // batches)]


def test_the_benchmark_agrees_with_a_plain_loop():
  path = runner.EXPERIMENTS.parent / 'benchmarks' / 'selection.py'
  table = runpy.run_path(str(path))['table'](2, 12, 5, 3, repeats=1)
  assert 'Herding: 100% of choices are equal.' in table
  assert table.count('\n| ') == 5
