"""Every data set's smoke config runs from data files to report."""

import html
import json

import jax
import numpy as np
import pytest
import runner
from PIL import Image
from published import write_cifar, write_idx_set, write_svhn, write_words

import dcjax
from dcjax import augment, data

_SETS = {'condensed', 'initial', 'random', 'herding'}


def _write(name, folder):
  """Writes just enough images for IDC's `mix` start with factor 2."""
  if name in ('mnist', 'fashion_mnist'):
    write_idx_set(folder, count=80)
  elif name == 'svhn':
    write_svhn(folder, count=40)
  elif name == 'speech':
    words = data.SPEECH_COMMANDS
    write_words(folder / 'mini_speech_commands', words, count=6)
  elif name != 'digits':
    write_cifar(folder, name, per_class=4 if name == 'cifar100' else 1)
  return str(folder)


@pytest.fixture(scope='module', params=['digits', 'mnist'])
def finished(request, tmp_path_factory):
  """Returns a finished run: its name, folder and results."""
  name = request.param
  folder = tmp_path_factory.mktemp(name)
  place = _write(name, folder / 'data')
  workdir = folder / 'run'
  results = runner.run(workdir, f'{name},smoke', data__dir=place)
  return name, workdir, results, place


def test_run_leaves_its_files(finished):
  name, workdir, results, _ = finished
  assert {file.name for file in workdir.iterdir()} == {
    'checkpoints',
    'condensed.npz',
    'config.json',
    'evaluations.json',
    'images.png',
    'metrics.jsonl',
    'report.html',
    'results.json',
  }
  assert json.loads((workdir / 'results.json').read_text()) == results
  config = json.loads((workdir / 'config.json').read_text())
  assert (config['data']['name'], config['ipc']) == (name, 1)
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  records = [json.loads(line) for line in lines]
  assert [(r['outer'], r['step']) for r in records] == [(1, 2), (2, 4)]
  assert all(r['loss'] > 0 and r['seconds'] > 0 for r in records)


def test_results_cover_all_sets(finished):
  name, _, results, _ = finished
  assert results['dataset'] == name
  assert set(results['evaluations']) == _SETS
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
  pixels = {'digits': 16 * 16, 'mnist': 28 * 28}[name]
  assert results['storage']['images']['numbers'] == 10 * pixels
  assert results['evaluations']['random']['bytes'] == 4 * 10 * pixels
  assert results['environment']['platform']


def test_condensed_set_opens_without_the_run(finished):
  name, workdir, _, place = finished
  loaded = dcjax.load(workdir / 'condensed.npz')
  options = {'size': 16} if name == 'digits' else {}
  dataset = data.load(name, place, **options)
  assert loaded.class_names == dataset.class_names
  assert loaded.provenance['dataset'] == name
  images, labels = loaded.numpy()[:2]
  assert images.shape == (40, *dataset.image_shape)
  labels = np.asarray(labels)
  classes = labels.argmax(-1) if labels.ndim == 2 else labels
  assert np.bincount(classes).tolist() == [4] * 10
  stored = loaded.params['images']
  assert stored.min() >= 0
  assert stored.max() <= 1


def test_pictures_and_report_show_the_run(finished):
  name, workdir, results, _ = finished
  picture = np.asarray(Image.open(workdir / 'images.png'))
  assert picture.shape[1] > picture.shape[0]  # ten classes share a row
  assert np.ptp(picture) > 100
  page = html.unescape((workdir / 'report.html').read_text(encoding='utf-8'))
  entry = results['evaluations']['condensed']
  assert f'{100 * entry["last_mean"]:.1f} ±' in page
  assert f'idc.py:{name},smoke' in page
  assert 'herding' in page


