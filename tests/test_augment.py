"""Augmentation: reference vectors, and what must hold for any key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcjax import augment
from dcjax.utils import traced_for

FILES = {32: 'augment_shared_32x3', 28: 'augment_28x1'}
PER_SAMPLE_FILES = {32: 'augment_sample_32x3', 28: 'augment_28x1'}
PARAMETERS = {
  'brightness': ('r',),
  'saturation': ('r',),
  'contrast': ('r',),
  'crop': ('tr', 'tc'),
  'cutout': ('orow', 'ocol', 'size'),
  'flip': ('r',),
  'scale': ('sx', 'sy'),
  'rotate': ('theta_rad',),
}
# Float32 grid coordinates limit the agreement of scale and rotate.
ATOL = dict.fromkeys(PARAMETERS, 1e-5) | {'scale': 3e-5, 'rotate': 3e-5}
EXACT = ('crop', 'cutout', 'flip')


def last(images):
  """Golden `[N, D, H, W]` -> `[N, H, W, D]`."""
  return np.moveaxis(images, 1, -1)


def parameters(file, prefix, operation, batched):
  values = [file[f'{prefix}{name}'] for name in PARAMETERS[operation]]
  if operation == 'cutout':
    values[2] = int(values[2])
  return [v.reshape(-1) if batched and np.ndim(v) else v for v in values]


@functools.cache
def jitted(operation):
  function = getattr(augment, operation)
  static = {'cutout': ('size',), 'crop': ('reach',)}.get(operation, ())
  return jax.jit(function, static_argnames=static)


def check(operation, images, values, expected):
  names = ('size',) if operation == 'cutout' else ()
  named = dict(zip(names, values[2:], strict=True)) if names else {}
  plain = values[:2] if names else values
  actual = jitted(operation)(images, *plain, **named)
  if operation in EXACT:
    np.testing.assert_array_equal(actual, expected)
  else:
    np.testing.assert_allclose(
      actual, expected, rtol=1e-4, atol=ATOL[operation]
    )


@pytest.fixture(scope='module')
def images():
  return jax.random.normal(jax.random.key(1), (4, 8, 8, 3))


@pytest.mark.parametrize('size', [32, 28])
@pytest.mark.parametrize('operation', PARAMETERS)
def test_operation_matches_reference(golden, size, operation):
  file = golden(FILES[size])
  for draw in ('s0', 's1'):
    expected = last(file[f'{draw}_{operation}_out'])
    images = last(file['x'])
    values = parameters(file, f'{draw}_{operation}_', operation, False)
    check(operation, images, values, expected)


@pytest.mark.parametrize('size', [32, 28])
@pytest.mark.parametrize('operation', PARAMETERS)
def test_operation_per_sample_matches_reference(golden, size, operation):
  file = golden(PER_SAMPLE_FILES[size])
  values = parameters(file, f'ps_{operation}_', operation, True)
  expected = last(file[f'ps_{operation}_out'])
  check(operation, last(file['x']), values, expected)


@pytest.mark.parametrize('size', [32, 28])
def test_cutout_at_the_edge_matches_reference(golden, size):
  file = golden(PER_SAMPLE_FILES[size])
  for edge in range(4):
    expected = last(file[f'cutout_edge{edge}_out'])
    row, column = (
      file[f'cutout_edge{edge}_o{axis}'] for axis in ('row', 'col')
    )
    images = last(file['x'])[: len(expected)]
    check('cutout', images, (row, column, size // 2), expected)


@pytest.mark.parametrize('size', [32, 28])
@pytest.mark.parametrize('operation', ['scale', 'rotate'])
def test_image_gradient_matches_reference(golden, size, operation):
  file = golden(PER_SAMPLE_FILES[size])
  cotangent = last(file[f's0_{operation}_cotangent'])
  values = parameters(file, f's0_{operation}_', operation, False)
  images = last(file['x'])[: len(cotangent)]

  @jax.jit
  def gradient(images, cotangent, *values):
    function = getattr(augment, operation)
    return jax.vjp(lambda x: function(x, *values), images)[1](cotangent)[0]

  np.testing.assert_allclose(
    gradient(images, cotangent, *values),
    last(file[f's0_{operation}_vjp']),
    rtol=1e-4,
    atol=5e-5,
  )


@pytest.mark.parametrize('size', [32, 28])
def test_matching_pipeline_matches_reference(golden, size):
  file = golden(PER_SAMPLE_FILES[size])
  expected = last(file['pipe_out'])
  names = ('brightness', 'saturation', 'contrast')
  drawn = {
    'color': {name: file[f'pipe_{name}_r'] for name in names},
    'crop': {'row_shift': file['pipe_tr'], 'column_shift': file['pipe_tc']},
    'cutout': {'row': file['pipe_orow'], 'column': file['pipe_ocol']},
  }
  params = {'choices': np.zeros(3, np.int32), 'operations': drawn}
  siamese = augment.sequence('color_crop_cutout')
  actual = jax.jit(siamese.apply)(last(file['x'])[: len(expected)], params)
  np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_cutmix_matches_reference(golden):
  file = golden('cutmix')
  apply = jax.jit(augment.cutmix_apply)
  for case in ('c0', 'c1', 'c2'):
    labels = np.eye(8, dtype=np.float32)
    permutation = file[f'{case}_perm']
    mixed, mixed_labels = apply(
      last(file[f'{case}_x']),
      labels,
      permutation,
      file[f'{case}_bbox_r0c0r1c1'],
    )
    ratio = file[f'{case}_ratio']
    np.testing.assert_array_equal(mixed, last(file[f'{case}_out']))
    expected = ratio * labels + (1 - ratio) * labels[permutation]
    np.testing.assert_allclose(mixed_labels, expected, atol=1e-6)


def test_cutmix_box_matches_reference(golden):
  file = golden('cutmix')
  for case in ('c0', 'c1', 'c2'):
    box = file[f'{case}_bbox_r0c0r1c1']
    half = int(32 * np.sqrt(1 - file[f'{case}_lam'])) // 2
    # The file has no centre: it follows from an edge that is not cut off.
    start, end = box[:2], box[2:]
    centre = np.where(start > 0, start + half, end - half)
    actual = augment.box_from(file[f'{case}_lam'], centre, 32, 32)
    np.testing.assert_array_equal(actual, box)


def test_one_channel_saturation_is_the_identity():
  images = jax.random.normal(jax.random.key(0), (2, 5, 5, 1))
  np.testing.assert_array_equal(augment.saturation(images, 0.9), images)


def test_windows_are_filled_with_zeros(images):
  images = images + 10
  for shifted in (
    jitted('crop')(images, 2, -3),
    jitted('crop')(images, 2, -3, reach=(2, 3)),
    jitted('crop')(images, np.full(4, 2), -3),
  ):
    np.testing.assert_array_equal(shifted[:, 6:], 0)
    np.testing.assert_array_equal(shifted[:, :, :3], 0)
    np.testing.assert_array_equal(shifted[:, :6, 3:], images[:, 2:, :5])
  np.testing.assert_array_equal(jitted('crop')(images, 8, 0), 0)
  moved = jitted('translate')(images, 1)
  np.testing.assert_array_equal(moved[:, :, :7], images[:, :, 1:])
  np.testing.assert_array_equal(moved[:, :, 7], 0)
  corner = jitted('scale')(images, 1.5, 1.0)[:, :, 0]
  np.testing.assert_allclose(corner, 0, atol=1e-6)
  turned = jitted('rotate')(images, np.pi / 4)[:, 0, 0]
  np.testing.assert_array_equal(turned, 0)


def test_quarter_turn_moves_every_pixel():
  images = jnp.arange(9.0).reshape(1, 3, 3, 1)
  turned = augment.rotate(images, np.pi / 2)
  np.testing.assert_allclose(
    turned[0, ..., 0], np.rot90(np.arange(9.0).reshape(3, 3), 1), atol=1e-5
  )


def test_rectangular_images_keep_their_axes():
  images = jax.random.normal(jax.random.key(0), (2, 6, 10, 2))
  for strategy in augment.OPERATIONS:
    siamese = augment.sequence(strategy)
    result = jax.eval_shape(siamese, jax.random.key(3), images)
    assert result.shape == images.shape
  same = jitted('scale')(images, 1.0, 1.0)
  np.testing.assert_allclose(same, images, atol=1e-6)
  np.testing.assert_allclose(jitted('rotate')(images, 0.0), images, atol=1e-5)


ALL = 'flip_color_crop_scale_rotate_translate_cutout'
SOME = 'flip_color_crop_rotate_cutout'


@pytest.mark.parametrize('single', [False, True])
@pytest.mark.parametrize('sharing', ['batch', 'sample'])
def test_siamese_batches_share_their_draws(images, sharing, single):
  siamese = jax.jit(augment.sequence(SOME, sharing=sharing, single=single))
  for seed in range(5):
    key = jax.random.key(seed)
    first = siamese(key, images)
    np.testing.assert_array_equal(first, siamese(key, images))
    np.testing.assert_allclose(
      siamese(key, images[:2]), first[:2], rtol=1e-5, atol=1e-5
    )


def test_sharing_decides_who_gets_the_same_draw(images):
  same = jnp.broadcast_to(images[:1], images.shape)
  by_batch = jax.jit(augment.sequence('color'))(jax.random.key(0), same)
  by_sample = jax.jit(augment.sequence('color', sharing='sample'))(
    jax.random.key(0), same
  )
  np.testing.assert_allclose(by_batch, by_batch[:1].repeat(4, 0), atol=1e-6)
  assert np.abs(by_sample[0] - by_sample[1]).max() > 0.01


def test_different_keys_give_different_draws(images):
  siamese = jax.jit(augment.sequence('color'))
  first, second = (siamese(jax.random.key(i), images) for i in (0, 1))
  assert np.abs(first - second).max() > 0.01


def test_stages_follow_the_published_order():
  def names(siamese):
    return [[op.name for op in stage] for stage in siamese.stages]

  strategy = 'cutout_crop_rotate_color_flip'
  assert names(augment.sequence(strategy)) == [
    ['flip'],
    ['color'],
    ['crop', 'rotate'],
    ['cutout'],
  ]
  assert names(augment.sequence(strategy, single=True)) == [strategy.split('_')]


def test_choice_is_uniform_and_shared_by_the_batch():
  siamese = augment.sequence('color_crop_scale_rotate', sharing='sample')
  keys = jax.random.split(jax.random.key(0), 3000)
  draw = jax.jit(jax.vmap(lambda key: siamese.draw(key, (8, 8, 3), 2)))
  drawn = draw(keys)
  assert drawn['choices'].shape == (3000, 2)
  counts = np.bincount(drawn['choices'][:, 1])
  # Three choices of 1000 each, standard deviation 26.
  assert len(counts) == 3
  assert np.abs(counts - 1000).max() < 110


def test_draws_stay_within_their_ranges():
  siamese = augment.sequence(ALL, sharing='sample')
  draw = jax.jit(siamese.draw, static_argnums=(1, 2))
  drawn = draw(jax.random.key(0), (32, 28, 3), 2000)['operations']

  def check_range(operation, name, low, high, tolerance=0.0):
    values = drawn[operation][name]
    assert values.shape == (2000,)
    assert values.min() >= low
    assert values.max() <= high
    assert values.min() <= low + tolerance
    assert values.max() >= high - tolerance

  check_range('flip', 'r', 0, 1, 0.01)
  check_range('color', 'contrast', 0, 1, 0.01)
  check_range('crop', 'row_shift', -4, 4)
  check_range('crop', 'column_shift', -4, 4)
  check_range('translate', 'column_shift', -4, 4)
  check_range('cutout', 'row', 0, 32)
  check_range('cutout', 'column', 0, 28)
  check_range('scale', 'sx', 1 / 1.2 - 1e-6, 1.2, 0.01)
  check_range('rotate', 'radians', -np.deg2rad(15), np.deg2rad(15), 0.01)


def test_single_runs_exactly_one_operation(images):
  siamese = jax.jit(augment.sequence('flip_cutout', single=True))
  flipped = images[:, :, ::-1]
  for seed in range(8):
    result = siamese(jax.random.key(seed), images)
    holes = np.asarray(result == 0).any()
    plain = np.array_equal(result, images) or np.array_equal(result, flipped)
    assert plain != holes


def test_draws_made_outside_a_scan_give_the_same(images):
  siamese = augment.sequence('color_crop_scale')
  keys = jax.random.split(jax.random.key(0), 3)
  drawn = jax.vmap(lambda key: siamese.draw(key, images.shape[1:]))(keys)

  @jax.jit
  def scanned(images, drawn):
    def step(carry, params):
      return carry, siamese.apply(images, params)

    return jax.lax.scan(step, 0, drawn)[1]

  results = scanned(images, drawn)
  siamese = jax.jit(siamese)
  for key, result in zip(keys, results, strict=True):
    np.testing.assert_allclose(
      siamese(key, images), result, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize('sharing', ['batch', 'sample'])
def test_gradients_compose_with_jit_and_vmap(images, sharing):
  siamese = augment.sequence(SOME, sharing=sharing)

  def loss(images, key):
    return (siamese(key, images) ** 2).sum()

  keys = jax.random.split(jax.random.key(0), 3)
  gradients = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(images, keys)
  assert np.isfinite(gradients).all()
  single = jax.jit(jax.grad(loss))(images, keys[1])
  np.testing.assert_allclose(gradients[1], single, rtol=1e-4, atol=1e-4)
  assert np.abs(single).max() > 0.01


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float32])
def test_dtype_is_kept(images, dtype):
  images = images[:2].astype(dtype)
  for operation in augment.OPERATIONS:
    siamese = augment.sequence(operation, sharing='sample')
    result = jax.eval_shape(siamese, jax.random.key(0), images)
    assert result.dtype == dtype


@pytest.mark.parametrize('strategy', ['', 'none'])
def test_no_strategy_is_the_identity(images, strategy):
  for single in (False, True):
    result = augment.sequence(strategy, single=single)(
      jax.random.key(0), images
    )
    np.testing.assert_array_equal(result, images)
  assert augment.identity(jax.random.key(0), images) is images


def test_chain_gives_each_part_its_own_key(images):
  normalise = augment.normalise((0.1, 0.2, 0.3), (0.5, 1.0, 2.0))
  part = augment.sequence('color')
  key = jax.random.key(0)
  expected = (images - np.array([0.1, 0.2, 0.3])) / np.array([0.5, 1.0, 2.0])
  expected = part(jax.random.fold_in(key, 1), expected)
  result = augment.chain(normalise, part)(key, images)
  np.testing.assert_allclose(result, expected, atol=1e-5)
  np.testing.assert_array_equal(augment.chain()(key, images), images)


LABELS = np.eye(4, dtype=np.float32)


def test_cutmix_probability_is_per_batch(images):
  @jax.jit
  @jax.vmap
  def mixed(key):
    return augment.cutmix(key, images, LABELS, probability=0.5)[1]

  keys = jax.random.split(jax.random.key(0), 400)
  touched = (np.asarray(mixed(keys)) != LABELS).any(axis=(1, 2))
  assert 120 < touched.sum() < 220
  same, labels = augment.cutmix(keys[0], images, LABELS, probability=0.0)
  np.testing.assert_array_equal(same, images)
  np.testing.assert_array_equal(labels, LABELS)


@pytest.mark.parametrize(
  'mix', ['cutmix', 'cutmix_beta', 'mixup', 'mixup_beta']
)
def test_padding_never_leaks_into_mixtures(mix):
  weights = np.array([1, 0, 1, 1, 0], np.float32)
  images = np.ones((5, 6, 6, 1), np.float32)
  images[weights == 0] = np.nan
  labels = np.eye(5, dtype=np.float32)
  options = {
    'cutmix': {'probability': 1.0},
    'cutmix_beta': {'probability': 1.0, 'beta': 0.5},
    'mixup': {},
    'mixup_beta': {'alpha': 0.4},
  }[mix]
  function = getattr(augment, mix.split('_')[0])
  keys = jax.random.split(jax.random.key(0), 20)
  mixed, mixed_labels = jax.jit(
    jax.vmap(
      lambda key: function(key, images, labels, weights=weights, **options)
    )
  )(keys)
  valid = weights > 0
  assert np.isfinite(mixed[:, valid]).all()
  np.testing.assert_allclose(mixed_labels.sum(-1), 1, atol=1e-6)
  np.testing.assert_array_equal(
    np.asarray(mixed_labels)[:, valid][..., ~valid], 0
  )
  np.testing.assert_allclose(
    np.asarray(mixed_labels)[:, ~valid],
    np.broadcast_to(labels[~valid], (20, 2, 5)),
    atol=1e-6,
  )
  others = np.asarray(mixed_labels)[:, valid] != labels[valid]
  assert others.any()


def test_permutation_is_uniform_over_the_valid():
  weights = np.array([1, 0, 1, 1])
  keys = jax.random.split(jax.random.key(0), 1200)
  drawn = jax.jit(jax.vmap(lambda key: augment.permute_valid(key, 4, weights)))(
    keys
  )
  rows, counts = np.unique(drawn, axis=0, return_counts=True)
  assert len(rows) == 6
  assert (rows[:, 1] == 1).all()
  np.testing.assert_array_equal(np.sort(rows, axis=1), [[0, 1, 2, 3]] * 6)
  assert np.abs(counts - 200).max() < 65


def test_mixup_blends_images_as_labels():
  images = np.zeros((3, 2, 2, 3), np.float32)
  images[range(3), :, :, range(3)] = 1
  labels = np.eye(3, dtype=np.float32)
  mixed, mixed_labels = augment.mixup(jax.random.key(2), images, labels)
  np.testing.assert_allclose(mixed[:, 0, 0], mixed_labels, atol=1e-6)


def test_random_crop_and_flip(images):
  # Images that tell each pixel's position.
  images = jnp.arange(1.0, 65.0).reshape(1, 8, 8, 1).repeat(60, 0)
  cropped = np.asarray(
    jax.jit(augment.random_crop(2))(jax.random.key(0), images)
  )
  shifts = set()
  for image in cropped[..., 0]:
    position = int(image[3, 3]) - 1
    row, column = position // 8 - 3, position % 8 - 3
    assert max(abs(row), abs(column)) <= 2
    shifts.add((row, column))
    np.testing.assert_array_equal(
      image, jitted('crop')(images[:1], row, column)[0, ..., 0]
    )
  assert len(shifts) > 15
  flipped = jax.jit(augment.random_flip())(jax.random.key(0), images)
  mirrored = (np.asarray(flipped) != images).any(axis=(1, 2, 3))
  assert 15 < mirrored.sum() < 45
  always = augment.random_flip(1.0)(jax.random.key(0), images)
  np.testing.assert_array_equal(always, images[:, :, ::-1])


def test_random_resized_crop_keeps_boxes_inside():
  ramp = jnp.arange(12.0)[:, None] * 100 + jnp.arange(10.0)[None, :]
  images = ramp.reshape(1, 12, 10, 1).repeat(50, 0)
  crop = augment.random_resized_crop((6, 5), scale=(0.3, 0.6))
  result = np.asarray(jax.jit(crop)(jax.random.key(0), images))[..., 0]
  assert result.shape == (50, 6, 5)
  # On a ramp a bilinear sample is its position, which ends at the box's edge.
  assert result.min() >= 0
  assert result.max() <= ramp.max()
  rows = np.diff(result, axis=1)[:, 2] / 100
  columns = np.diff(result, axis=2)[:, :, 2]
  area = (rows[:, 0] * 6) * (columns[:, 0] * 5) / 120
  assert area.min() > 0.2
  assert area.max() < 0.7
  assert area.std() > 0.03


def test_resized_crop_of_everything_is_the_identity(images):
  crop = jax.jit(augment.random_resized_crop(8, (1.0, 1.0), (1.0, 1.0)))
  np.testing.assert_allclose(crop(jax.random.key(0), images), images, atol=1e-5)
  # No box of this shape fits: the centre is used, here the middle four columns.
  centre = augment.random_resized_crop((8, 4), (1.0, 1.0), (0.5, 0.5))
  centre = jax.jit(centre)
  np.testing.assert_allclose(
    centre(jax.random.key(0), images), images[:, :, 2:6], atol=1e-5
  )


def test_color_jitter_has_no_effect_on_what_it_keeps(images):
  def jitter(*strengths):
    augmented = jax.jit(augment.color_jitter(*strengths))
    return functools.partial(augmented, jax.random.key(0))

  np.testing.assert_array_equal(jitter(0.0, 0.0, 0.0)(images), images)
  grey = jnp.broadcast_to(images[..., :1], images.shape)
  saturated = jitter(0.0, 0.0, 0.4)(grey)
  np.testing.assert_allclose(saturated, grey, rtol=1e-4, atol=1e-5)
  bright = jitter(0.4, 0.0, 0.0)(images)
  factor = np.asarray(bright / images)
  np.testing.assert_allclose(
    factor, np.broadcast_to(factor[:, :1, :1, :1], factor.shape), rtol=1e-4
  )
  assert (np.abs(factor - 1) <= 0.4 + 1e-4).all()
  assert np.ptp(factor[:, 0, 0, 0]) > 0.01
  weights = np.array([0.299, 0.587, 0.114])
  contrast = jitter(0.0, 0.4, 0.0)(images)
  np.testing.assert_allclose(
    (contrast @ weights).mean((1, 2)),
    (images @ weights).mean((1, 2)),
    atol=1e-4,
  )


def test_lighting_adds_one_colour_per_image(images):
  images = jnp.zeros((2000, 1, 1, 3))
  colors = np.asarray(augment.pca_lighting(0.1)(jax.random.key(0), images))
  values = np.linalg.eigvalsh(np.cov(colors[:, 0, 0].T))
  expected = np.sort((0.1 * np.array([0.2175, 0.0188, 0.0045])) ** 2)
  np.testing.assert_allclose(values, expected, rtol=0.15)


def test_imagenet_evaluation_resizes_and_follows_the_key():
  images = jax.random.uniform(jax.random.key(0), (3, 12, 12, 3))
  evaluation = jax.jit(augment.imagenet_evaluation(8))
  first = evaluation(jax.random.key(0), images)
  assert first.shape == (3, 8, 8, 3)
  assert np.isfinite(first).all()
  np.testing.assert_array_equal(first, evaluation(jax.random.key(0), images))
  assert np.abs(first - evaluation(jax.random.key(1), images)).max() > 0.01


def test_dc_evaluation_operations():
  images = jax.random.uniform(jax.random.key(0), (12, 8, 8, 1)) + 1
  key = jax.random.key(1)
  mean = float(images.mean())
  cropped = np.asarray(jax.jit(augment.dc_evaluation('crop'))(key, images))
  # Every crop that moved shows some of the fill, the batch's mean.
  filled = np.isclose(cropped, mean, atol=1e-5).sum((1, 2, 3))
  assert (filled >= 8).sum() >= 10
  turned = jax.jit(augment.dc_evaluation('rotate'))(key, images * 0 + 1.5)
  np.testing.assert_allclose(turned, 1.5, atol=1e-5)
  scaled = np.asarray(jax.jit(augment.dc_evaluation('scale'))(key, images))
  # Nearest neighbours: nothing but old values and zeros.
  assert np.isin(scaled, np.append(np.unique(images), 0)).all()
  assert (scaled == 0).any()
  assert (scaled[:, 3:5, 3:5] > 0).all()
  noisy = jax.jit(augment.dc_evaluation('noise'))(key, images) - images
  assert 5e-4 < np.std(noisy) < 2e-3
  np.testing.assert_array_equal(
    augment.dc_evaluation('none')(key, images), images
  )


def test_dc_evaluation_chooses_per_image():
  images = jnp.ones((300, 4, 4, 1))
  result = np.asarray(
    jax.jit(augment.dc_evaluation('crop_noise'))(jax.random.key(0), images)
  )
  # A constant image is its own mean, so that only noise changes it.
  noisy = (result != 1).any(axis=(1, 2, 3)).mean()
  assert 0.38 < noisy < 0.62


FLIPPING = 'color_crop_flip_scale_rotate'
CUTTING = 'color_crop_cutout_scale_rotate'


@pytest.mark.parametrize(
  'dataset, factor, ipc, match, evaluate, cutmix',
  [
    ('cifar10', 2, 10, 'color_crop_cutout', FLIPPING, 0.5),
    ('CIFAR-100', 1, 1, 'color_crop_cutout', FLIPPING, 0.5),
    ('fashion_mnist', 2, 1, 'color_crop_cutout', FLIPPING, 0.5),
    ('mnist', 1, 1, 'color_crop_cutout', 'color_crop_scale_rotate', 0.5),
    ('mnist', 2, 1, 'color_crop', 'color_crop_scale_rotate', 0.0),
    ('tfds:mnist:3.0.1', 2, 1, 'color_crop', 'color_crop_scale_rotate', 0.0),
    ('svhn', 2, 1, 'color_crop_cutout', 'color_crop_scale_rotate', 0.5),
    ('svhn_cropped', 1, 1, 'color_crop_cutout', CUTTING, 0.0),
    ('imagenet10', 3, 10, 'color_crop_cutout', 'none', 1.0),
    ('speech', 2, 10, 'none', 'none', 0.0),
    ('usps', 2, 10, 'color_crop_cutout', 'color_crop_scale_rotate', 0.5),
    ('flowers', 2, 10, 'color_crop_cutout', FLIPPING, 0.5),
  ],
)
def test_idc_strategies(dataset, factor, ipc, match, evaluate, cutmix):
  chosen = augment.idc_strategies(dataset, factor, ipc)
  assert chosen['match'] == match
  assert chosen['evaluate'] == evaluate
  assert chosen['cutmix_probability'] == cutmix
  assert chosen['train'] == ('none' if dataset == 'speech' else 'color_crop')


def test_other_strategies():
  unknown = augment.idc_strategies('characters', channels=1)
  assert 'flip' not in unknown['evaluate']
  all_six = 'color_crop_cutout_flip_scale_rotate'
  assert augment.dsa_strategies('cifar10')['match'] == all_six
  assert augment.dsa_strategies('cifar10')['single']
  assert 'flip' not in augment.dsa_strategies('svhn')['evaluate']
  assert 'flip' in augment.dsa_strategies('fashion_mnist')['evaluate']
  assert augment.dsa_strategies('speech')['match'] == 'none'
  svhn = augment.idc_strategies('svhn', 1, 1)
  assert svhn['train_cutmix_probability'] == 0.5
  for name, strategies in augment.STRATEGIES.items():
    chosen = strategies('cifar10', 2, 10)
    assert chosen['per_image'] == (name == 'dc')
    for phase in ('match', 'train', 'evaluate'):
      augment.sequence(chosen[phase], single=chosen['single'])


@pytest.mark.parametrize(
  'dataset, network, evaluate',
  [
    ('mnist', {'name': 'convnet', 'norm': 'instance'}, 'crop_scale_rotate'),
    ('mnist', {'name': 'vgg11', 'norm': 'batch'}, 'crop_scale_rotate'),
    ('mnist', {'name': 'convnet', 'norm': 'batch'}, 'crop_noise'),
    ('cifar10', {'name': 'convnet', 'norm': 'batch'}, 'crop_noise'),
    ('cifar10', {'name': 'convnet', 'norm': 'instance'}, 'none'),
    ('fashion_mnist', {'name': 'mlp'}, 'none'),
  ],
)
def test_dc_strategies(dataset, network, evaluate):
  batch_norm = augment.is_batch_norm_convnet(network)
  chosen = augment.dc_strategies(dataset, batch_norm=batch_norm)
  assert chosen['evaluate'] == evaluate
  assert (chosen['match'], chosen['train']) == ('none', 'none')
  assert chosen['cutmix_probability'] == 0
  augment.dc_evaluation(chosen['evaluate'])  # knows all of its operations


@pytest.mark.parametrize(
  'call, message',
  [
    (lambda x: augment.sequence('color_blur'), 'blur.*rotate'),
    (lambda x: augment.sequence('crop_crop'), 'twice'),
    (lambda x: augment.sequence('crop', sharing='class'), 'class.*sample'),
    (lambda x: augment.sequence('crop')(jax.random.key(0), x[0]), 'N, H, W'),
    (lambda x: augment.brightness(jnp.int32(x), 0.5), 'int32'),
    (lambda x: augment.brightness(x, np.zeros(3)), r'\(3,\).*4 images'),
    (lambda x: augment.normalise(0.0, 0.0), 'std'),
    (lambda x: augment.normalise((0.0, 0.0), (1.0,)), 'mean'),
    (
      lambda x: augment.normalise((0.0, 0.0), (1.0, 1.0))(None, x),
      'mean has 2',
    ),
    (
      lambda x: augment.cutmix(None, x, LABELS[:3], probability=0.5),
      'labels',
    ),
    (
      lambda x: augment.cutmix(None, x, np.eye(4, dtype=int), probability=0.5),
      'labels',
    ),
    (lambda x: augment.cutmix(None, x, LABELS, probability=2), 'probability'),
    (
      lambda x: augment.mixup(None, x, LABELS, weights=np.ones(3)),
      'weights',
    ),
    (lambda x: augment.mixup(None, x, LABELS, alpha=0), 'alpha'),
    (lambda x: augment.random_crop(-1), 'padding'),
    (lambda x: augment.random_flip(-1), 'probability'),
    (lambda x: augment.random_resized_crop(8, scale=(1.0, 0.5)), 'scale'),
    (lambda x: augment.color_jitter(brightness=-1), 'brightness'),
    (
      lambda x: augment.color_jitter()(jax.random.key(0), x[..., :2]),
      'channels',
    ),
    (
      lambda x: augment.pca_lighting()(jax.random.key(0), x[..., :1]),
      'channels',
    ),
    (lambda x: augment.dc_evaluation('flip'), 'flip.*noise'),
    (lambda x: augment.idc_strategies('mnist', 0, 1), 'factor'),
  ],
)
def test_bad_input_is_named(images, call, message):
  with pytest.raises(ValueError, match=message):
    call(images)


def test_scaling_for_a_gpu_samples_the_same_pixels():
  images = jax.random.uniform(jax.random.key(0), (3, 8, 6, 2))
  here = augment.scale(images, 1.1, 0.9)
  with traced_for('cuda'):
    there = augment.scale(images, 1.1, 0.9)
  np.testing.assert_allclose(there, here, atol=1e-6)


@pytest.mark.parametrize('shifts', [([-9, 2, 4], [3, 0, -4]), (1, [3, 0, -4])])
def test_crops_for_a_tpu_are_the_same_pixels(shifts):
  images = jax.random.uniform(jax.random.key(0), (3, 8, 6, 2))
  rows, columns = map(jnp.asarray, shifts)

  def cropped(images):
    return augment.crop(images, rows, columns, reach=(4, 3))

  here, back = jax.vjp(cropped, images)
  with traced_for('tpu'):
    there, back_there = jax.vjp(cropped, images)
  np.testing.assert_array_equal(there, here)
  np.testing.assert_array_equal(*back_there(here), *back(here))
