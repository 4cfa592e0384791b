"""Generative runs: generators are pretrained, found, condensed and shown."""

import json
import os
import shlex
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runner
import tiny
from PIL import Image
from sklearn.decomposition import PCA

import dcjax
from dcjax import artefact, augment, data, methods
from dcjax.data import to_device
from dcjax.networks import Discriminator

builder = runner.module('builder')
generators = runner.module('generators')
pretraining = runner.module('pretrain_generator')
_ARGUMENTS = 'digits,smoke,network=mlp'
_TRAINING = methods.generator_training
_EMBEDDINGS = generators.trained_embeddings


def _config(arguments=_ARGUMENTS, **changes):
  return runner.config(arguments, 'generative', **changes)


def _small(**changes):
  """A config of digits of their own 8 x 8 pixels."""
  return _config(data__options__size=8, **changes)


@pytest.fixture(scope='module', autouse=True)
def traced_once():
  """Traces the programs of all pretrainings once."""
  kept = {}

  def training(formation, counts, **options):
    name = json.dumps([formation.spec, options])
    if name not in kept:
      made = _TRAINING(formation, counts, **options)
      kept[name] = made._replace(run=jax.jit(made.run))
    return kept[name]

  def embeddings(config, dataset, network):
    if dataset.name not in kept:
      kept[dataset.name] = _EMBEDDINGS(config, dataset, network)
    return kept[dataset.name]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(methods, 'generator_training', training)
    patch.setattr(pretraining, '_PIECES', 2)
    patch.setattr(generators, 'trained_embeddings', embeddings)
    yield


@pytest.fixture(scope='module')
def generator(tmp_path_factory):
  """A generator that was trained without a stop."""
  path = tmp_path_factory.mktemp('pools') / 'generator.npz'
  return pretraining.make(_small(generator__pretrained=str(path)))


def test_a_pretrained_generator_is_found_again(generator):
  assert generator.with_suffix('.png').is_file()
  config = _small(generator__pretrained=str(generator), ipc=3)
  parts = builder.build(config)
  params = builder.initial_params(parts, tiny.KEY)
  stored = generators.load(generator, parts.formation)
  assert params['codes'].shape == (3, 8)
  for name in ('embeddings', 'generator', 'statistics'):
    tiny.assert_trees_equal(params[name], stored.params[name])
  np.testing.assert_allclose(stored.soft_labels.sum(-1), 1, rtol=1e-5)
  config.matching.labels = 'soft'
  soft = generators.soft_labels(config, parts.formation)
  np.testing.assert_array_equal(soft, stored.soft_labels)
  before = generator.read_bytes()
  assert pretraining.make(config) == generator
  assert generator.read_bytes() == before


def test_an_interrupted_pretraining_goes_on_bit_for_bit(
  generator, tmp_path, monkeypatch
):
  config = _small(generator__pretrained=str(tmp_path / 'generator.npz'))
  check = pretraining._check

  def stop_early(values, done):
    check(values, done)
    if done == 4:  # after the checkpoint of the first half
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(pretraining, '_check', stop_early)
    with pytest.raises(KeyboardInterrupt):
      pretraining.make(config)
  assert not (tmp_path / 'generator.npz').is_file()
  other = _small(
    generator__pretrained=str(tmp_path / 'generator.npz'),
    generator__penalty=1.0,
  )
  with pytest.raises(ValueError, match=r'unfinished: holds .* other settings'):
    pretraining.make(other)
  assert pretraining.make(config).read_bytes() == generator.read_bytes()
  assert not (tmp_path / 'generator.npz.unfinished').exists()


@pytest.fixture(scope='module')
def windowed(tmp_path_factory):
  """Changes of a config to a folder of images, of which windows are held."""
  pytest.importorskip('grain')
  folder, rng = tmp_path_factory.mktemp('images'), np.random.default_rng(0)
  for part, counts in (('train', (9, 7, 5)), ('test', (1, 1, 1))):
    for c, count in enumerate(counts):
      (folder / part / f'class{c}').mkdir(parents=True)
      for i in range(count):
        pixels = rng.integers(60 * c, 60 * c + 80, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / part / f'class{c}' / f'{i}.png')
  return {
    'arguments': 'image_folder,smoke,network=mlp',
    'data__dir': str(folder),
    'data__options__size': 8,
  }


