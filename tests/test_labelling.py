"""Soft labels: online, stored and per image, and students that learn them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dcjax import augment, evaluation, labelling, trees
from dcjax.base import Variables

_NORMALISE = augment.normalise(0.4, 0.5)
_NETWORKS = (tiny.LINEAR, tiny.LINEAR)
_MSE = labelling.student_loss('mse')


@pytest.fixture(scope='module')
def teachers():
  keys = jax.random.split(jax.random.key(5))
  return tuple(tiny.LINEAR.init(key) for key in keys)


@pytest.fixture(scope='module')
def condensed():
  images, labels = tiny.images_and_labels((4, 3, 3))
  return jnp.asarray(images), jnp.eye(3)[labels]


@pytest.fixture(scope='module')
def stored(teachers, condensed):
  return labelling.store(
    _NETWORKS,
    teachers,
    condensed[0],
    tiny.KEY,
    epochs=2,
    batch_size=4,
    normalise=_NORMALISE,
  )


def _logits(teachers, images):
  flat = np.asarray(images).reshape(len(images), -1)
  answers = [
    flat @ np.asarray(v.params['weight']) + np.asarray(v.params['bias'])
    for v in teachers
  ]
  return np.mean(answers, axis=0)


def test_labels_of_images_are_the_ensembles(teachers):
  images = tiny.stored(2)
  labels = labelling.soft_labels(
    _NETWORKS,
    teachers,
    images,
    normalise=_NORMALISE,
    temperature=2.0,
    batch_size=4,
  )
  flat = (np.asarray(images).reshape(6, *tiny.SHAPE) - 0.4) / 0.5
  expected = jax.nn.softmax(_logits(teachers, flat) / 2)
  np.testing.assert_allclose(labels.reshape(6, 3), expected, rtol=1e-4)
  assert labelling.teacher_bytes(teachers) == 2 * 4 * (16 * 3 + 3)
  with pytest.raises(ValueError, match='temperature 0: must be positive'):
    labelling.soft_labels(
      _NETWORKS, teachers, images, normalise=_NORMALISE, temperature=0
    )
  with pytest.raises(ValueError, match='2 networks and 1 weights'):
    labelling.ensemble_logits(_NETWORKS, teachers[:1], images[0])


def test_student_losses_equal_numpy():
  rng = np.random.default_rng(0)
  student, teacher = rng.normal(size=(2, 4, 3)).astype(np.float32)
  labels, weights = np.eye(3)[[0, 1, 2, 0]], np.array([1.0, 1, 0, 1])
  own = np.asarray(jax.nn.log_softmax(student))
  hard = -np.sum(own * labels, -1) @ weights / 3
  squares = np.mean((student - teacher) ** 2, -1)
  loss = labelling.student_loss('mse', hard_weight=0.1)
  batch = labelling.LabelledBatch(None, labels, weights, teacher)
  np.testing.assert_allclose(
    loss(student, batch),
    squares @ weights / 3 + 0.1 * hard,
    rtol=1e-5,
  )
  soft = labelling.student_loss('kl', hard_weight=0, temperature=20.0)
  wanted = np.asarray(jax.nn.log_softmax(teacher / 20))
  given = np.asarray(jax.nn.log_softmax(student / 20))
  expected = np.mean(np.sum(np.exp(wanted) * (wanted - given), -1))
  np.testing.assert_allclose(
    soft(student, batch._replace(weights=None)), expected, rtol=1e-2
  )
  with pytest.raises(ValueError, match="loss 'l1': must be one of"):
    labelling.student_loss('l1')
  with pytest.raises(ValueError, match='hard_weight -1'):
    labelling.student_loss(hard_weight=-1)


def test_stored_labels_are_those_of_the_views_they_make(
  teachers, condensed, stored, tmp_path
):
  images, labels = condensed
  labelling.save_labels(tmp_path / 'labels.npz', stored)
  loaded = labelling.load_labels(tmp_path / 'labels.npz')
  tiny.assert_trees_equal(loaded, stored)
  assert loaded.logits.dtype == np.float16
  assert loaded.logits.shape == (6, 4, 3)
  replay = jax.jit(
    lambda step: labelling.replay(loaded, images, labels, step, _NORMALISE)
  )
  crops = [replay(step) for step in range(6)]
  for crop in crops:
    np.testing.assert_allclose(
      crop.logits, _logits(teachers, crop.images), rtol=2e-3, atol=2e-3
    )
  # Every epoch shows every image once, in an order and a crop of its own.
  for epoch in (0, 3):
    shown = np.asarray(loaded.images[epoch : epoch + 3])
    counted = shown[np.asarray(loaded.weights[epoch : epoch + 3]) == 1]
    assert sorted(counted) == list(range(10))
  assert not np.array_equal(loaded.boxes[:3], loaded.boxes[3:])
  assert (loaded.partners != np.arange(4)).any()
  assert loaded.flips.any()
  assert not loaded.flips.all()
  per_image = 4 + 1 + 8 + 1 + 4 + 2 * 3
  assert loaded.nbytes == 6 * (4 * per_image + 8)
  np.testing.assert_array_equal(replay(7).images, crops[1].images)


def test_labels_of_other_training_are_errors(stored, tmp_path):
  fits = {'batch_size': 4, 'num_images': 10, 'num_classes': 3}
  labelling.check_stored(stored, **fits)
  for field, message in (
    ('batch_size', 'made for batches of 4; training has batches of 5'),
    ('num_images', 'made for 10 images; the set has 11'),
    ('num_classes', 'made for 3 classes; the set has 4'),
  ):
    with pytest.raises(ValueError, match=message):
      labelling.check_stored(stored, **{**fits, field: fits[field] + 1})
  with pytest.raises(FileNotFoundError):
    labelling.load_labels(tmp_path / 'absent.npz')
  trees.save(tmp_path / 'other.npz', {'images': np.ones(3)})
  with pytest.raises(ValueError, match='no stored labels'):
    labelling.load_labels(tmp_path / 'other.npz')
  for content in (b'no zip file', b''):
    (tmp_path / 'broken.npz').write_bytes(content)
    with pytest.raises(ValueError, match=r'broken\.npz: is damaged'):
      labelling.load_labels(tmp_path / 'broken.npz')


@pytest.mark.parametrize(
  ('field', 'change', 'said'),
  [
    ('images', lambda a: a - 5, 'images holds -'),
    ('partners', lambda a: a + 4, 'partners holds'),
    ('weights', lambda a: a + 1, 'weights holds'),
    ('flips', lambda a: a.astype(np.uint8), 'flips is uint8'),
    ('cuts', lambda a: a[:-1], 'cuts is uint16'),
    ('boxes', lambda a: a[..., :3], 'boxes is uint16'),
    ('logits', lambda a: a.astype(np.float32), 'logits is float32'),
    ('logits', lambda a: a[..., 0], 'logits is float16'),
    ('logits', lambda a: a[:, :, :0], 'nothing empty'),
  ],
)
def test_stored_labels_are_what_they_claim(
  stored, tmp_path, field, change, said
):
  changed = stored._replace(**{field: change(getattr(stored, field))})
  labelling.save_labels(tmp_path / 'labels.npz', changed)
  with pytest.raises(ValueError, match=said) as raised:
    labelling.load_labels(tmp_path / 'labels.npz')
  assert 'labels.npz' in str(raised.value)


def test_logits_that_are_not_finite_are_not_stored(stored, tmp_path):
  wrong = np.array(stored.logits)
  wrong[0, 0, 0] = np.inf
  with pytest.raises(ValueError, match="'logits' holds NaN or infinite"):
    labelling.save_labels(tmp_path / 'x.npz', stored._replace(logits=wrong))


def test_storing_checks_its_numbers(teachers, condensed):
  with pytest.raises(ValueError, match='batch_size 0'):
    labelling.store(
      _NETWORKS,
      teachers,
      condensed[0],
      tiny.KEY,
      epochs=1,
      batch_size=0,
      normalise=_NORMALISE,
    )


def _good_teacher():
  """Tells the classes of `tiny.images_and_labels` apart by their rows."""
  weight = np.repeat(np.eye(4)[:, None], 4, 1).reshape(16, 4)[:, :3]
  params = {'bias': jnp.zeros(3), 'weight': jnp.asarray(weight, jnp.float32)}
  return Variables(params, {})


def _protocol(**changes):
  return evaluation.Protocol(
    epochs=60,
    batch_size=4,
    learning_rate=0.05,
    optimizer='adamw',
    schedule='smoothing',
    zeta=2.0,
    test_points=(1.0,),
  )._replace(**changes)


def _evaluate(data, protocol, feed=None):
  evaluator = evaluation.evaluator(
    tiny.LINEAR,
    feed or evaluation.feed(protocol, augment=_NORMALISE),
    protocol=protocol,
    normalise=_NORMALISE,
  )
  test = tiny.images_and_labels((9, 8, 7), seed=9)
  return evaluation.evaluate(evaluator, data, test, tiny.KEY)


def test_a_student_learns_from_teachers_alone(condensed):
  images, labels = condensed
  # Labels that say nothing: what the student knows it has from the teacher.
  data = evaluation.training_set(images, jnp.ones_like(labels) / 3, 3)
  protocol = _protocol(average_rate=0.9)
  feed = labelling.online(
    (tiny.LINEAR,),
    labelling.student_loss('mse', hard_weight=0),
    batch_size=protocol.batch_size,
    augment=_NORMALISE,
    mix=lambda key, images, labels, weights: augment.cutmix(
      key, images, labels, probability=1.0, weights=weights
    ),
  )
  taught = labelling.TaughtSet(data, (_good_teacher(),))
  result = _evaluate(taught, protocol, feed)
  assert result.last[0] > 0.9


def test_a_student_learns_from_stored_labels(condensed):
  images, labels = condensed
  teacher = (_good_teacher(),)
  stored = labelling.store(
    (tiny.LINEAR,),
    teacher,
    images,
    tiny.KEY,
    epochs=60,
    batch_size=4,
    normalise=_NORMALISE,
  )
  data = evaluation.training_set(images, jnp.ones_like(labels) / 3, 3)
  data = labelling.StoredSet(data, jax.tree.map(jnp.asarray, stored))
  feed = labelling.replayed(
    labelling.student_loss('mse', hard_weight=0), _NORMALISE
  )
  assert _evaluate(data, _protocol(), feed).last[0] > 0.9


def test_averaged_weights_are_what_is_tested(condensed):
  images, labels = condensed
  data = evaluation.training_set(images, labels, 3)
  live = _evaluate(data, _protocol()).last[0]
  # Nearly the first weights, which have learnt nothing.
  first = _evaluate(data, _protocol(average_rate=0.999999)).last[0]
  assert first < 0.8 < live


def test_teachers_see_the_batch_as_the_student_does():
  """Augmented, then mixed; the labels are those before mixing."""
  feed = labelling.online(
    (tiny.LINEAR,),
    labelling.student_loss(),
    batch_size=2,
    augment=lambda key, images: images + 1,
    mix=lambda key, images, labels, weights: (images * 3, labels * 0),
  )
  images = jnp.ones((2, *tiny.SHAPE))
  teachers = (tiny.LINEAR.init(tiny.KEY),)
  data = labelling.TaughtSet(
    evaluation.training_set(images, np.array([1, 1]), 3), teachers
  )
  _, batch = feed.next(tiny.KEY, feed.init(tiny.KEY, data), data)
  np.testing.assert_array_equal(batch.labels, np.eye(3)[[1, 1]])
  np.testing.assert_array_equal(batch.images, 6 * images)
  np.testing.assert_allclose(
    batch.logits, _logits(teachers, batch.images), rtol=1e-5
  )


@pytest.mark.parametrize('field', ['optimizer', 'schedule'])
def test_protocols_name_what_exists(condensed, field):
  data = evaluation.training_set(*condensed, 3)
  with pytest.raises(ValueError, match=f"{field} 'x': must be one of"):
    _evaluate(data, _protocol(**{field: 'x'}))
