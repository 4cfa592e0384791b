"""What observers and students see, against the published codes' values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import torch_layout

from dcjax import augment, evaluation, methods, protocols
from dcjax.methods import RecoveryDraw

_MEAN, _STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.fixture(scope='module')
def file(golden):
  """The golden file."""
  return golden('sre2l_views')


def _seen(file, name, drawn):
  return np.moveaxis(
    methods.apply_recovery(torch_layout.images(file[name]), drawn), -1, 1
  )


@pytest.mark.parametrize('draw', range(3))
def test_cifar_recovery_of_sre2l_rolls(file, draw):
  roll = jnp.asarray(file[f'cifar_roll{draw}'])
  np.testing.assert_array_equal(
    _seen(file, 'cifar_x', RecoveryDraw(roll=roll)),
    file[f'cifar_roll{draw}_out'],
  )


@pytest.mark.parametrize('draw', range(3))
def test_imagenet_recovery_crops_mirrors_and_rolls_in_this_order(file, draw):
  name = f'imagenet{draw}_'
  drawn = RecoveryDraw(
    jnp.asarray(file[f'{name}box'], jnp.float32),
    flip=1.0 - file[f'{name}flip'],
    roll=jnp.asarray(file[f'{name}roll']),
  )
  np.testing.assert_allclose(
    _seen(file, 'imagenet_x', drawn), file[f'{name}out'], atol=1e-5
  )


def test_gvbsm_recovery_pads_crops_mirrors_and_rolls(file):
  padding = methods.recovery('gvbsm', 'cifar').padding
  drawn = RecoveryDraw(
    shift=jnp.asarray(file['gvbsm_offset'] - padding),
    padding=padding,
    flip=1.0 - file['gvbsm_flip'],
    roll=jnp.asarray(file['gvbsm_roll']),
  )
  np.testing.assert_array_equal(
    _seen(file, 'cifar_x', drawn), file['gvbsm_out']
  )


def test_rolls_reach_as_far_as_published(file):
  names, ranges = file['roll_range_names'], file['roll_range_low_high']
  for name, (low, high) in zip(names, ranges, strict=True):
    method, _, images = str(name).partition('_')
    assert methods.recovery(method, images).roll == (low, high)


def _ramp():
  """An image whose pixels say where they were."""
  pixels = np.arange(64, dtype=np.float32).reshape(1, 8, 8, 1)
  return jnp.asarray(pixels / 64)


def _views_of(count=300, **options):
  seen = methods.recovery_augment((0.0,), (1.0,), methods.Recovery(**options))
  keys = jax.random.split(jax.random.key(0), count)
  run = jax.jit(jax.vmap(lambda key: seen(key, _ramp(), 0.0)))
  return np.round(np.asarray(run(keys))[:, 0, ..., 0] * 64).astype(int)


@pytest.mark.parametrize(
  ('roll', 'low', 'high'), [(4, 0, 4), ((-2, 1), -2, 1), ((0, 2), 0, 2)]
)
def test_rolls_take_both_ends(roll, low, high):
  found = _views_of(flip=False, roll=roll)
  whole = np.arange(64).reshape(8, 8)
  allowed = {
    np.roll(whole, (r, c), (0, 1)).tobytes(): (r, c)
    for r in range(low, high + 1)
    for c in range(low, high + 1)
  }
  assert {allowed[image.tobytes()] for image in found} == set(allowed.values())


def test_padded_crops_take_every_window():
  found = _views_of(count=100, flip=False, padding=1)
  padded = np.pad(np.arange(64).reshape(8, 8), 1)
  allowed = {
    padded[r : r + 8, c : c + 8].tobytes() for r in range(3) for c in range(3)
  }
  assert {image.tobytes() for image in found} == allowed


def test_nothing_but_what_is_asked_for():
  found = _views_of(count=2, flip=False)
  assert (found == np.arange(64).reshape(8, 8)).all()
  mirrored = _views_of(count=20, flip=True)
  assert {image[0, 0] for image in mirrored} == {0, 7}


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'roll': -1}, r'roll -1: must be \(low, high\)'),
    ({'roll': (3, 1)}, r'roll \(3, 1\): must be'),
    ({'padding': -1}, 'padding -1'),
    ({'padding': 4, 'smallest_crop': 0.5}, 'padding 4 and smallest_crop 0.5'),
    ({'smallest_crop': 2.0}, 'smallest_crop 2.0'),
  ],
)
def test_bad_views_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    methods.recovery_augment(_MEAN, _STD, methods.Recovery(**options))


def test_unknown_recoveries_are_named():
  with pytest.raises(ValueError, match="method 'mtt': must be one of"):
    methods.recovery('mtt', 'cifar')
  with pytest.raises(ValueError, match="images 'mnist': must be one of"):
    methods.recovery('cda', 'mnist')


def test_student_crops_are_windows_of_images_in_black(file):
  images = file['student_x_u8'] / np.float32(255)
  expected = file['student_out_u8'] / np.float32(255)
  shifts = jnp.asarray(file['student_offsets'] - 4)
  found = augment.crop(
    jnp.asarray(images), shifts[:, 0], shifts[:, 1], reach=(4, 4)
  )
  np.testing.assert_array_equal(found, expected)
  mean, std = file['student_mean'], file['student_std']
  normalised = augment.normalise(mean, std)(tiny.KEY, found)[1]
  np.testing.assert_allclose(
    np.moveaxis(normalised, -1, 0),
    file['student_out_normalised_first'],
    rtol=1e-5,
    atol=1e-6,
  )

  student = augment.student_crops(mean, std, (32, 32), crop='pad4', flip=False)
  seen = np.asarray(jax.jit(student)(tiny.KEY, jnp.asarray(images)))
  low, high = file['student_offset_range']
  for image, treated in zip(images, seen, strict=True):
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (32, 32, 3))
    gaps = abs((windows[:, :, 0] - mean) / std - treated).max((2, 3, 4))
    assert gaps.shape == (high - low + 1,) * 2
    assert gaps.min() < 1e-5


def test_student_crops_are_a_choice():
  images = jnp.broadcast_to(_ramp(), (64, 8, 8, 1))
  seen = {
    crop: np.asarray(
      jax.jit(augment.student_crops((0.0,), (1.0,), (8, 8), crop=crop))(
        tiny.KEY, images
      )
    )
    for crop in augment.CROPS
  }
  own = {_ramp().tobytes(), jnp.flip(_ramp(), 2).tobytes()}
  assert {image[None].tobytes() for image in seen['none']} == own
  assert len({image.tobytes() for image in seen['pad4']}) > 30
  # Resized crops hold no black.
  assert (seen['pad4'][:, 0, 0] == 0).mean() > 0.4
  assert (seen['resized'][:, 0, 0] == 0).mean() < 0.2
  with pytest.raises(ValueError, match="crop 'pad': must be one of"):
    augment.student_crops(_MEAN, _STD, (8, 8), crop='pad')


@pytest.mark.parametrize('case', ['f2_n3_out8', 'f3_n2_out9'])
def test_rded_deals_its_crops_out_to_the_images(golden, case):
  file = golden('rded_stitch_shuffle')
  factor = int(case[1])
  crops = torch_layout.images(file[f'{case}_crops'])
  np.testing.assert_array_equal(
    np.moveaxis(methods.stitch(crops, factor), -1, 1), file[f'{case}_images']
  )
  ranks = jnp.arange(len(crops), dtype=jnp.float32).reshape(-1, 1, 1, 1)
  np.testing.assert_array_equal(
    methods.stitch(ranks, factor).reshape(-1, factor**2), file[f'{case}_ranks']
  )


@pytest.mark.parametrize('factor', [2, 3])
def test_rded_permutes_columns_and_rows_of_cells(golden, factor):
  file = golden('rded_stitch_shuffle')
  image = jnp.asarray(file[f'shuffle{factor}_image'])[..., None]
  draws = 100 * 4 if factor == 2 else 3000
  images = jnp.broadcast_to(image, (draws, *image.shape))
  seen = np.asarray(jax.jit(methods.shuffle_tiles(factor))(tiny.KEY, images))[
    ..., 0
  ]
  counts = {out.tobytes(): 0 for out in file[f'shuffle{factor}_outputs']}
  for out in seen:
    counts[out.tobytes()] += 1
  expected = draws / len(counts)
  deviation = np.sqrt(expected)
  assert all(abs(n - expected) < 4.5 * deviation for n in counts.values())


def test_rded_students_have_rates_of_their_own():
  rded = protocols.rded_protocol
  assert rded().learning_rate == 1e-3
  assert rded(network='mobilenet_v2').learning_rate == 2.5e-3
  small = rded(300, 100, network='convnet3', dataset='cifar100')
  assert (small.learning_rate, small.batch_size) == (2e-3, 25)
  other = rded(300, 100, network='convnet3', dataset='cifar10')
  assert (other.learning_rate, other.batch_size) == (1e-3, 100)


def test_gvbsm_students_do_not_decay():
  protocol = evaluation.PROTOCOLS['gvbsm']()
  assert protocol.weight_decay == 0
  assert protocol.optimizer == 'adamw'
  assert protocol.zeta == 1


def test_a_small_set_may_have_the_updates_of_a_large_one():
  protocol = protocols.idc_protocol(300)
  equal = protocols.with_equal_updates(protocol, 100, 400)
  assert equal == protocol._replace(epochs=1050)
  assert protocols.with_equal_updates(protocol, 64, 64) == protocol
  with pytest.raises(ValueError, match='count 0'):
    protocols.with_equal_updates(protocol, 0, 400)
