"""ZCA whitening: its formulas, whitened data sets and whitened runs."""

import jax
import numpy as np
import pytest
import runner
import traced

from dcjax import data, whitening
from dcjax.runs import _artefact, _variants
from dcjax.runs._labels import Labels

SHAPE = (3, 2, 2)
SIZE = 12


def correlated(count=300, shape=SHAPE, seed=0):
  """Random images in [0, 1] whose pixels depend on each other."""
  rng = np.random.default_rng(seed)
  size = int(np.prod(shape))
  mixing = np.eye(size) + 0.5 * rng.standard_normal((size, size))
  flat = 0.5 + 0.03 * rng.standard_normal((count, size)) @ mixing
  return np.clip(flat, 0, 1).reshape(count, *shape).astype(np.float32)


def flat(images):
  return np.asarray(images, np.float64).reshape(len(images), -1)


def direct(images, others, form):
  """The formula with `[F, F]` matrices, for others of the same size."""
  if form == 'kip_unit':
    axes = (0, 1, 2)
    mean, std = images.mean(axes, np.float64), images.std(axes, np.float64)
    images, others = ((x - mean) / std for x in (images, others))
    images, others = (_of_length_one(flat(x)) for x in (images, others))
  variance = np.trace(np.cov(flat(images), rowvar=False)) / SIZE
  constant = 0.1 if form == 'mtt' else 0.1 * variance
  mean = flat(images).mean(0)
  u, s, _ = np.linalg.svd(np.cov(flat(images), rowvar=False))
  return (flat(others) - mean) @ (u / np.sqrt(s + constant)) @ u.T


def _of_length_one(images):
  images = images - images.mean(1, keepdims=True)
  return images / np.linalg.norm(images, axis=1, keepdims=True)


@pytest.mark.parametrize('form', whitening.FORMS)
def test_all_forms_equal_the_direct_formula(form):
  images, others = correlated(), correlated(20, seed=1)
  zca = whitening.fit(images, **whitening.FORMS[form])
  assert [x.shape for x in zca[:3]] == [(SIZE,), (SIZE, SIZE), (SIZE,)]
  assert {x.dtype.name for x in zca[:3]} == {'float32'}
  expected = direct(images, others, form)
  for whitened in (
    whitening.apply(zca, others),
    whitening.apply_to_set(zca, others),
  ):
    assert whitened.shape == others.shape
    np.testing.assert_allclose(flat(whitened), expected, atol=2e-5)


def test_images_of_one_length_do_not_depend_on_brightness_and_contrast():
  images = correlated()
  zca = whitening.fit(images, **whitening.FORMS['kip_unit'])
  assert zca.channels.shape == (2, SHAPE[-1])
  plain = np.ones((1, 3, 2, 2), np.float32)
  assert np.isfinite(whitening.apply(zca, 0.5 * plain)).all()
  grey = zca.channels[0]  # what a pixel without contrast holds
  paler = grey + 0.5 * (images - grey) + 0.1 * zca.channels[1]
  whitened = whitening.apply(zca, images)
  np.testing.assert_allclose(whitening.apply(zca, paler), whitened, atol=1e-3)
  # What comes back has the average contrast, and nothing else has changed.
  back = np.asarray(whitening.invert(zca, whitened))
  standard = ((back - grey) / zca.channels[1]).reshape(len(back), -1)
  np.testing.assert_allclose(standard.std(1), 1, rtol=1e-3)
  again = whitening.apply(zca, back)
  np.testing.assert_allclose(again, whitened, atol=1e-3)


def test_covariance_becomes_the_identity_as_the_constant_vanishes():
  images = correlated()
  far, near = (
    np.abs(np.cov(flat(whitened), rowvar=False) - np.eye(SIZE)).max()
    for whitened in (
      whitening.apply(whitening.fit(images, constant), images)
      for constant in (1e-3, 1e-9)
    )
  )
  assert near < 1e-3 < far


def test_relative_constant_does_not_depend_on_contrast():
  images = correlated()
  strong, weak = (
    whitening.apply(whitening.fit(x, 0.1, relative=True), x)
    for x in (images, 0.25 * images)
  )
  np.testing.assert_allclose(strong, weak, atol=1e-4)
  absolute = whitening.fit(images), whitening.fit(0.25 * images)
  strong = whitening.apply(absolute[0], images)
  weak = whitening.apply(absolute[1], 0.25 * images)
  assert np.abs(strong - weak).max() > 0.1


def test_fit_does_not_depend_on_chunks(monkeypatch):
  images = correlated()
  whole = whitening.apply_to_set(whitening.fit(images), images)
  monkeypatch.setattr(whitening, '_CHUNK', 7)
  built = whitening.apply_to_set(whitening.fit(images), images)
  np.testing.assert_allclose(built, whole, atol=1e-5)


def test_uint8_images_are_scaled_first():
  images = np.round(255 * correlated()).astype(np.uint8)
  scaled = images.astype(np.float32) / 255
  zca, expected = whitening.fit(images), whitening.fit(scaled)
  np.testing.assert_allclose(zca.values, expected.values, rtol=1e-5)
  np.testing.assert_allclose(
    whitening.apply_to_set(zca, images),
    whitening.apply(expected, scaled),
    atol=1e-5,
  )


