"""Every data set and every network goes from its config to a run."""

import html
import json
import re

import jax
import numpy as np
import pytest
import runner
from PIL import Image
from published import write_cifar, write_idx_set, write_svhn, write_words

import dcjax
from dcjax import augment, data
from dcjax.inner import InnerData
from dcjax.runs import (
  _augment,
  _build,
  _image_optimizer,
  _method,
  _run,
  settings,
)
from dcjax.runs._given import SUPPLIED, Given
from dcjax.runs.applications import _shared as shared


def write(name, folder):
  """Writes just enough images for IDC's `mix` start with factor 2."""
  if name in ('mnist', 'fashion_mnist'):
    write_idx_set(folder, count=80)
  elif name == 'svhn':
    write_svhn(folder, count=40)
  elif name == 'speech':
    words = data.SPEECH_COMMANDS
    write_words(folder / 'mini_speech_commands', words, count=6)
  else:
    write_cifar(folder, name, per_class=4 if name == 'cifar100' else 1)
  return str(folder)


# What a set is called.


@pytest.mark.parametrize('recipe', ['idc', 'dsa', 'dm'])
def test_the_name_of_a_file_decides_nothing(tmp_path, recipe):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
  found = []
  for name in ('blood', 'bloodmnist', 'speech', 'imagenet10', 'svhn'):
    path = tmp_path / f'{name}.npz'
    np.savez(path, images=images, labels=np.arange(40) % 2)
    made = runner.built('npz,smoke', recipe, data_dir=str(path))
    plain = made.settings.plain() | {'data_dir': ''}
    found.append((plain, made.strategies, made.flips, made.protocol))
  assert all(one == found[0] for one in found)


def test_an_application_goes_by_the_word_not_by_the_file(tmp_path):
  path = runner.write_npz(tmp_path / 'svhn.npz')
  write_idx_set(tmp_path / 'mnist', count=20)
  config = runner.resolved('mnist+fashion_mnist,smoke', 'tasks')
  config = config.config.copy_and_resolve_references()
  config.data, config.data_dir = 'npz+npz:test_fraction=0.5', str(path)
  config.size, config.channels = 8, 1
  assert [d.name for d in shared.domains(config)] == ['npz', 'npz']


@pytest.mark.parametrize(
  'classes', ['10,2', '10+2', 'cat,dog', '007+1e3', '0x10+true', '1_0+2j']
)
def test_classes_are_named_as_they_are_said(tmp_path, classes):
  names = ('10', '2', 'cat', 'dog', '007', '1e3', '0x10', 'true', '2j', '1_0')
  for name in names:
    (tmp_path / name).mkdir()
    for n in range(4):
      Image.new('L', (4, 4), 20 * n + len(name)).save(
        tmp_path / name / f'{n}.png'
      )
  config = runner.config('own,smoke', 'dm', data_dir=str(tmp_path))
  config.data = f'image_folder:grayscale=true:classes={classes}:size=4'
  dataset = _build.load(settings.resolve(config).config)
  assert dataset.class_names == tuple(re.split('[+,]', classes))


@pytest.mark.parametrize(
  ('formation', 'word', 'rate'),
  [
    ('learnable', '', 5e-4),
    ('quantised:bits=4:inner=learnable', '', 5e-4),
    ('learnable', 'sgd:decoder_learning_rate=0.01', 0.01),
    ('learnable', 'sgd:decoder_learning_rate=0', None),
  ],
)
def test_a_learned_upsampler_has_a_rate_of_its_own(formation, word, rate):
  """By Adam, whose first step is as long as its rate; images go by SGD."""
  built = runner.built(
    'digits,smoke,factor=2', 'idc', formation=formation, optimizer=word
  )
  made = _image_optimizer.optimizer(built)
  params = {'images': np.zeros((2, 1, 8, 8, 1)), 'decoder': {'k': np.ones(3)}}
  gradient = jax.tree.map(lambda p: np.full(p.shape, 100.0), params)
  steps, _ = made.update(gradient, made.init(params), params)
  image_rate = _build.learning_rate(built)
  np.testing.assert_allclose(steps['images'], -100 * image_rate, rtol=1e-6)
  expected = -100 * image_rate if rate is None else -rate
  np.testing.assert_allclose(steps['decoder']['k'], expected, rtol=1e-5)


