"""Forgetting: what is counted, in what training, and what is chosen by it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dcjax import coresets, inner


def test_forgetting_takes_the_most_forgotten():
  rng = np.random.default_rng(4)
  labels = rng.permutation(np.repeat([0, 1, 2], [4, 17, 9]))
  events = rng.integers(0, 4, len(labels))
  chosen = np.asarray(coresets.forgetting(jnp.asarray(events), labels, 4))
  assert chosen.dtype == np.int32
  for label in range(3):
    own = events[labels == label].tolist()
    expected = sorted(range(len(own)), key=lambda i: (-own[i], i))[:4]
    assert chosen[label].tolist() == expected
  with pytest.raises(ValueError, match='ipc 5: class 0 holds only 4'):
    coresets.forgetting(events, labels, 5)
  with pytest.raises(ValueError, match=r'events \(29,\): must be .* \(30,\)'):
    coresets.forgetting(events[1:], labels, 4)


def _shifted(key, images):
  del key
  return images - 0.5


def _events(data, epochs, key=tiny.KEY, **options):
  return coresets.forgetting_events(
    tiny.LINEAR,
    data,
    key,
    optimizer=tiny.INNER_SGD,
    epochs=epochs,
    normalise=_shifted,
    batch_size=4,
    **options,
  )


def test_forgetting_events_of_a_training():
  """Equal to training epoch by epoch and counting in NumPy."""
  counts, epochs = (5, 3, 6), 12
  data = tiny.device_data(counts)
  # Mixed up, so that images are forgotten.
  images = data.images[np.random.default_rng(0).permutation(14)]
  data = data._replace(images=images)
  events = _events(data, epochs)
  init_key, train_key = jax.random.split(tiny.KEY)
  loop = tiny.train_on_real(counts, num_batches=3, augment=_shifted)
  update = jax.jit(loop.update)
  state = loop.init(init_key, inner.InnerData(data))
  flat, correct = np.asarray(images).reshape(14, -1) - 0.5, []
  for _ in range(epochs):
    state, _ = update(train_key, state, inner.InnerData(data), None)
    params = jax.tree.map(np.asarray, state.variables.params)
    answers = np.argmax(flat @ params['weight'] + params['bias'], axis=1)
    correct.append(answers == np.asarray(data.labels))
  expected, learnt = np.zeros(14, int), np.any(correct, axis=0)
  for before, after in itertools.pairwise(correct):
    expected += before & ~after
  expected[~learnt] = epochs + 1
  assert 0 < expected[learnt].max() < epochs
  np.testing.assert_array_equal(events, expected)


def test_a_wrong_label_is_never_learnt():
  data = tiny.device_data((8, 4, 4))
  # The last image of class 1 looks like those of class 0.
  images = data.images.at[11].set(data.images[:8].mean(axis=0))
  data = data._replace(images=images)
  events = np.asarray(_events(data, 8, augment=lambda key, x: x - 0.5))
  assert events[11] == 9
  assert events[:8].max() <= 4
  chosen = coresets.forgetting(events, np.asarray(data.labels), 1)
  assert chosen[1] == 3


def test_forgetting_events_rejects():
  data = tiny.device_data((3, 3, 3))
  with pytest.raises(ValueError, match='epochs 1: must be at least 2'):
    _events(data, 1)
  with pytest.raises(ValueError, match='batch_size 0: must be at least 1'):
    coresets.forgetting_events(
      tiny.LINEAR,
      data,
      tiny.KEY,
      optimizer=tiny.INNER_SGD,
      epochs=2,
      normalise=_shifted,
      batch_size=0,
    )