def test_embeddings_of_windows_are_those_of_all_images(windowed):
  config = _config(**windowed, data__options__window=4)
  dataset = builder.load_dataset(config)
  network = builder.build_network(config, dataset)
  found = generators.trained_embeddings(config, dataset, network)
  first = to_device(dataset.images, dataset.labels, dataset.scale)
  variables = generators.trained_network(config, dataset, network, first)
  dataset.stream.close()
  whole = builder.load_dataset(_config(**windowed))
  assert (len(dataset.labels), len(whole.labels)) == (12, 21)
  expected = methods.class_embeddings(
    network,
    variables,
    to_device(whole.images, whole.labels, whole.scale),
    augment.normalise(dataset.mean, dataset.std),
  )
  for got, wanted in zip(found, expected, strict=True):
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_pretraining_sees_window_after_window(
  windowed, tmp_path, monkeypatch
):
  seen, window = [], data.Windows.window

  def recorded(self, number):
    seen.append(number)
    return window(self, number)

  monkeypatch.setattr(data.Windows, 'window', recorded)
  monkeypatch.setattr(pretraining, '_PIECES', 3)
  monkeypatch.setattr(pretraining, '_show', lambda *_: None)
  paths = [tmp_path / name for name in ('whole.npz', 'stopped.npz')]
  whole, stopped = (
    _config(
      **windowed,
      data__options__window=4,
      generator__steps=6,
      generator__pretrained=str(path),
    )
    for path in paths
  )
  pretraining.make(whole)
  # Others were looked at for the embeddings; 3 steps show a window once.
  assert seen[-2:] == [0, 1]
  seen.clear()
  check = pretraining._check

  def stop_early(values, done):
    check(values, done)
    if done == 4:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(pretraining, '_check', stop_early)
    with pytest.raises(KeyboardInterrupt):
      pretraining.make(stopped)
  pretraining.make(stopped)
  assert seen == [0, 1, 0, 1]
  assert paths[0].read_bytes() == paths[1].read_bytes()


def test_steps_are_cut_where_windows_change():
  windows = runner.module('_windows')
  assert list(windows.parts_of(2, 9, 4)) == [(0, 4), (1, 8), (2, 9)]
  assert list(windows.parts_of(2, 9, None)) == [(0, 9)]
  assert list(windows.parts_of(4, 4, 4)) == []


def test_a_pretraining_that_diverges_is_reported():
  with pytest.raises(ValueError, match='critic_loss is not finite after 7'):
    pretraining._check({'critic_loss': np.nan, 'distance': 1.0}, 7)


def test_what_does_not_fit_is_refused(generator, tmp_path):
  formation = builder.build(_small()).formation
  spec = {**formation.spec, 'width': 5}
  with pytest.raises(ValueError, match='its width is 4, 5 is asked for'):
    generators.load(generator, formation._replace(spec=spec))
  (tmp_path / 'damaged.npz').write_bytes(b'PK')
  with pytest.raises(ValueError, match=r'damaged.npz: holds no generator'):
    generators.load(tmp_path / 'damaged.npz', formation)
  with pytest.raises(ValueError, match=r"'soft': needs .* pretrained"):
    generators.soft_labels(_config(matching__labels='soft'), formation)
  with pytest.raises(ValueError, match='must name the file to write'):
    pretraining.make(_config())


def test_a_missing_generator_names_the_command_that_makes_it(tmp_path):
  path = str(tmp_path / 'none.npz')
  config = _config('cifar10,schedule=short', generator__pretrained=path)
  with pytest.raises(ValueError, match='no such file; make it with') as error:
    builder.build(config)
  words = shlex.split(str(error.value).partition('make it with ')[2])
  assert words[1] == 'experiments/pretrain_generator.py'
  arguments = words[2].partition('generative.py:')[2]
  made = _config(arguments)
  for word in words[3:]:
    if not word.startswith('--config.'):
      break
    field, _, value = word.removeprefix('--config.').rstrip(';').partition('=')
    section, _, name = field.partition('.')
    made[section][name] = type(made[section][name])(value)
  for section in ('network', 'formation', 'generator'):
    assert made[section].to_dict() == config[section].to_dict()


