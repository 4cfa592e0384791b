"""Metrics, heads and protocols of the applications, against formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dcjax import applications, augment, evaluation, networks, training
from dcjax.base import Batch
from dcjax.losses import cross_entropy

NAN = np.nan
MATRIX = np.array([[0.8, NAN, NAN], [0.9, 0.6, NAN], [0.5, 0.4, 0.7]])
PROTOCOL = evaluation.Protocol(epochs=6, batch_size=8, learning_rate=0.1)
IDENTITY = augment.normalise((0.0,), (1.0,))


def test_metrics_of_a_matrix_by_hand():
  seen = applications.seen_accuracy(MATRIX)
  np.testing.assert_allclose(seen, [0.8, 0.75, 1.6 / 3])
  weighted = applications.seen_accuracy(MATRIX, [1, 3, 4])
  np.testing.assert_allclose(weighted, [0.8, 2.7 / 4, (0.5 + 1.2 + 2.8) / 8])
  average = applications.average_incremental_accuracy(MATRIX)
  np.testing.assert_allclose(average, (0.8 + 0.75 + 1.6 / 3) / 3)
  final = applications.final_average_accuracy(MATRIX)
  np.testing.assert_allclose(final, 1.6 / 3)
  # The best on step 0 was 0.9 (after step 1), the first 0.8.
  np.testing.assert_allclose(applications.forgetting(MATRIX), (0.4 + 0.2) / 2)
  first = applications.forgetting(MATRIX, 'first')
  np.testing.assert_allclose(first, (0.3 + 0.2) / 2)
  np.testing.assert_allclose(applications.backward_transfer(MATRIX), -0.25)


def test_metrics_keep_leading_axes_and_know_one_step():
  many = np.stack([MATRIX, MATRIX / 2])
  forgotten = applications.forgetting(many)
  np.testing.assert_allclose(forgotten, [0.3, 0.15])
  assert applications.forgetting([[0.5]]) == 0
  assert applications.backward_transfer([[0.5]]) == 0


@pytest.mark.parametrize(
  ('matrix', 'message'),
  [
    ([0.1, 0.2], 'T, T'),
    ([[0.1, 0.2]], 'T, T'),
    ([[1.5]], 'in \\[0, 1\\]'),
    ([[0.5, NAN], [NAN, 0.5]], 'in \\[0, 1\\]'),
  ],
)
def test_bad_matrices(matrix, message):
  with pytest.raises(ValueError, match=message):
    applications.seen_accuracy(matrix)
  with pytest.raises(ValueError, match='sizes'):
    applications.seen_accuracy(MATRIX, [1, 2])
  with pytest.raises(ValueError, match='best'):
    applications.forgetting(MATRIX, 'last')


def test_rank_correlation_over_all_and_over_the_top():
  whole = [0.9, 0.8, 0.7, 0.6]
  proxy = [0.5, 0.6, 0.2, 0.1]
  found = applications.rank_networks(proxy, whole, top=2)
  # 1 - 6 sum d^2 / (n (n^2 - 1)) with d = 1, 1, 0, 0.
  np.testing.assert_allclose(found.spearman, 1 - 12 / 60)
  np.testing.assert_allclose(found.spearman_top, -1)
  assert found.overlap == 1
  assert found.chosen == 1
  np.testing.assert_allclose(found.regret, 0.1)
  assert np.isnan(applications.spearman([0.1, 0.1], [0.2, 0.3]))
  with pytest.raises(ValueError, match='finite'):
    applications.spearman([0.1, NAN], [0.2, 0.3])
  with pytest.raises(ValueError, match='top 0'):
    applications.rank_networks(proxy, whole, top=0)


def test_membership_attack_by_hand():
  found = applications.membership_attack(
    [0.9, 0.8, 0.3], [0.5, 0.4, 0.2, 0.1], (0, 0.25, 0.5)
  )
  # Of 12 pairs the member is above in 4 + 4 + 2.
  np.testing.assert_allclose(found.auc, 10 / 12)
  np.testing.assert_allclose(found.advantage, 2 / 3)
  rates = found.true_positive_rates
  np.testing.assert_allclose(
    [rates[0], rates[0.25], rates[0.5]], [2 / 3] * 2 + [1]
  )
  tied = applications.membership_attack([np.inf, 1.0], [np.inf, 1.0])
  assert tied.auc == 0.5
  with pytest.raises(ValueError, match='NaN'):
    applications.membership_attack([NAN], [0.0])
  with pytest.raises(ValueError, match='0, 1'):
    applications.membership_attack([1.0], [0.0], [2.0])


def test_membership_scores_are_log_odds():
  logits = np.random.default_rng(0).normal(size=(5, 4))
  labels = np.array([0, 1, 2, 3, 0])
  p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  own = p[np.arange(5), labels]
  scores = applications.membership_scores(jnp.asarray(logits), labels)
  np.testing.assert_allclose(scores, np.log(own / (1 - own)), rtol=1e-4)


def test_distillation_loss_against_its_formula():
  rng = np.random.default_rng(0)
  student, teacher = rng.normal(size=(2, 3, 5))
  old = np.array([True, True, True, False, False])

  def softened(logits):
    odds = np.exp(logits[:, :3] / 2.0)
    return odds / odds.sum(1, keepdims=True)

  q, p = softened(teacher), softened(student)
  expected = 0.7 * 4 * np.mean(np.sum(q * np.log(q / p), axis=1))
  loss = applications.distillation_loss(
    jnp.asarray(student), jnp.asarray(teacher), old, temperature=2.0, weight=0.7
  )
  np.testing.assert_allclose(loss, expected, rtol=1e-5)
  counted = applications.distillation_loss(
    student, teacher, old, weights=jnp.array([1.0, 1.0, 0.0])
  )
  first = applications.distillation_loss(student[:2], teacher[:2], old)
  np.testing.assert_allclose(counted, first, rtol=1e-5)
  same = applications.distillation_loss(student, student)
  np.testing.assert_allclose(same, 0.0, atol=1e-6)


@pytest.mark.parametrize('name', ['mlp', 'convnet'])
def test_widening_keeps_old_logits(name):
  small, large = (
    networks.build({'name': name, 'depth': 1, 'width': 4}, (8, 8, 1), k)
    for k in (3, 5)
  )
  variables = small.init(jax.random.key(0))
  fresh = large.init(jax.random.key(1))
  wide = applications.widen_classifier(variables, fresh)
  images = jax.random.uniform(jax.random.key(2), (4, 8, 8, 1))
  before = small.apply(variables, images, False)[0].logits
  after = large.apply(wide, images, False)[0].logits
  assert after.shape == (4, 5)
  # A product of five columns may round otherwise than one of three.
  np.testing.assert_allclose(after[:, :3], before, rtol=1e-5, atol=1e-6)
  old, new = (v.params['classifier']['kernel'] for v in (variables, wide))
  np.testing.assert_array_equal(new[:, :3], old)
  own = wide.params['classifier']['bias'][3:]
  np.testing.assert_array_equal(own, fresh.params['classifier']['bias'][3:])
  with pytest.raises(ValueError, match='cannot be widened to 3'):
    applications.widen_classifier(fresh, variables)
  other = networks.mlp((8, 8, 1), 5, depth=3).init(jax.random.key(0))
  with pytest.raises(ValueError, match='must differ'):
    applications.widen_classifier(variables, other)


def _set(classes=4, each=5):
  images, labels = tiny.images_and_labels((each,) * classes)
  return evaluation.training_set(images, labels, classes)


def _learner(network, feed=None, protocol=PROTOCOL):
  feed = feed or evaluation.feed(protocol)
  return evaluation.evaluator(
    network, feed, protocol=protocol, normalise=IDENTITY
  )


def _reminded(network, temperature=2.0, weight=1.0, protocol=PROTOCOL):
  """A learner that distils what it was."""
  feed = applications.lessons(
    network,
    applications.Distillation(temperature, weight),
    batch_size=protocol.batch_size,
  )
  return _learner(network, feed, protocol)


def test_masked_outputs_train_as_a_narrower_network():
  """Value and gradient: three steps end with the same numbers."""
  wide, narrow = (tiny.linear_network(num_classes=k) for k in (4, 2))
  images, labels = tiny.images_and_labels((6, 6))
  variables = wide.init(tiny.KEY)
  few = jax.tree.map(lambda x: x[..., :2], variables)
  present = jnp.array([True, True, False, False])
  masked = networks.with_outputs(wide, present)

  def train(network, variables, num_classes):
    state = training.start_from(variables, tiny.INNER_SGD)
    batch = Batch(images, jax.nn.one_hot(labels, num_classes))
    for _ in range(3):
      state, _ = training.train_step(network, tiny.INNER_SGD, state, batch)
    return state.variables.params

  ours, theirs = train(masked, variables, 4), train(narrow, few, 2)
  for name in ours:
    np.testing.assert_allclose(ours[name][..., :2], theirs[name], rtol=1e-5)
    np.testing.assert_array_equal(
      ours[name][..., 2:], variables.params[name][..., 2:]
    )


def test_renewed_outputs_are_those_of_a_widened_classifier():
  few, many = (tiny.linear_network(num_classes=k) for k in (2, 3))
  axes = applications.output_axes(few, many)
  assert axes == {'bias': 0, 'weight': 1}
  old, fresh = many.init(jax.random.key(0)), many.init(jax.random.key(1))
  kept = jnp.array([True, True, False])
  renewed = applications.renew_outputs(old, fresh, kept, axes)
  narrow = jax.tree.map(lambda x: x[..., :2], old)
  widened = applications.widen_classifier(narrow, fresh)
  tiny.assert_trees_equal(renewed.params, widened.params)


def test_scratch_training_is_the_evaluators():
  network, data = tiny.linear_network(num_classes=4), _set()
  images, labels = tiny.images_and_labels((9, 9, 9, 9), seed=5)
  tests = (0.5 + 0.05 * images, labels)  # too faint to be told apart well
  learner = _learner(network)
  expected = evaluation.evaluate(learner, data, tests, tiny.KEY, num_seeds=2)
  keys = evaluation.seed_keys(tiny.KEY, 2)
  trained = applications.teach(learner, keys, data, learner.init(keys))
  found = applications.accuracies(learner, trained, [tests])
  np.testing.assert_allclose(found[:, 0], expected.last)
  assert len(set(expected.accuracy.ravel())) > 1


def test_distilled_training_descends_on_both_losses():
  """One step of the learner is one step down the written-out sum."""
  protocol = PROTOCOL._replace(
    epochs=1, batch_size=20, momentum=0.0, weight_decay=0.0, drops=()
  )
  network, data = tiny.linear_network(num_classes=4), _set()
  learner = _reminded(network, 2.0, 0.5, protocol)
  keys = evaluation.seed_keys(tiny.KEY, 1)
  student = learner.init(keys)
  teacher = learner.init(evaluation.seed_keys(jax.random.key(7), 1))
  old = np.array([True, True, False, False])
  lesson = applications.Lesson(data, old, teacher)
  moved = applications.teach(learner, keys, lesson, student)
  one, other = (jax.tree.map(lambda x: x[0], v) for v in (student, teacher))

  def loss(params):
    ours = network.apply(one._replace(params=params), data.images, True)[0]
    theirs = network.apply(other, data.images, False)[0]
    return cross_entropy(
      ours.logits, Batch(data.images, data.labels)
    ) + applications.distillation_loss(
      ours.logits, theirs.logits, old, temperature=2.0, weight=0.5
    )

  gradient = jax.grad(loss)(one.params)
  for name, value in gradient.items():
    expected = one.params[name] - 0.1 * value
    np.testing.assert_allclose(moved.params[name][0], expected, atol=1e-6)
  plain = applications.teach(_learner(network), keys, data, student)
  assert not np.allclose(plain.params['weight'], moved.params['weight'])


def _step_memories(steps=2):
  images, labels = tiny.images_and_labels((5,) * 4)
  sorted_images = np.stack([images[labels == c] for c in range(4)])
  each = 4 // steps
  memories = [
    Batch(sorted_images[i * each : (i + 1) * each, :3], None)
    for i in range(steps)
  ]
  tests = [
    (images[labels // each == i], labels[labels // each == i])
    for i in range(steps)
  ]
  return memories, tests


@pytest.mark.parametrize('continued', [False, True])
def test_class_incremental_learning_goes_on_where_it_stopped(continued):
  network = tiny.linear_network(num_classes=4)
  axes = None
  if continued:
    few = tiny.linear_network(num_classes=3)
    axes = applications.output_axes(few, network)
  learner = _reminded(network)
  memories, tests = _step_memories()

  def learn(**options):
    return list(
      applications.class_incremental(
        learner, memories, tests, tiny.KEY, num_seeds=2, axes=axes, **options
      )
    )

  whole = learn()
  assert [r.step for r in whole] == [0, 1]
  assert np.isnan(whole[0].accuracy[:, 1]).all()
  matrix = np.stack([r.accuracy for r in whole], axis=1)
  assert matrix.shape == (2, 2, 2)
  assert applications.seen_accuracy(matrix)[:, 0].min() > 0.9
  (again,) = learn(first=1, previous=whole[0].variables)
  tiny.assert_trees_equal(again.variables, whole[1].variables)
  other = jax.tree.map(jnp.zeros_like, whole[0].variables)
  (changed,) = learn(first=1, previous=other)
  weights = changed.variables.params['weight']
  same = np.array_equal(weights, whole[1].variables.params['weight'])
  assert same != continued
  if continued:
    with pytest.raises(ValueError, match='previous'):
      learn(first=1)


def test_a_later_memory_changes_no_earlier_step():
  network = tiny.linear_network(num_classes=4)
  feed = applications.lessons(network, batch_size=8)
  learner = _learner(network, feed)
  memories, tests = _step_memories()

  def first(memories):
    steps = applications.class_incremental(learner, memories, tests, tiny.KEY)
    return next(steps).variables

  blank = memories[1]._replace(images=np.zeros_like(memories[1].images))
  tiny.assert_trees_equal(first(memories), first([memories[0], blank]))


def test_bad_class_orders_and_memories():
  split = applications.split_classes
  np.testing.assert_array_equal(split([2, 0, 3, 1], 4, 2), [[0, 2], [1, 3]])
  with pytest.raises(ValueError, match=r'repeats \[1\]'):
    split([0, 1, 1, 3], 4, 2)
  with pytest.raises(ValueError, match=r'misses \[3\]'):
    split([0, 1, 2], 4, 2)
  with pytest.raises(ValueError, match=r'do not have, \[9\]'):
    split([0, 1, 2, 3, 9], 4, 2)
  with pytest.raises(ValueError, match='steps 3'):
    split([0, 1, 2, 3], 4, 3)
  memories, tests = _step_memories()
  learner = _reminded(tiny.linear_network(num_classes=4))
  smaller = [memories[0], Batch(memories[1].images[:, :1], None)]
  for wrong, message in ((smaller, 'alike'), (memories[:1], 'one of each')):
    with pytest.raises(ValueError, match=message):
      next(applications.class_incremental(learner, wrong, tests, tiny.KEY))


def test_published_class_order_is_that_of_idc():
  groups = applications.split_classes(
    applications.published_class_order(100), 100, 5
  )
  assert groups[0].tolist()[:8] == [2, 7, 8, 13, 16, 22, 24, 26]
  assert groups[4].tolist()[-4:] == [83, 87, 88, 96]


def _task(name, seed, **changes):
  images, labels = tiny.images_and_labels((6, 6, 6), seed=seed)
  kept = np.stack([images[labels == c][:2] for c in range(3)])
  soft = np.broadcast_to(np.eye(3)[:, None], (3, 2, 3))
  task = applications.Task(
    name, images, labels, (images, labels), Batch(kept, soft), ('a', 'b', 'c')
  )
  return task._replace(**changes)


def test_task_incremental_learning_and_its_resumption():
  network = tiny.linear_network()
  learner, balancer = (_reminded(network, weight=0.25) for _ in range(2))
  tasks = [_task('first', 0), _task('second', 1)]

  def learn(tasks=tasks, **options):
    return list(
      applications.task_incremental(
        learner, balancer, tasks, tiny.KEY, passes=lambda n: 8, **options
      )
    )

  whole = learn()
  assert whole[1].accuracy.shape == (1, 2)
  assert np.nanmin(whole[1].accuracy) > 0.9
  (again,) = learn(first=1, previous=whole[0].variables)
  tiny.assert_trees_equal(again.variables, whole[1].variables)
  other = _task('letters', 1, class_names=('x', 'b', 'c'))
  with pytest.raises(ValueError, match=r"letters has classes \['x'"):
    learn([tasks[0], other])
  wide = _task('wide', 1, images=np.zeros((4, 8, 8, 1)))
  with pytest.raises(ValueError, match=r'wide has images \(8, 8, 1\)'):
    learn([tasks[0], wide])


def test_adaptation_leaves_the_source_networks_alone():
  learner = _learner(tiny.linear_network())
  keys = evaluation.seed_keys(tiny.KEY, 2)
  source = learner.init(keys)
  before = jax.tree.map(np.array, source)
  task = _task('target', 2)
  found = applications.adapt(learner, source, task.memory, task.test, tiny.KEY)
  untrained = applications.accuracies(learner, source, [task.test])[:, 0]
  assert found.shape == (2,)
  assert found.mean() > untrained.mean()
  tiny.assert_trees_equal(source, before)


def test_the_published_grid_and_a_part_of_it():
  grid = applications.convnet_grid()
  assert len(grid) == 720
  assert len({tuple(spec.items()) for spec in grid.values()}) == 720
  part = applications.convnet_grid({'norm': ('none', 'batch'), 'depth': (1, 2)})
  assert list(part)[:2] == ['depth=1 norm=none', 'depth=1 norm=batch']
  with pytest.raises(ValueError, match='colour'):
    applications.convnet_grid({'colour': (1,)})
  with pytest.raises(ValueError, match='twice'):
    applications.convnet_grid({'depth': (1, 1)})


def test_bad_distillation():
  with pytest.raises(ValueError, match='temperature 0'):
    _reminded(tiny.linear_network(), 0.0)
  with pytest.raises(ValueError, match='weight -1'):
    _reminded(tiny.linear_network(), weight=-1)
