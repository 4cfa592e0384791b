"""Generators are pretrained, found again and started from."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runner
import tiny
import traced
from PIL import Image
from sklearn.decomposition import PCA
from stopping import StopWhen

from dcjax import methods
from dcjax.networks import Discriminator
from dcjax.runs import (
  Interrupted,
  _generator,
  _pipelines,
  _stage,
  _start,
)
from dcjax.runs._folder import Folder, Stop
from dcjax.runs._outlook import Outlook
from dcjax.runs._stage import Work
from dcjax.runs.report import _codebook

_ARGUMENTS = 'digits:size=8,smoke,network=mlp:width=4:depth=1'


def _built(arguments=_ARGUMENTS, **changes):
  return runner.built(
    arguments, 'generative', **{'start': 'generator', **changes}
  )


def _make(path, built, store=None, stop=None):
  """Runs the stages up to the generator; returns their outputs."""
  folder = Folder(path, {})
  with folder.owned():
    work = Work(folder, stop or Stop(), Outlook(), store)
    stages = [_pipelines.data_stage(built)]
    stages += _pipelines._before_start(built, work)
    return _stage.run(stages, work)


@pytest.fixture(scope='module')
def store(tmp_path_factory):
  return tmp_path_factory.mktemp('store')


@pytest.fixture(scope='module')
def generator(store, tmp_path_factory):
  """What a generator's stage makes without a stop."""
  made = _make(tmp_path_factory.mktemp('first') / 'run', _built(), store)
  return made('generator')


def test_a_pretrained_generator_is_found_again_and_started_from(
  generator, store, tmp_path
):
  built = _built(ipc=3)
  made = _make(tmp_path, built, store)
  assert not (tmp_path / 'checkpoints').exists()
  tiny.assert_trees_equal(made('generator'), generator)
  np.testing.assert_allclose(generator['soft_labels'].sum(-1), 1, rtol=1e-5)
  params = _start.stage(built, []).make(None, generator)
  assert params['codes'].shape == (3, 8)
  for name in ('embeddings', 'generator', 'statistics'):
    tiny.assert_trees_equal(params[name], generator['params'][name])
  means = made('embeddings')['embeddings']
  np.testing.assert_allclose(params['embeddings'], means, rtol=1e-5, atol=1e-6)


def test_an_interrupted_pretraining_goes_on_bit_for_bit(generator, tmp_path):
  built = _built()
  with pytest.raises(Interrupted, match='generator after piece 1 of 4'):
    _make(tmp_path, built, stop=StopWhen(tmp_path, 'checkpoints/generator'))
  tiny.assert_trees_equal(_make(tmp_path, built)('generator'), generator)


def test_a_generator_is_that_of_its_settings_whatever_the_number_of_images():
  def settings(**changes):
    return _generator.stage(_built(**changes), None).settings

  usual = settings()
  assert settings(ipc=5, formation='codebook:stored=float16') == usual
  for changes in (
    {'formation': 'codebook:width=5'},
    {'generator__penalty': 1.0},
    {'method__condition': 'one_hot'},
    {'seed': 1},
  ):
    assert settings(**changes) != usual


@pytest.fixture(scope='module')
def windowed(tmp_path_factory):
  """Built of a folder of images, of which windows are held, and of all."""
  pytest.importorskip('grain')
  folder, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
  for part, counts in (('train', (9, 7, 5)), ('test', (1, 1, 1))):
    for c, count in enumerate(counts):
      (folder / part / f'class{c}').mkdir(parents=True)
      for i in range(count):
        pixels = rng.integers(60 * c, 60 * c + 80, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / part / f'class{c}' / f'{i}.png')
  words = ('image_folder:size=8:window=4', 'image_folder:size=8')
  network = 'mlp:width=4:depth=1'
  made = [
    _built(f'{word},smoke', network=network, data_dir=str(folder))
    for word in words
  ]
  yield made
  made[0].real.close()


def test_embeddings_of_windows_are_those_of_all_images(windowed):
  some, whole = windowed
  # Of a stream, the normalisation is that of its first window.
  whole = whole._replace(normalise=some.normalise)
  assert (len(some.dataset.labels), len(whole.dataset.labels)) == (12, 21)
  # Mean and deviation are those of the images that are held.
  whole = whole._replace(normalise=some.normalise)
  variables = whole.network.init(tiny.KEY)
  found, expected = (_start.class_means(p, variables) for p in (some, whole))
  for got, wanted in zip(found, expected, strict=True):
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def _advanced(done, until, stream, metrics=None):
  """Which windows a piece of a training sees, and its metrics."""
  seen = []

  def run(key, state, data, steps):
    seen.append((data, steps))
    return state, metrics or {'wasserstein_distance': jnp.ones(steps)}

  built = types.SimpleNamespace(
    config=types.SimpleNamespace(generator=types.SimpleNamespace(batch_size=4)),
    dataset=types.SimpleNamespace(stream=stream, labels=np.zeros(16)),
  )
  _, found = _generator._advance(
    built, run, None, None, done, until, lambda number: number
  )
  return seen, found