def _run(folder, generator):
  """A run in half precision from the pretrained generator."""
  return runner.run(
    folder,
    _ARGUMENTS,
    'generative',
    ipc=2,
    data__options__size=8,
    generator__pretrained=str(generator),
    formation__stored='float16',
    evaluation__fresh=True,
    evaluation__seeds=1,
    evaluation__at=(),
    evaluation__baselines=(),
  )


@pytest.fixture(scope='module')
def run(generator, tmp_path_factory):
  """A run that nothing interrupted: folder, results."""
  folder = tmp_path_factory.mktemp('run')
  return folder, _run(folder, generator)


def test_an_interrupted_run_ends_with_the_same_bytes(run, generator, tmp_path):
  folder, _ = run
  stopped, workdir = tmp_path / 'run', runner.module('workdir')
  append = workdir.Workdir.append_metrics

  def terminating(self, record):
    append(self, record)
    os.kill(os.getpid(), signal.SIGTERM)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(workdir.Workdir, 'append_metrics', terminating)
    with pytest.raises(workdir.Interrupted, match='outer iteration 1 of 2'):
      _run(stopped, generator)
  assert not (stopped / 'condensed.npz').exists()
  evaluated = runner.module('evaluations')
  with (
    pytest.MonkeyPatch.context() as patch
  ):  # only the artefact is of interest
    patch.setattr(evaluated, 'evaluate_all', _ended)
    with pytest.raises(_Ended):
      _run(stopped, generator)
  condensed = (stopped / 'condensed.npz').read_bytes()
  assert condensed == (folder / 'condensed.npz').read_bytes()
  assert _losses(stopped) == _losses(folder)


class _Ended(BaseException):
  """Stands for the end of the process."""


def _ended(*arguments):
  raise _Ended


def _losses(folder):
  text = (folder / 'metrics.jsonl').read_text()
  lines = map(json.loads, text.splitlines())
  return [(line['outer'], line['loss']) for line in lines]


def test_the_evaluated_images_are_those_of_the_file(run, generator):
  folder, _ = run
  parts = builder.build(
    _small(
      ipc=2, generator__pretrained=str(generator), formation__stored='float16'
    )
  )
  stored = dcjax.load(folder / 'condensed.npz')
  params = jax.tree.map(jnp.float32, stored.params)
  batch = runner.module('evaluations').training_images(
    parts, {}, params, 'condensed'
  )
  images, labels = stored.numpy()
  assert np.asarray(batch.images).tobytes() == images.tobytes()
  np.testing.assert_array_equal(batch.labels.argmax(-1).ravel(), labels)


def test_a_run_stores_a_codebook_in_half_precision(run):
  folder, results = run
  stored = dcjax.load(folder / 'condensed.npz')
  assert stored.spec['name'] == 'codebook'
  kinds = {leaf.dtype.name for leaf in jax.tree.leaves(stored.params)}
  assert kinds == {'float16'}
  assert '/' not in stored.provenance['config']['generator']['pretrained']
  counted = artefact.codebook_bytes(stored.spec, 2)
  assert results['codebook']['total'] == counted['total']
  assert results['storage']['total']['float32_bytes'] == 2 * counted['total']


def test_fresh_samples_are_another_row(run):
  _, results = run
  entries = results['evaluations']
  assert set(entries) == {'condensed', 'initial', 'fresh'}
  assert entries['condensed']['images'] == 20
  assert entries['fresh']['images'] > 20
  assert 'fresh samples' in entries['fresh']['label_regime']
  assert results['headline'] == 'condensed'


def test_report_shows_codes_features_and_bytes(run):
  folder, _ = run
  page = (folder / 'report.html').read_text()
  for text in (
    'Codebook and images',
    'break-even beside 8 bit',
    'From code to code',
    'Features of real and condensed images',
    'NOT a fixed set',
  ):
    assert text in page
  assert page.count('<img') == 5


def test_metrics_hold_every_term(run):
  folder, _ = run
  first = json.loads((folder / 'metrics.jsonl').read_text().splitlines()[0])
  terms = {'adversarial', 'classification', 'feature', 'intra', 'inter'}
  assert terms | {'discriminator_loss', 'discriminator_accuracy'} <= set(first)