# One run of IDC's config, and what a run leaves.


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """Returns a finished run's folder, its results, and where its data lie."""
  folder = tmp_path_factory.mktemp('mnist')
  place = write('mnist', folder / 'data')
  results = runner.run(folder / 'run', 'mnist,smoke', data_dir=place)
  return folder / 'run', results, place


def test_a_run_leaves_its_files(finished):
  workdir, results, _ = finished
  assert {file.name for file in workdir.iterdir()} == {
    'checkpoints',
    'condensed.npz',
    'config.json',
    'film',
    'images.png',
    'metrics.jsonl',
    'report.html',
    'results.json',
    'stages',
    'stages.json',
  }
  assert runner.results(workdir) == results
  config = json.loads((workdir / 'config.json').read_text())
  assert (config['data'], config['ipc'], config['like']) == (
    'mnist',
    1,
    'mnist',
  )
  records = runner.metrics(workdir)
  assert [(r['outer'], r['step']) for r in records] == [(1, 2), (2, 4)]
  for record in records:
    assert record['loss'] > 0
    assert record['seconds'] > 0
    assert record['steps_per_second'] > 0
    assert record['memory_bytes'] > 50e6
    assert 0 <= record['utilisation'] < 1


def test_results_cover_all_sets(finished):
  _, results, _ = finished
  assert results['dataset'] == 'mnist'
  assert list(results['evaluations']) == [
    'condensed',
    'initial',
    'random',
    'herding',
  ]
  for kind, entry in results['evaluations'].items():
    assert 0 <= entry['last_mean'] <= entry['best_mean'] <= 1
    assert entry['last_std'] >= 0
    assert entry['best_std'] >= 0
    assert len(entry['per_seed_last']) == 2
    np.testing.assert_allclose(
      entry['last_mean'], np.mean(entry['per_seed_last']), rtol=1e-6
    )
    factor_two = kind in ('condensed', 'initial')
    assert entry['images'] == (40 if factor_two else 10)
    assert entry['label_regime'] == 'hard'
  assert [p['outer'] for p in results['checkpoints']] == [0, 1, 2]
  assert results['storage']['images']['numbers'] == 10 * 28 * 28
  assert results['evaluations']['random']['bytes'] == 4 * 10 * 28 * 28
  assert results['environment']['platform']


def test_the_condensed_set_opens_without_the_run(finished):
  workdir, _, place = finished
  loaded = dcjax.load(workdir / 'condensed.npz')
  dataset = data.load('mnist', place)
  assert loaded.class_names == dataset.class_names
  assert loaded.provenance['dataset'] == 'mnist'
  images, labels = loaded.numpy()[:2]
  assert images.shape == (40, *dataset.image_shape)
  labels = np.asarray(labels)
  classes = labels.argmax(-1) if labels.ndim == 2 else labels
  assert np.bincount(classes).tolist() == [4] * 10
  stored = loaded.params['images']
  assert stored.min() >= 0
  assert stored.max() <= 1


def test_pictures_and_report_show_the_run(finished):
  workdir, results, _ = finished
  picture = np.asarray(Image.open(workdir / 'images.png'))
  assert picture.shape[1] > picture.shape[0]  # ten classes share a row
  assert np.ptp(picture) > 100
  page = html.unescape((workdir / 'report.html').read_text(encoding='utf-8'))
  entry = results['evaluations']['condensed']
  assert f'{100 * entry["last_mean"]:.1f} ±' in page
  assert 'idc:mnist,smoke' in page
  assert 'herding' in page


def test_a_set_of_the_time_axis_runs_from_words_to_report(tmp_path):
  results = runner.run(
    tmp_path / 'run',
    'speech,smoke,network=mlp',
    data_dir=write('speech', tmp_path / 'data'),
    evaluation__at=(),
    evaluation__seeds=1,
    evaluation__baselines=('random',),
  )
  assert results['evaluations']['condensed']['images'] == 8 * 2
  assert results['formation']['name'] == 'time_axis'
  loaded = dcjax.load(tmp_path / 'run' / 'condensed.npz')
  assert loaded.class_names == data.SPEECH_COMMANDS
  assert (tmp_path / 'run' / 'report.html').stat().st_size > 10_000


