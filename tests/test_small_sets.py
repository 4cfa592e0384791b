"""Sets of any method as memories: observers', a generator's, learned labels."""

import numpy as np
import pytest
import runner
import tiny

from dcjax import applications, augment, data, evaluation
from dcjax.base import Batch
from dcjax.runs import _ranges
from dcjax.runs.applications import _sets

_OBSERVER = 'convnet:width=3:depth=1:norm=batch'


@pytest.fixture(scope='module')
def digits():
  """Three classes of 8 x 8 pixels."""
  few = data.only_classes(data.load('digits', size=8), range(3))
  return data.at_most(few, 20, 30)


def _making(store=None, **changes):
  """As an application makes its sets."""
  changes = {'network': 'mlp:depth=1:width=4', **changes}
  chosen = runner.resolved('digits,smoke', 'continual', **changes)
  return _sets.Making(chosen.config, chosen.like, None, store)


def _made_once(digits, name, making, folder):
  """Makes a set; it is loaded, not made, when it is asked for again."""
  _sets.check((name,), making.config, digits)
  made = _sets.make(digits, name, making, folder)
  before = (folder / 'stages.json').read_bytes()
  again = _sets.make(digits, name, making, folder)
  assert (folder / 'stages.json').read_bytes() == before
  tiny.assert_trees_equal(made.batch(), again.batch())
  assert made.provenance['method'] == name.partition(':')[0]
  return made


def test_a_set_of_observers_stands_alone(digits, tmp_path):
  # Less to compile: no flatness, no statistics of classes.
  name = (
    f'edc:observers.matching={_OBSERVER},observers.labelling={_OBSERVER},'
    'method.flatness=0,method.alpha=1'
  )
  making = _making(tmp_path / 'store', ipc=2, sets__share_network=False)
  made = _made_once(digits, name, making, tmp_path / 'set')
  assert made.label_regime == 'one soft label per image'
  images, labels = made.batch()[:2]
  assert images.shape == (3, 2, 8, 8, 1)
  assert labels.shape == (3, 2, 3)
  np.testing.assert_allclose(labels.sum(-1), 1, rtol=1e-5)
  assert ((labels > 0) & (labels < 1)).all()
  # Other methods find the observer of these images beside the set.
  assert list((tmp_path / 'store').glob('observers-convnet-width-3*.npz'))


def test_learned_labels(digits, tmp_path):
  made = _made_once(
    digits, 'label_distillation', _making(ipc=1), tmp_path / 'set'
  )
  assert made.batch().labels.shape == (3, 1, 3)
  assert np.abs(made.labels - 1 / 3).max() > 0


def test_a_coreset_says_how_it_was_chosen(digits, tmp_path):
  made = _made_once(digits, 'random', _making(ipc=2), tmp_path / 'set')
  images = made.batch().images
  known = {image.tobytes() for image in digits.images}
  shown = np.round(images * 255).astype(np.uint8)
  assert all(image.tobytes() in known for image in shown.reshape(6, 8, 8, 1))


def _settings(name, **changes):
  making = _making(**changes)
  return _sets.settings.resolve(_sets._config(name, making)).config


def test_what_a_name_says_goes_before_what_all_sets_share():
  made = _settings('idc', sets__outer=3, sets__family='dsa')
  assert (made.outer, made.augment.family) == (3, 'dsa')
  assert made.network == 'mlp:depth=1:width=4'
  made = _settings(
    'idc:outer=5,network=lenet,augment.family=none',
    sets__outer=3,
    sets__family='dsa',
  )
  assert (made.outer, made.augment.family) == (5, 'none')
  assert made.network.startswith('lenet')
  # No generator of all classes fits the classes of a step.
  assert _settings('generative').start.startswith('weights')
  assert _settings('generative:start=fit').start.startswith('fit')


def test_unknown_sets_list_the_known_ones(digits):
  with pytest.raises(ValueError, match=r"sets\.names 'mttt'") as error:
    _sets.check(('mttt',), _making().config, digits)
  for name in ('idc', 'edc', 'generative', *_ranges.CORESETS):
    assert repr(name) in str(error.value)


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
  protocol = evaluation.Protocol(epochs=6, batch_size=8, learning_rate=0.1)
  learner = evaluation.evaluator(
    network,
    applications.lessons(network, batch_size=8),
    protocol=protocol,
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
