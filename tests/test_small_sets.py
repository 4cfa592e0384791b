"""Sets of any method as memories: observers', a generator's, learned labels."""

import types

import jax
import numpy as np
import pytest
import runner
import tiny

from dcjax import applications, augment, evaluation
from dcjax.base import Batch

builder = runner.module('builder')
small_sets = runner.module('small_sets')
_STOP = types.SimpleNamespace(
  agreed=lambda: False, wait_for=jax.block_until_ready
)
_SMOKE = 'schedule=short,smoke'


@pytest.fixture(scope='module')
def digits():
  """Three classes of 8 x 8 pixels."""
  config = runner.config('digits,smoke', data__options__size=8)
  few = small_sets.only_classes(builder.load_dataset(config), range(3))
  return small_sets.at_most(few, 20, 30)


def _made_once(digits, name, making, folder, monkeypatch):
  """Makes a set; it is loaded, not made, when it is asked for again."""
  small_sets.check((name,), making, digits)
  made = small_sets.make(digits, name, making, folder / 'set', _STOP)
  with monkeypatch.context() as patch:
    patch.setattr(small_sets, '_config_of', None)
    again = small_sets.make(digits, name, making, folder / 'set', _STOP)
  tiny.assert_trees_equal(made.batch(), again.batch())
  assert made.provenance['method'] == again.provenance['method'] == name
  return made


def test_a_set_of_observers_stands_alone(digits, tmp_path, monkeypatch):
  making = small_sets.Making(
    2,
    _SMOKE,
    {
      'observers.matching': ('convnet:width=3:depth=1:norm=batch',),
      'observers.labelling': ('convnet:width=3:depth=1:norm=batch',),
      # Less to compile: no flatness, no statistics of classes.
      'synthesis.flatness': 0.0,
      'synthesis.alpha': 1.0,
      'schedule.outer': 4,  # What EDC does not have is left out.
    },
  )
  made = _made_once(digits, 'edc', making, tmp_path, monkeypatch)
  assert made.label_regime == 'one soft label per image'
  images, labels, _ = made.batch()
  assert images.shape == (3, 2, 8, 8, 1)
  assert labels.shape == (3, 2, 3)
  np.testing.assert_allclose(labels.sum(-1), 1, rtol=1e-5)
  assert ((labels > 0) & (labels < 1)).all()
  # Other methods find the observer of these images beside the set.
  assert list((tmp_path / 'observers').glob('convnet1w3-*.npz'))
  assert not (tmp_path / 'set' / 'observers').exists()


def test_learned_labels_and_a_generator(digits, tmp_path, monkeypatch):
  network = {'name': 'mlp', 'depth': 1, 'width': 4}
  changes = {'network': network, 'evaluation.at': ()}
  making = small_sets.Making(1, _SMOKE, changes)
  made = _made_once(
    digits, 'label_distillation', making, tmp_path / 'labels', monkeypatch
  )
  assert made.batch().labels.shape == (3, 1, 3)
  assert np.abs(made.labels - 1 / 3).max() > 0
  # Its condensation has tests of its own; here the start is the set.
  monkeypatch.setattr(
    runner.module('outer_loop'),
    'condense',
    lambda parts, place, keys, stop: (
      builder.initial_params(parts, keys['init']),
      0.0,
    ),
  )
  name = 'generative:condition=one_hot'
  made = _made_once(digits, name, making, tmp_path / 'codes', monkeypatch)
  assert made.spec['name'] == 'codebook'
  assert made.batch().images.shape == (3, 1, 8, 8, 1)


def test_a_generator_starts_as_the_changes_say(digits):
  config = small_sets._config_of('generative', digits, small_sets.Making(1), '')
  assert config.generator.pretrained == ''
  changes = {'generator.pretrained': 'generator.npz'}
  making = small_sets.Making(1, changes=changes)
  config = small_sets._config_of('generative', digits, making, '')
  assert config.generator.pretrained == 'generator.npz'


def test_unknown_sets_list_the_known_ones(digits):
  with pytest.raises(ValueError, match="set 'mtt'") as error:
    small_sets.check(('mtt',), small_sets.Making(1), digits)
  for name in (*small_sets._CONFIGS, *builder.BASELINES):
    assert repr(name) in str(error.value)
  with pytest.raises(ValueError, match='looks through one network'):
    changes = {'observers.matching': ('mlp', 'mlp')}
    small_sets.check(('sre2l',), small_sets.Making(1, '', changes), digits)


def test_soft_labels_of_a_step_range_over_its_own_classes():
  images = np.random.default_rng(0).uniform(size=(4, 3, 4, 4, 1))
  soft = np.random.default_rng(1).dirichlet(np.ones(2), (4, 3))
  memories = [
    Batch(images[:2], soft[:2]),
    Batch(images[2:], None),  # hard ones
  ]
  data = applications.union(memories, 3)
  labels = np.asarray(data.labels[: int(data.count)]).reshape(4, 3, 6)
  np.testing.assert_allclose(labels[:2, :, :2], soft[:2], rtol=1e-6)
  assert not labels[:2, :, 2:].any()
  expected = np.eye(6)[[2, 3]][:, None].repeat(3, 1)
  np.testing.assert_array_equal(labels[2:], expected)
  wrong = Batch(images[2:], np.ones((2, 3, 6)))
  with pytest.raises(ValueError, match='step 1: labels'):
    applications.union([memories[0], wrong], 3)


def test_soft_labels_of_a_memory_are_learned():
  """Labels that swap the classes are what balanced fine-tuning learns."""
  images, answers = tiny.images_and_labels((6, 6))
  kept = np.stack([images[answers == c] for c in range(2)])
  swapped = np.broadcast_to(np.eye(2)[::-1][:, None], (2, 6, 2))
  network = tiny.linear_network(num_classes=2)
  learner = applications.learner(
    network,
    protocol=evaluation.Protocol(epochs=6, batch_size=8, learning_rate=0.1),
    normalise=augment.normalise((0.0,), (1.0,)),
  )
  test = (images, answers)
  task = applications.Task(
    'first', images, answers, test, Batch(kept, swapped), ('a', 'b')
  )
  steps = applications.task_incremental(
    learner, learner, [task, task], tiny.KEY, passes=lambda count: 1
  )
  # Balanced fine-tuning has the memories alone.
  assert list(steps)[1].accuracy[0, 1] == 0