@pytest.mark.parametrize('method', ['dc', 'dsa', 'dm'])
def test_methods_of_noise_and_real_images_never_clip(method, tmp_path):
  results = runner.run(
    tmp_path / method,
    'digits:size=8,smoke,network=mlp',
    method,
    evaluation__seeds=1,
    evaluation__at=(),
    evaluation__baselines=('random',),
  )
  assert results['method'] == method
  assert list(results['evaluations']) == ['condensed', 'random']
  stored = dcjax.load(tmp_path / method / 'condensed.npz')
  assert stored.value_range == (None, None)
  if method == 'dc':  # starts from noise in normalised units
    assert stored.params['images'].min() < 0


# As far as the traced program; nothing is computed.


def trace(built):
  """Traces a condensation."""
  made = _method.condenser(Given(built))
  key, real = jax.random.key(0), InnerData(built.real.at(), None)
  shape = (built.dataset.num_classes, built.config.ipc)
  blank = jax.ShapeDtypeStruct((*shape, *built.dataset.image_shape), 'float32')
  params = jax.eval_shape(built.formation.init, key, blank)
  state = jax.eval_shape(made.init, key, params, real)
  _, metrics = jax.eval_shape(made.period, key, state, real)
  assert metrics['loss'].shape == (built.config.method.inner_steps,)


@pytest.mark.parametrize(
  'name', ['fashion_mnist', 'svhn', 'cifar10', 'cifar100', 'digits']
)
def test_the_config_of_every_data_set_fits_its_files(tmp_path, name):
  place = '' if name == 'digits' else write(name, tmp_path / 'data')
  chosen = runner.resolved(f'{name},smoke', data_dir=place)
  with _run.opened(chosen, tmp_path / 'run') as at_work:
    built, stages = at_work.built, at_work.pipeline.stages
    trace(built)
  assert built.dataset.num_classes == {'cifar100': 100}.get(name, 10)
  assert [s.name for s in stages if s.name.startswith('evaluate/')] == [
    f'evaluate/{n}' for n in ('condensed', 'initial', 'random', 'herding')
  ]


@pytest.mark.parametrize(
  'network',
  [
    'convnet:pooling=max:activation=sigmoid',
    'mlp',
    'lenet',
    'alexnet:norm=batch',
    'resnet10',
    'resnetap18:norm=batch:form=dc',
    'densenet121',
    'efficientnet_b0',
  ],
)
def test_every_network_can_be_asked_for(network):
  built = runner.built(f'digits,smoke,network={network}', 'dsa')
  name, *options = network.split(':')
  assert built.network.name.startswith(name.rstrip('0123456789_b'))
  for option in options:
    assert option in built.config.network.split(':')


def test_vgg_takes_images_of_28_pixels(tmp_path):
  images = np.zeros((80, 28, 28, 1), np.uint8)
  images[:, ::2] = 200
  path = runner.write_npz(
    tmp_path / 'own.npz', images=images, test_images=images[:8]
  )
  arguments = 'npz,smoke,network=vgg11:norm=batch'
  built = runner.built(arguments, 'dc', data_dir=str(path))
  assert built.network.name.startswith('vgg11')
  assert ':width=4' in built.config.network


@pytest.mark.parametrize('recipe', ['idc', 'cafe', 'label_distillation'])
def test_every_method_condenses_with_another_network(recipe):
  built = runner.built('digits,smoke,network=mlp', recipe)
  assert built.config.network.startswith('mlp:')
  assert ':width=4' in built.config.network
  assert 'norm' not in built.config.network
  trace(built)


# What the objects of a run are.