def test_steps_are_cut_where_windows_change():
  # A window of 16 images is shown by 4 steps of 4.
  assert _advanced(2, 9, 'windows')[0] == [(0, 2), (1, 4), (2, 1)]
  assert _advanced(2, 9, None)[0] == [(0, 7)]


def test_a_training_whose_critic_diverges_is_not_finite():
  good = {'critic_loss': jnp.ones(2), 'wasserstein_distance': jnp.ones(2)}
  assert np.isfinite(_advanced(0, 2, None, good)[1]['loss']).all()
  bad = good | {'critic_loss': jnp.array([1.0, np.nan])}
  assert not np.isfinite(_advanced(0, 2, None, bad)[1]['loss']).any()


def test_gradient_penalty_of_a_linear_critic():
  rng = np.random.default_rng(0)
  slope = rng.normal(size=(4, 4, 1)).astype(np.float32)
  critic = Discriminator(
    lambda key: slope,
    lambda weights, x: (jnp.sum(x * weights, axis=(1, 2, 3)), None),
  )
  real, fake = rng.normal(size=(2, 3, 4, 4, 1)).astype(np.float32)
  found = jax.jit(lambda *args: methods.gradient_penalty(critic, *args))(
    slope, tiny.KEY, real, fake
  )
  expected = (np.sqrt((slope**2).sum()) - 1) ** 2
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_features_are_drawn_on_their_principal_components():
  rng = np.random.default_rng(1)
  real, fake = rng.normal(size=(3, 9, 5)), rng.normal(size=(3, 2, 5))
  found = _codebook.principal_components(real, fake)
  fitted = PCA(2).fit(real.reshape(-1, 5))
  for got, points in zip(found, (real, fake), strict=True):
    expected = fitted.transform(points.reshape(-1, 5)).reshape(3, -1, 2)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-9)


def test_config_has_the_published_settings():
  made = runner.resolved('cifar10,ipc=10', 'generative').config
  assert made.method.codes_learning_rate == 0.01
  assert made.method.generator_learning_rate == 0.001
  assert made.method.network_learning_rate == 0.01
  assert ':width=128' in made.formation
  assert made.method.batch_real == 256
  assert made.start.startswith('generator')
  assert not made.method.soft_labels
  large = runner.resolved(
    'tfds:imagenet_resized/64x64,like=imagenet,network=convnet:depth=4',
    'generative',
  ).config.method
  assert (large.classes_per_step, large.batch_real) == (64, 16)
  assert large.soft_labels


def test_ablations_are_settings():
  one_hot = _built(method__condition='one_hot')
  assert one_hot.formation.spec['embedding_dim'] == 10
  assert not _start.needs_embeddings(one_hot)
  fixed = _built(
    start='weights', method__condition='online', method__codes='truncated'
  )
  params = _start.stage(fixed, []).make(None)
  assert np.abs(params['codes']).max() <= 1.0
  for left_out in ('adversarial', 'inter'):
    found = traced.period(
      _built(start='weights', **{f'method__{left_out}': 0.0})
    )
    assert found.metrics['loss'].shape == (2,)


def test_only_learned_codes_are_fitted():
  config = runner.resolved('cifar10', 'generative', start='fit').config
  assert config.start == 'fit:steps=300:embedding_steps=5000'
  fitted = runner.resolved(_ARGUMENTS, 'generative', start='fit').config
  assert fitted.start.startswith('fit')


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'method__condition': 'text'}, "method.condition 'text': must be one of"),
    (
      {'method__codes': 'none'},
      "method.codes 'none': must be one of .*learned",
    ),
    ({'method__intra': -1.0}, 'method.intra -1.0: must be at least 0'),
    ({'factor': 2}, 'factor 2: a codebook takes none; say factor=1'),
    ({'start': 'gan'}, "start 'gan': must be one of .*'weights'"),
    ({'start': 'random'}, "start 'random': .*takes fit, generator or weights"),
    (
      {'method__condition': 'one_hot', 'method__soft_labels': True},
      'method.soft_labels True: .*must be False',
    ),
  ],
)
def test_bad_settings(changes, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    runner.run(tmp_path / 'run', _ARGUMENTS, 'generative', **changes)
  assert not (tmp_path / 'run' / 'config.json').exists()


def test_fresh_samples_need_a_generator():
  with pytest.raises(ValueError, match=r"'evaluation\.fresh': 'fresh' must be"):
    runner.config(_ARGUMENTS, 'dm', evaluation__fresh=True)
