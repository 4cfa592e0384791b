"""Evaluation: protocols, seeds, padding, test points, labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dcjax import evaluation
from dcjax.evaluation import Evaluation, Protocol, _words

_NETWORK = tiny.linear_network()
_PROTOCOL = Protocol(epochs=6, batch_size=4, test_points=(0.5, 1.0))
_KEY = jax.random.key(0)


def _plain(key, images):
  del key
  return images - 0.3


def _noise(key, images):
  """One draw for the whole batch, whatever its size."""
  return images - 0.3 + 0.2 * jax.random.normal(key, images.shape[1:])


def _evaluator(protocol=_PROTOCOL, augment=_noise, **options):
  return evaluation.evaluator(
    _NETWORK,
    evaluation.feed(protocol, augment=augment),
    protocol=protocol,
    normalise=_plain,
    **options,
  )


def _data(padded_to=None, counts=(4, 3, 4)):
  images, labels = tiny.images_and_labels(counts)
  return evaluation.training_set(images, labels, 3, padded_to)


def _evaluate(evaluator, data, test=None, **options):
  test = test or tiny.images_and_labels((9, 8, 7), seed=9)
  return evaluation.evaluate(evaluator, data, test, _KEY, **options)


@pytest.fixture(scope='module')
def scan():
  return _evaluator(seeds='scan')


@pytest.fixture(scope='module')
def result(scan):
  return _evaluate(scan, _data(), num_seeds=3)


def test_seeds_at_once_equal_one_after_another(result):
  vmap = _evaluate(_evaluator(seeds='vmap'), _data(), num_seeds=3)
  np.testing.assert_allclose(vmap.loss, result.loss, rtol=1e-5)
  np.testing.assert_allclose(vmap.accuracy, result.accuracy, atol=1e-6)
  assert result.accuracy.shape == (3, 2)
  assert len(set(result.loss.tolist())) == 3


def test_a_seed_does_not_depend_on_the_others(scan, result):
  alone = _evaluate(scan, _data(), num_seeds=1)
  np.testing.assert_array_equal(alone.accuracy, result.accuracy[:1])
  np.testing.assert_allclose(alone.loss, result.loss[:1], rtol=1e-6)


@pytest.mark.parametrize('padded_to', [12, 30])
def test_padding_changes_nothing(scan, result, padded_to):
  padded = _evaluate(scan, _data(padded_to), num_seeds=3)
  np.testing.assert_allclose(padded.loss, result.loss, rtol=1e-5)
  np.testing.assert_array_equal(padded.accuracy, result.accuracy)


def test_a_set_smaller_than_the_batch_may_be_padded(scan):
  tight = _evaluate(scan, _data(counts=(1, 1, 1)))
  padded = _evaluate(scan, _data(12, counts=(1, 1, 1)))
  np.testing.assert_allclose(padded.loss, tight.loss, rtol=1e-5)


def test_pieces_and_progress(scan, result):
  fractions = []
  pieces = _evaluate(
    scan, _data(), num_seeds=3, pieces=6, progress=fractions.append
  )
  np.testing.assert_array_equal(pieces.accuracy, result.accuracy)
  np.testing.assert_allclose(fractions, np.arange(1, 7) / 6)
  fractions.clear()
  _evaluate(scan, _data(), pieces=1, progress=fractions.append)
  np.testing.assert_allclose(fractions, [0.5, 1.0])


def test_learns_and_scales_test_images():
  images, labels = tiny.images_and_labels((20, 20, 20), seed=9)
  test = ((255 * images).astype(np.uint8), labels)
  protocol = Protocol(epochs=60, batch_size=8, learning_rate=0.1)
  evaluator = _evaluator(protocol, scale=255.0, augment=_plain)
  data = _data(counts=(9, 9, 9))
  found = _evaluate(evaluator, data, test)
  assert found.accuracy.shape == (1, 4)
  assert found.last[0] > 0.95
  assert found.loss[0] < 0.3
  wrong = (test[0], (labels + 1) % 3)
  assert _evaluate(evaluator, data, wrong).last[0] < 0.05
  # What the last step broke, no loss has seen.
  broken = evaluator._replace(
    tested=lambda state: jax.tree.map(
      lambda leaf: leaf.at[..., :1].set(np.nan), evaluator.tested(state)
    )
  )
  assert np.isnan(_evaluate(broken, data, test).loss).all()


def test_every_image_is_used_in_every_epoch():
  """One epoch without momentum equals the same steps by hand."""
  protocol = Protocol(
    epochs=1, batch_size=16, momentum=0.0, weight_decay=0.0, drops=()
  )
  evaluator = _evaluator(protocol, augment=_plain)
  data = _data()
  keys = jax.random.fold_in(_KEY, 0)[None]
  before = evaluator.start(keys, data)
  weight = np.asarray(before[0].variables.params['weight'][0], np.float64)
  after, _ = evaluator.train(keys, data, before, 1)
  assert after[0].step[0] == 1
  flat = np.asarray(data.images, np.float64).reshape(11, -1) - 0.3
  logits = flat @ weight
  probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  gradient = flat.T @ (probabilities - np.asarray(data.labels)) / 11
  np.testing.assert_allclose(
    after[0].variables.params['weight'][0], weight - 0.01 * gradient, atol=1e-6
  )


def test_soft_labels(scan, result):
  images, labels = tiny.images_and_labels((4, 3, 4))
  one_hot = np.eye(3, dtype=np.float32)[labels]
  hard = evaluation.training_set(images, one_hot, 3)
  tiny.assert_trees_equal(hard, _data())
  soft = evaluation.training_set(images, 0.7 * one_hot + 0.1, 3)
  found = _evaluate(scan, soft, num_seeds=3)
  assert np.isfinite(found.loss).all()
  assert (found.loss != result.loss).all()


def test_training_set_pads():
  data = _data(padded_to=13)
  assert data.images.shape == (13, *tiny.SHAPE)
  assert data.labels.shape == (13, 3)
  assert data.count == 11
  assert not data.images[11:].any()
  assert not data.labels[11:].any()


def test_last_best_mean_and_deviation():
  found = Evaluation(np.array([[0.5, 0.9, 0.6], [0.7, 0.8, 0.8]]), np.zeros(2))
  np.testing.assert_array_equal(found.last, [0.6, 0.8])
  np.testing.assert_array_equal(found.best, [0.9, 0.8])
  summary = found.summary()
  assert summary['per_seed_last'] == [0.6, 0.8]
  assert summary['per_seed_best'] == [0.9, 0.8]
  np.testing.assert_allclose(
    [summary[f'{a}_{b}'] for a in ('last', 'best') for b in ('mean', 'std')],
    [0.7, 0.2 / np.sqrt(2), 0.85, 0.1 / np.sqrt(2)],
  )
  alone = Evaluation(np.array([[0.5, 0.9]]), np.zeros(1)).summary()
  assert alone['last_mean'] == alone['best_mean'] == 0.9
  assert alone['last_std'] == alone['best_std'] == 0


def _stops(protocol, pieces=1):
  return list(_words.stops(protocol, pieces))


def test_test_points():
  tests = [stop for stop, tested in _stops(evaluation.idc_protocol()) if tested]
  assert tests == [250, 500, 750, 1000]
  stops = _stops(evaluation.dc_protocol(300), 3)
  assert stops == [(100, False), (200, False), (300, False), (301, True)]
  # More pieces than epochs, and points that fall on one epoch.
  assert _stops(evaluation.idc_protocol(2), 20) == [(1, True), (2, True)]
  assert _stops(evaluation.idc_protocol(1), 20) == [(1, True)]


def _rates(protocol):
  """Learning rate of every epoch, from updates by unit gradients."""
  optimizer = _words.optimizer_of(
    protocol._replace(momentum=0.0, weight_decay=0.0), 1
  )
  params = jnp.zeros(())

  def step(state, _):
    updates, state = optimizer.update(jnp.ones(()), state, params)
    return state, -updates

  state = optimizer.init(params)
  return np.asarray(
    jax.lax.scan(step, state, length=protocol.epochs)[1], np.float64
  )


def test_idc_protocol():
  protocol = evaluation.idc_protocol(1000)
  assert protocol[:5] == (1000, 64, 0.01, 0.9, 5e-4)
  expected = np.repeat([0.01, 0.002, 0.0004], [666, 167, 167])
  np.testing.assert_allclose(_rates(protocol), expected, rtol=1e-6)


@pytest.mark.parametrize(
  ('name', 'protocol'),
  [
    ('student_cifar_epochs400', evaluation.PROTOCOLS['sre2l'](400)),
    ('student_imagenet_epochs300', evaluation.PROTOCOLS['sre2l']()),
    ('smoothing_epochs1000_zeta2', evaluation.PROTOCOLS['edc']()),
    ('smoothing_epochs300_zeta2', evaluation.PROTOCOLS['rded']()),
    ('multistep_epochs1000', evaluation.PROTOCOLS['edc_cifar10']()),
    (
      'smoothing_epochs1000_zeta1_5',
      Protocol(schedule='smoothing', zeta=1.5),
    ),
    ('ssrs_epochs1000_zeta2', Protocol(schedule='ssrs', zeta=2.0)),
    ('ssrs_epochs1000_zeta1_5', Protocol(schedule='ssrs', zeta=1.5)),
    ('ssrs_epochs300_zeta2', Protocol(300, schedule='ssrs', zeta=2.0)),
  ],
)
def test_rates_of_students_are_the_references(golden, name, protocol):
  file = golden('schedules')
  rates = _rates(
    protocol._replace(learning_rate=1.0, optimizer='sgd', average_rate=None)
  )
  at = file[f'{name}_at']
  inside = at < len(rates)
  np.testing.assert_allclose(
    rates[at[inside]], file[f'{name}_rate'][inside], atol=1e-6
  )


@pytest.mark.parametrize(
  ('name', 'epochs', 'drop'), [('dc', 301, 152), ('dm', 1001, 502)]
)
def test_dc_protocols(name, epochs, drop):
  protocol = evaluation.PROTOCOLS[name]()
  assert protocol[:5] == (epochs, 256, 0.01, 0.9, 5e-4)
  assert protocol.clear_momentum
  expected = np.repeat([0.01, 0.001], [drop, epochs - drop])
  np.testing.assert_allclose(_rates(protocol), expected, rtol=1e-6)
  assert evaluation.PROTOCOLS['dsa']() == evaluation.PROTOCOLS['dm']()


@pytest.mark.parametrize('steps_per_epoch', [1, 3])
def test_dc_clears_the_momentum_at_the_drop(steps_per_epoch):
  protocol = evaluation.dc_protocol(8)._replace(weight_decay=0.0)
  optimizer = _words.optimizer_of(protocol, jnp.asarray(steps_per_epoch))
  state, updates = optimizer.init(jnp.zeros(())), []
  # The drop comes after six of the nine passes.
  drop = 6 * steps_per_epoch
  for _ in range(drop + 2):
    update, state = optimizer.update(jnp.ones(()), state, jnp.zeros(()))
    updates.append(float(-update))
  assert updates[drop - 1] > 0.01 * 3
  np.testing.assert_allclose(updates[drop:], [0.001, 0.0019], rtol=1e-5)


def test_training_set_rejects():
  images, labels = tiny.images_and_labels((2, 2, 2))
  with pytest.raises(ValueError, match=r'images \(6, 4, 4\)'):
    evaluation.training_set(images[..., 0], labels, 3)
  with pytest.raises(ValueError, match=r'labels \(5,\)'):
    evaluation.training_set(images, labels[:5], 3)
  with pytest.raises(ValueError, match='2 columns: must be 3'):
    evaluation.training_set(images, np.ones((6, 2)), 3)
  with pytest.raises(ValueError, match=r'labels 0\.\.2: must be in 0\.\.1'):
    evaluation.training_set(images, labels, 2)
  with pytest.raises(ValueError, match='padded_to 5: must be at least 6'):
    evaluation.training_set(images, labels, 3, padded_to=5)


def test_evaluator_rejects():
  early = evaluation.idc_protocol(2)._replace(test_points=(0.5,))
  with pytest.raises(ValueError, match='must end with 1'):
    _evaluator(protocol=early)
  with pytest.raises(ValueError, match="seeds 'pmap'"):
    _evaluator(seeds='pmap')


def test_epochs_on_imagenet_are_the_references(golden):
  for ipc, factor, classes, epochs in golden('epoch_rule')[
    'ipc_factor_nclass_epochs'
  ]:
    found = evaluation.imagenet_epochs(int(ipc), int(factor), int(classes))
    assert found == epochs