def test_dc_evaluates_mnist_with_its_own_augmentation(tmp_path):
  place = write('mnist', tmp_path)
  built = runner.built('mnist,smoke', 'dc', data_dir=place)
  chosen = dict(built.strategies)
  assert chosen['evaluate'] == 'crop_scale_rotate'
  assert (chosen['match'], chosen['train']) == ('none', 'none')
  # Noise is the cheapest operation, and only DC's evaluation knows it.
  built = built._replace(strategies=chosen | {'evaluate': 'noise'})
  images = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1))
  key = jax.random.key(1)
  evaluated = _build.evaluation_augment(built)(key, images)
  expected = augment.chain(built.normalise, augment.dc_evaluation('noise'))
  np.testing.assert_array_equal(evaluated, expected(key, images))
  matched = _augment.augment_of(built.dataset, chosen, 'match', built.placement)
  matched = matched(key, images)
  np.testing.assert_allclose(matched, built.normalise(key, images), atol=1e-6)
  assert np.abs(evaluated - matched).max() > 1e-4


def test_padding_of_whitened_images_is_their_middle():
  def padding(**changes):
    made = runner.built('digits:size=8,smoke,factor=3', **changes)
    return made.formation.spec['padding']

  assert padding() == 0.5
  assert padding(zca='kip') == 0.0
  assert padding(zca='kip', formation='uniform:padding=0.25') == 0.25


@pytest.mark.parametrize(
  ('recipe', 'name'), [('mtt', 'augment'), ('rat_bptt', 'real_augment')]
)
def test_training_on_the_set_is_augmented_image_by_image(recipe, name):
  """Matching shares a draw; the published codes of these two do not."""
  built = runner.built('digits:size=8,smoke', recipe)
  given = Given(built)
  image = np.random.default_rng(0).random((1, 8, 8, 1)).astype(np.float32)
  images = np.repeat(image, 6, 0)

  def alike(name, seed):
    seen = SUPPLIED[name](given)(jax.random.key(seed), images)
    return np.allclose(seen, seen[:1])

  assert all(alike('match_augment', seed) for seed in range(8))
  assert not all(alike(name, seed) for seed in range(8))
  with pytest.raises(ValueError, match=r'augment\.match'):
    runner.resolved('digits', recipe, augment__match='none')


@pytest.mark.parametrize(
  ('recipe', 'chosen', 'updates', 'mirror'),
  [
    ('frepo', 'cifar10,ipc=50', 1000, True),
    ('frepo', 'cifar100,ipc=1', 1000, True),
    ('frepo', 'cifar100,ipc=10', 2000, False),
    ('frepo', 'cifar100,ipc=50', 5000, False),
    ('frepo', 'svhn,ipc=10', 1000, False),
    ('frepo', 'usps,ipc=1', 1000, False),
    ('rcig', 'cifar10,ipc=1', 1000, True),
    ('rcig', 'cifar10,ipc=50', 2000, True),
    ('rcig', 'cifar100,ipc=10', 2000, True),
    ('rat_bptt', 'cifar10,ipc=10', 3000, None),
    ('rat_bptt', 'cifar100,ipc=10', 3000, None),
  ],
)
def test_tests_of_networks_make_the_published_updates(
  recipe, chosen, updates, mirror
):
  config = runner.resolved(f'{chosen},schedule=reference', recipe).config
  images = config.ipc * (100 if config.data == 'cifar100' else 10)
  batches = -(-images // config.evaluation.batch_size)
  assert config.evaluation.epochs * batches == updates
  assert config.method.get('mirror') == mirror
  assert config.zca == (
    'none'
    if config.data == 'usps'
    else 'kip_unit'
    if recipe == 'rat_bptt'
    else 'kip'
  )


@pytest.mark.parametrize(
  ('recipe', 'expected'),
  [
    ('tesla', dict(exact=False, learning_rate=500.0, last_start=5)),
    ('ftd', dict(average_rate=0.9999, learning_rate=100.0, steps=50)),
    ('datm', dict(label_learning_rate=5.0, steps=80, reject_above=1.0)),
  ],
)
def test_descendants_of_mtt_have_settings_of_their_own(recipe, expected):
  config = runner.resolved('cifar10,ipc=1,schedule=reference', recipe).config
  found = {name: config.method[name] for name in expected}
  assert found == expected
  assert config.method.name == recipe
  assert bool(config.experts.rho) == (recipe != 'tesla')


def test_representative_batches_look_through_one_observer():
  built = runner.built(
    'digits:size=8,smoke', 'dm', inner='observers', source='representative'
  )
  with pytest.raises(ValueError, match=r"source 'representative': .* names 2"):
    SUPPLIED['source'](Given(built, [built.network] * 2))
