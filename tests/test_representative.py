"""Real images that stand for clusters of what a network sees in them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import (
  COUNTS,
  KEY,
  LINEAR,
  SHAPE,
  assert_trees_equal,
  condenser,
  inner_data,
  linear_network,
  stored,
)

from dcjax import condensing, coresets, formations, inner, methods
from dcjax.base import Network, Outputs, Variables
from dcjax.data import sampling

SIZES = np.array([[3, 9, 6, 4], [5, 5, 4, 3]])  # of the clusters of two classes
MIXTURE_COUNTS = SIZES.sum(axis=1)


def plain(key, images):
  del key
  return images


@functools.cache
def mixture():
  """Two classes of four narrow clusters; the cluster of each image, too."""
  rng = np.random.default_rng(0)
  centres = rng.uniform(size=(2, 4, *SHAPE))
  images, labels, clusters = [], [], []
  for c in range(2):
    which = rng.permutation(np.repeat(np.arange(4), SIZES[c]))
    noise = 0.01 * rng.normal(size=(len(which), *SHAPE))
    images.append(centres[c][which] + noise)
    labels += [c] * len(which)
    clusters.append(which)
  images = np.concatenate(images).astype(np.float32)
  data = sampling.to_device(images, np.array(labels), 1.0)
  return data, images, clusters


def half_blind():
  """A network whose embedding is the pixels that its numbers let through."""

  def apply(variables, images, train):
    del train
    flat = images.reshape(images.shape[0], -1) * variables.params
    return Outputs(flat[:, :2], flat), {}

  return Network(lambda key: Variables(jnp.ones(16), {}), apply, 'half blind')


def choose(per_class, counts=MIXTURE_COUNTS, key=KEY, candidates=0):
  network = half_blind()
  chosen = jax.jit(
    lambda key, variables, data: coresets.representative(
      key,
      network,
      variables,
      data,
      counts,
      per_class,
      plain,
      candidates=candidates,
    )
  )(key, network.init(KEY), mixture()[0])
  return np.asarray(chosen)


def test_every_cluster_of_a_mixture_is_stood_for_by_its_middle():
  chosen = choose(4)
  assert chosen.shape == (2, 4) and chosen.dtype == np.int32
  _, images, clusters = mixture()
  first = 0
  for c, which in enumerate(clusters):
    assert sorted(which[chosen[c]]) == [0, 1, 2, 3]
    own = images[first : first + len(which)].reshape(len(which), -1)
    for at in chosen[c]:
      members = np.flatnonzero(which == which[at])
      far = np.linalg.norm(own[members] - own[members].mean(0), axis=1)
      assert members[far.argmin()] == at
    first += len(which)


def test_candidates_alone_are_looked_at():
  """As many as are wanted are all chosen; others come with another key."""
  keys = jax.random.split(KEY, 3)
  drawn = [choose(5, key=key, candidates=5) for key in keys]
  for chosen in drawn:
    for own, count in zip(chosen, MIXTURE_COUNTS, strict=True):
      assert len(set(own)) == 5 and max(own) < count
  assert len({tuple(sorted(chosen[0])) for chosen in drawn}) == 3
  np.testing.assert_array_equal(choose(4, candidates=10**6), choose(4))
  small = choose(20, candidates=20)[1]
  assert set(small[:17]) == set(range(17))
  for candidates in (4, -1):
    with pytest.raises(ValueError, match=f'candidates {candidates}: must be'):
      choose(5, candidates=candidates)


def test_a_class_smaller_than_its_clusters_gives_all_its_images():
  chosen = choose(20)
  assert len(set(chosen[0])) == 20
  assert set(chosen[1][:17]) == set(range(17))
  assert set(chosen[1][17:]) <= set(range(17))
  source = coresets.representative_batches(
    half_blind(), MIXTURE_COUNTS, 20, plain
  )
  data = inner.InnerData(mixture()[0])
  state = source.observe(KEY, source.init(KEY), data, half_blind().init(KEY))
  _, batch = source.next(KEY, state, data)
  np.testing.assert_array_equal(batch.weights[0], np.ones(20))
  np.testing.assert_array_equal(batch.weights[1], np.arange(20) < 17)
  large = coresets.representative_batches(half_blind(), (17, 22), 17, plain)
  state = large.observe(KEY, large.init(KEY), data, half_blind().init(KEY))
  assert large.next(KEY, state, data)[1].weights is None


def test_a_batch_stays_until_the_next_clustering_by_the_network_of_then():
  network = half_blind()
  source = coresets.representative_batches(
    network, MIXTURE_COUNTS, 4, plain, every=3
  )
  data = inner.InnerData(mixture()[0])
  seen, state = [], source.init(KEY)
  observe = jax.jit(source.observe)
  for step in range(4):
    # What is let through changes at the second step.
    mask = jnp.where(jnp.arange(16) < (16 if step == 0 else 2), 1.0, 0.0)
    key = jax.random.fold_in(KEY, step)
    state = observe(key, state, data, Variables(mask, {}))
    state, batch = source.next(KEY, state, data)
    assert batch.images.shape == (2, 4, *SHAPE)
    seen.append(np.asarray(state.positions))
  np.testing.assert_array_equal(seen[1], seen[0])
  np.testing.assert_array_equal(seen[2], seen[0])
  expected = coresets.representative(
    key, network, Variables(mask, {}), data.real, MIXTURE_COUNTS, 4, plain
  )
  np.testing.assert_array_equal(seen[3], expected)
  assert (seen[3] != seen[0]).any()
  assert state.draws == 4


def test_observing_draws_nothing_from_the_keys_of_a_step():
  real = condensing.real_batches(np.array(COUNTS), 4)
  watched = real._replace(observe=lambda key, state, data, variables: state)
  data, params = inner_data(), {'images': stored(2)}
  results = []
  for source in (real, watched):
    made = condenser(source=source, inner_steps=2)
    state = made.init(KEY, params, data)
    results.append(jax.jit(made.period)(KEY, state, data))
  assert_trees_equal(*results)


def _methods(source):
  formation, network = formations.identity(), linear_network()
  std, common = (
    (0.5,),
    dict(match_augment=plain, instead=methods.Instead(source=source)),
  )
  return {
    'idc': lambda: methods.idc(
      network,
      formation,
      np.array(COUNTS),
      learning_rate=0.1,
      inner_steps=3,
      networks=methods.OnReal(network_batches=1, network_batch_size=4),
      tensors='all',
      **common,
    ),
    'dc': lambda: methods.dc(
      network,
      formation,
      np.array(COUNTS),
      std,
      inner_steps=3,
      networks=methods.OnSynthetic(epochs=1),
      tensors='all',
      **common,
    ),
    'dm': lambda: methods.dm(
      network, formation, np.array(COUNTS), std, inner_steps=3, **common
    ),
  }


@pytest.mark.parametrize('name', ['idc', 'dc', 'dm'])
def test_methods_condense_and_go_on_bit_for_bit(name):
  # The third step of a period clusters, so that the fourth keeps its batch.
  source = coresets.representative_batches(LINEAR, COUNTS, 2, plain, every=2)
  made = _methods(source)[name]()
  data = inner_data()
  start = stored(2)
  state = made.init(KEY, {'images': jnp.array(start)}, data)
  period = jax.jit(made.period)
  state, metrics = period(KEY, state, data)
  assert np.isfinite(metrics['loss']).all()
  assert (np.asarray(state.params['images']) != start).any()
  assert state.source.draws == 3
  kept = jax.tree.map(np.asarray, state)
  straight = period(KEY, state, data)
  resumed = period(KEY, jax.tree.map(jnp.asarray, kept), data)
  assert_trees_equal(resumed, straight)
  # Positions are part of what must be kept.
  lost = kept.source._replace(positions=np.zeros_like(kept.source.positions))
  other, _ = period(KEY, kept._replace(source=lost), data)
  assert (
    np.asarray(other.params['images'])
    != np.asarray(straight[0].params['images'])
  ).any()


@pytest.mark.parametrize(
  'options, message',
  [
    ({'batch_size': 0}, 'batch_size is 0'),
    ({'every': 0}, 'every is 0'),
    ({'num_steps': 1.5}, 'num_steps is 1.5'),
  ],
)
def test_bad_numbers_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    coresets.representative_batches(
      LINEAR, COUNTS, **{'batch_size': 4, 'normalise': plain, **options}
    )


def test_a_network_must_expose_an_embedding():
  silent = half_blind()._replace(
    apply=lambda variables, images, train: (Outputs(images[:, 0, 0]), {})
  )
  with pytest.raises(ValueError, match="'half blind' exposes no embedding"):
    coresets.representative(
      KEY, silent, silent.init(KEY), mixture()[0], MIXTURE_COUNTS, 4, plain
    )