def test_a_checkpoint_brings_the_whole_state_back(run, generator):
  folder, _ = run
  parts = builder.build(
    _small(
      ipc=2,
      generator__pretrained=str(generator),
      formation__stored='float16',
    )
  )
  params = builder.initial_params(parts, tiny.KEY)
  like = jax.eval_shape(
    parts.condenser.init, tiny.KEY, params, parts.inner_data
  )
  checkpoints = runner.module('checkpoint').Checkpoints(folder / 'checkpoints')
  state, _ = checkpoints.restore(checkpoints.latest(), like)
  checkpoints.close()
  assert int(state.step) == 4
  stored = dcjax.load(folder / 'condensed.npz').params
  tiny.assert_trees_equal(
    jax.tree.map(lambda leaf: leaf.astype(jnp.float16), state.params), stored
  )


def test_a_useless_discriminator_is_said_once(capsys):
  warn = runner.module('outer_loop')._warn
  stuck = {'discriminator_loss': [0.1], 'discriminator_accuracy': [1.0]}
  said = warn(stuck, {'outer': 3}, None)
  warn(stuck, {'outer': 4}, said)
  output = capsys.readouterr()
  text = output.out + output.err
  assert text.count('stuck at 100%') == 1 and 'outer iteration 3' in text


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
  project = runner.module('_report_generative').principal_components
  found = project(real, fake)
  fitted = PCA(2).fit(real.reshape(-1, 5))
  for got, points in zip(found, (real, fake), strict=True):
    expected = fitted.transform(points.reshape(-1, 5)).reshape(3, -1, 2)
    np.testing.assert_allclose(np.abs(got), np.abs(expected), atol=1e-9)


def test_config_has_the_published_settings():
  made = _config('cifar10,ipc=10')
  assert made.images.learning_rate == 0.01
  assert made.generator.learning_rate == 0.001
  assert made.inner.learning_rate == 0.01
  assert (made.formation.width, made.matching.batch_real) == (128, 256)
  assert made.matching.labels == 'hard'
  large = _config('tfds:imagenet_resized/64x64,network=convnet:depth=4')
  assert (large.matching.classes_per_step, large.matching.batch_real) == (
    64,
    16,
  )
  assert large.matching.labels == 'soft'
  assert '/64x64' not in large.generator.pretrained


def test_ablations_are_arguments():
  made = _config('svhn,condition=one_hot,codes=truncated,losses=feature+intra')
  assert 'one_hot' in made.generator.pretrained
  assert (made.matching.condition, made.matching.codes) == (
    'one_hot',
    'truncated',
  )
  assert (made.matching.feature, made.matching.intra) == (1.0, 1.0)
  assert (made.matching.adversarial, made.matching.inter) == (0.0, 0.0)
  one_hot = builder.build(_small(matching__condition='one_hot'))
  assert one_hot.formation.spec['embedding_dim'] == 10
  fixed = _small(matching__condition='online', matching__codes='truncated')
  params = builder.initial_params(builder.build(fixed), tiny.KEY)
  assert np.abs(params['codes']).max() <= 1.0


def test_only_real_images_are_fitted():
  images = _config('cifar10,start=images')
  assert (images.generator.fit_steps, images.generator.pretrained) == (300, '')
  assert images.init.mode == 'random'
  noise = _small(generator__fit_steps=3, init__mode='noise')
  with pytest.raises(ValueError, match="must be 'random', not 'noise'"):
    builder.build(noise)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ('digits,condition=text', "condition 'text': must be one of .*online"),
    ('digits,codes=none', "codes 'none': must be one of .*learned"),
    ('digits,losses=all+style', "losses 'all': must be one of .*intra"),
    ('digits,factor=2', 'factor=2: a codebook takes none'),
    ('digits,start=gan', "start 'gan': must be one of .*images"),
    ('digits,start=images,codes=gaussian', 'gaussian are drawn anew'),
  ],
)
def test_bad_arguments(arguments, message):
  with pytest.raises(ValueError, match=message):
    _config(arguments)


def test_fresh_samples_need_a_generator():
  parts = builder.build(runner.config(_ARGUMENTS, 'dm'))
  with pytest.raises(ValueError, match="'identity' has no fresh samples"):
    runner.module('fresh').run(parts, {}, {}, None)