def test_finished_run_says_so_and_does_nothing(finished, capsys, monkeypatch):
  name, workdir, results, place = finished
  monkeypatch.setattr(runner.module('builder'), 'build', None)
  before = {f: f.stat().st_mtime_ns for f in workdir.rglob('*')}
  again = runner.run(workdir, f'{name},smoke', data__dir=place)
  assert again == results
  said = capsys.readouterr().out
  assert said == f'finished already: see {workdir / "report.html"}\n'
  assert {f: f.stat().st_mtime_ns for f in workdir.rglob('*')} == before


@pytest.mark.parametrize(
  'name', ['fashion_mnist', 'svhn', 'cifar10', 'cifar100', 'speech']
)
def test_smoke_config_runs(tmp_path, name):
  results = runner.run(
    tmp_path / 'run',
    f'{name},smoke',
    data__dir=_write(name, tmp_path / 'data'),
    evaluation__at=(),
    evaluation__seeds=1,
    evaluation__baselines=('random',),
  )
  classes = {'cifar100': 100, 'speech': 8}.get(name, 10)
  decoded = 2 if name == 'speech' else 4
  entries = results['evaluations']
  assert set(entries) == {'condensed', 'initial', 'random'}
  assert entries['condensed']['images'] == classes * decoded
  assert results['formation']['name'] == (
    'time_axis' if name == 'speech' else 'uniform'
  )
  loaded = dcjax.load(tmp_path / 'run' / 'condensed.npz')
  assert len(loaded.class_names) == classes
  assert (tmp_path / 'run' / 'report.html').stat().st_size > 10_000


@pytest.mark.parametrize('method', ['dc', 'dsa', 'dm'])
def test_other_methods_run_on_digits(method, tmp_path):
  results = runner.run(
    tmp_path / method,
    'digits,smoke',
    method,
    evaluation__seeds=1,
    evaluation__at=(),
    evaluation__baselines=('random',),
  )
  assert results['method'] == method
  assert set(results['evaluations']) == {'condensed', 'initial', 'random'}
  stored = dcjax.load(tmp_path / method / 'condensed.npz')
  assert stored.value_range == (None, None)
  if method == 'dc':  # starts from noise in normalised units, never clipped
    assert stored.params['images'].min() < 0


def test_dm_takes_multi_formation_as_one_argument():
  made = runner.config('cifar10,ipc=10,factor=2', 'dm')
  assert made.formation.factor == 2
  assert made.init.mode == 'mix'
  plain = runner.config('cifar10,ipc=10', 'dm')
  assert plain.formation.factor == 1
  assert plain.init.mode == 'random'


_SMALL_NETWORKS = [
  'convnet:pooling=max:activation=sigmoid',
  'mlp',
  'lenet',
  'alexnet:norm=batch',
  'resnet10',
  'resnetap18:norm=batch:form=dc',
  'densenet121',
  'efficientnet_b0',
]


@pytest.mark.parametrize('network', _SMALL_NETWORKS)
def test_every_network_can_be_asked_for(network):
  made = runner.config(f'digits,smoke,network={network}', 'dsa')
  parts = runner.module('builder').build(made)
  assert parts.network.name.startswith(made.network.name.rstrip('0123456789_b'))
  for part in network.split(':')[1:]:
    option, _, text = part.partition('=')
    assert made.network[option] == text


def _trace(config):
  """Builds a run and traces its condensation; computes nothing."""
  builder = runner.module('builder')
  parts = builder.build(config)
  key = jax.random.key(0)
  params = builder.initial_params(parts, key)
  method, data = parts.condenser, parts.inner_data
  state = jax.eval_shape(method.init, key, params, data)
  _, metrics = jax.eval_shape(method.period, key, state, data)
  assert metrics['loss'].shape == (config.schedule.inner,)
  return parts


def test_vgg_takes_images_of_28_pixels(tmp_path):
  images = np.zeros((80, 28, 28, 1), np.uint8)
  images[:, ::2] = 200
  path = runner.write_npz(
    tmp_path / 'own.npz', images=images, test_images=images[:8]
  )
  arguments = 'npz,smoke,network=vgg11:norm=batch'
  made = runner.config(arguments, 'dc', data__dir=str(path))
  parts = runner.module('builder').build(made)
  assert (parts.network.name[:5], made.network.width) == ('vgg11', 4)