@pytest.mark.parametrize('shape', [SHAPE, (4, 3, 1)])
@pytest.mark.parametrize('leading', [(), (5,), (2, 3)])
def test_invert_undoes_apply_under_any_leading_axes(shape, leading):
  zca = whitening.fit(correlated(shape=shape), 0.01)
  images = correlated(6, shape)[: np.prod(leading, dtype=int)]
  images = images.reshape(*leading, *shape)
  whitened = jax.jit(whitening.apply)(zca, images)
  assert whitened.shape == images.shape
  assert np.abs(whitened - images).max() > 0.1
  restored = jax.jit(whitening.invert)(zca, whitened)
  np.testing.assert_allclose(restored, images, atol=1e-5)


@pytest.mark.parametrize(
  ('images', 'regularisation', 'message'),
  [
    (correlated(), 0.0, 'regularisation 0.0'),
    (correlated(), float('nan'), 'regularisation nan'),
    (correlated(1), 0.1, 'hold 1 image;'),
    (correlated()[..., 0], 0.1, 'images have shape'),
    (correlated() * np.float32('inf'), 0.1, 'images hold NaN'),
    (np.ones((4, *SHAPE), np.uint8), 0.1, 'all equal'),
    (np.ones((4, *SHAPE), np.int32), 0.1, 'dtype int32'),
  ],
)
def test_fit_names_bad_input(images, regularisation, message):
  with pytest.raises(ValueError, match=message):
    whitening.fit(images, regularisation)


@pytest.mark.parametrize('function', [whitening.apply, whitening.invert])
def test_images_must_fit_the_whitening(function):
  zca = whitening.fit(correlated())
  with pytest.raises(ValueError, match=r'H \* W \* D = 12'):
    function(zca, np.zeros((2, 3, 3, 2), np.float32))
  with pytest.raises(ValueError, match='dtype uint8'):
    function(zca, np.zeros((2, *SHAPE), np.uint8))
  with pytest.raises(ValueError, match=r'H \* W \* D = 12'):
    whitening.apply_to_set(zca, np.zeros((2, 3, 3, 2), np.uint8))


def dataset(**options):
  images = np.round(255 * correlated()).astype(np.uint8)
  return data.from_arrays(images, np.arange(300) % 3, **options)


def test_whitened_data_sets_need_no_further_normalisation():
  plain = dataset()
  whitened = plain.whitened('kip')
  assert (whitened.mean, whitened.std) == ((0.0, 0.0), (1.0, 1.0))
  assert (whitened.scale, whitened.value_range) == (1.0, (None, None))
  assert whitened.name == plain.name
  np.testing.assert_array_equal(whitened.labels, plain.labels)
  np.testing.assert_allclose(flat(whitened.images).mean(0), 0, atol=1e-4)
  for part in ('images', 'test_images'):
    read = getattr(whitened, part)
    assert read.dtype == np.float32
    np.testing.assert_allclose(
      whitening.invert(whitened.zca, read),
      getattr(plain, part) / np.float32(255),
      atol=1e-5,
    )
  assert plain.zca is None


def test_only_images_in_the_unit_range_are_whitened():
  floats = data.from_arrays(
    correlated() - 3, np.arange(300) % 3, value_range=(-3.0, None), name='waves'
  )
  for bad in (floats, dataset().whitened()):
    with pytest.raises(ValueError, match=r"zca 'mtt': .* has value_range"):
      bad.whitened()
  with pytest.raises(ValueError, match=r"zca 'pca'.*'mtt', 'kip'"):
    dataset().whitened('pca')


def test_unknown_forms_in_a_config_list_the_known_ones():
  with pytest.raises(ValueError, match=r"zca 'pca'.*none.*mtt.*kip"):
    runner.resolved(zca='pca')


def test_pictures_of_a_whitened_run_show_the_images_themselves():
  seen = {}
  for form in ('none', 'kip'):
    built = runner.built(factor=1, start='random', zca=form)
    params = traced.start(built)
    condensed = _artefact.artefact_of(built, params, Labels('hard'))
    now = _variants.looks_of(condensed)
    start = _variants.looks(built.formation, params)
    seen[form] = _variants.variants(built, now, start)
    assert condensed.provenance.get('zca', 'none') == form
  # Whitened numbers are no pictures: what is stored is shown decoded.
  for name, plain in (
    ('nearest', 'nearest'),
    ('start', 'start'),
    ('decoded', 'stored'),
  ):
    found, expected = (
      images.astype(int) for images in (seen['kip'][name], seen['none'][plain])
    )
    np.testing.assert_allclose(found, expected, atol=1)


def test_multi_formation_packs_whitened_images():
  built = runner.built('digits:size=8,smoke,factor=2', 'dm', zca='mtt')
  params = traced.start(built)
  # Whitened images know no range, and their middle is 0.
  assert params['images'].min() < 0
  assert tuple(built.formation.spec['value_range']) == (None, None)
  assert built.formation.decode(params).images.shape == (10, 4, 8, 8, 1)