@pytest.mark.parametrize('recipe', ['idc', 'cafe', 'label_distillation'])
def test_every_method_condenses_with_another_network(recipe):
  made = runner.config('digits,smoke,network=mlp', recipe)
  assert (made.network.name, made.network.width) == ('mlp', 4)
  assert 'norm' not in made.network
  _trace(made)


def test_network_argument_goes_before_the_schedule():
  def network(arguments, recipe='dm'):
    return runner.config(arguments, recipe).network

  assert network('cifar10').to_dict() == {
    'name': 'convnet',
    'depth': 3,
    'width': 128,
    'norm': 'instance',
    'activation': 'relu',
    'pooling': 'avg',
    'conv_form': 'auto',
  }
  assert network('digits').width == 32
  assert network('digits,network=convnet:width=48').width == 48
  assert network('digits,network=convnet:width=48,width=8').width == 8
  assert network('digits,network=vgg11').width == 16
  assert 'width' not in network('digits,network=lenet,width=8')
  assert network('speech', 'idc').depth == 4
  assert network('speech,network=convnet2', 'idc').depth == 2
  made = network('cifar10,network=densenet121')
  assert made.to_dict()['growth'] is None
  made.growth = 8  # without a value, but with a type
  with pytest.raises(TypeError, match='int'):
    made.growth = 'wide'


def test_dc_follows_its_paper_for_each_network_and_data_set():
  def made(arguments):
    config = runner.config(arguments, 'dc')
    return config.images.learning_rate, config.evaluation.epochs

  assert made('cifar10') == (0.1, 300)
  assert made('mnist') == (0.1, 1000)
  assert made('mnist,network=mlp') == (0.01, 1000)
  assert made('mnist,schedule=short') == (1.0, 300)
  rate, _ = made('mnist,network=mlp,schedule=short')
  assert rate == pytest.approx(0.1)
  assert made('cifar10,network=convnet:norm=batch') == (0.1, 1000)


def test_dc_evaluates_mnist_with_its_own_augmentation(tmp_path):
  builder = runner.module('builder')
  place = _write('mnist', tmp_path)
  parts = builder.build(runner.config('mnist,smoke', 'dc', data__dir=place))
  assert parts.strategies['evaluate'] == 'crop_scale_rotate'
  assert (parts.strategies['match'], parts.strategies['train']) == ('none',) * 2
  # Noise is the cheapest operation, and only DC's evaluation knows it.
  parts = parts._replace(strategies={**parts.strategies, 'evaluate': 'noise'})
  images = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1))
  key = jax.random.key(1)
  evaluated = builder.treatment(parts, 'evaluate', 'sample')(key, images)
  expected = augment.chain(parts.normalise, augment.dc_evaluation('noise'))
  np.testing.assert_array_equal(evaluated, expected(key, images))
  matched = builder.treatment(parts, 'match', 'batch')(key, images)
  np.testing.assert_allclose(matched, parts.normalise(key, images), atol=1e-6)
  assert np.abs(evaluated - matched).max() > 1e-4


def test_padding_of_whitened_images_is_their_middle():
  build = runner.module('builder').build
  plain = runner.config('digits,smoke,factor=3', data__options__size=8)
  assert build(plain).formation.spec['padding'] == 0.5
  plain.data.zca = 'kip'
  assert build(plain).formation.spec['padding'] == 0.0
  plain.formation.padding = 0.25
  assert build(plain).formation.spec['padding'] == 0.25


@pytest.mark.parametrize(
  ('ipc', 'steps', 'epochs'), [(1, 1, 1), (10, 10, 50), (35, 35, 20)]
)
def test_dc_has_the_reference_loops_for_any_ipc(ipc, steps, epochs):
  made = runner.config(f'mnist,ipc={ipc}', 'dc')
  assert (made.schedule.inner, made.inner.epochs) == (steps, epochs)
