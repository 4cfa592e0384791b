"""Measurements of a finished run: other networks, fair scores, resumption."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import runner

from dcjax import fairness

cells = runner.module('cells')
evaluations = runner.module('evaluations')
fair = runner.module('fair')
transfer = runner.module('transfer')
whole_set = runner.module('whole_set')
workdir = runner.module('workdir')

_NETWORKS = [
  'own',
  'mlp:width=8',
  'resnet8:form=cifar_thin:width_multiplier=0.25:norm=batch',
]


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """Returns the folder of a finished run that nothing else writes to."""
  path = tmp_path_factory.mktemp('finished') / 'run'
  runner.run(
    path,
    data__options__size=8,
    evaluation__at=(),
    evaluation__baselines=('random',),
  )
  return path


@pytest.fixture
def run(finished, tmp_path):
  """Returns a copy of it."""
  return shutil.copytree(finished, tmp_path / 'run')


@pytest.fixture
def trained(monkeypatch):
  """Returns the names of the sets trained on, in order."""
  names, train = [], evaluations.Evaluations.run

  def counted(self, name, *rest):
    names.append(name)
    return train(self, name, *rest)

  monkeypatch.setattr(evaluations.Evaluations, 'run', counted)
  return names


def _untimed(found):
  """Drops what differs between two runs of the same evaluation."""
  if not isinstance(found, dict):
    return found
  return {k: _untimed(v) for k, v in found.items() if k != 'seconds'}


def test_networks_and_options_are_read():
  parsed = transfer.parse_networks(
    ['convnet2:width=64:norm=batch', 'resnetap10', 'densenet121:growth=8']
  )
  first, second, third = parsed.values()
  assert (first['name'], first['depth'], first['width']) == ('convnet', 2, 64)
  assert first['norm'] == 'batch'
  assert first['pooling'] == 'avg'  # left out: the default is part of it
  assert second['name'] == 'resnet'
  assert second['depth'] == 10
  assert second['average_pooling'] is True
  assert third['growth'] == 8
  assert transfer.resolve({'name': 'own'}) == {'name': 'own'}


@pytest.mark.parametrize(
  ('word', 'message'),
  [
    ('vgg', "network 'vgg': must be one of .*'convnet'.*'vgg11'"),
    ('mlp:norm=batch', r"'mlp' has no option 'norm': it takes \['depth'"),
    ('mlp:width=wide', 'option width=wide: must be int'),
    ('resnet:global_pooling=perhaps', 'global_pooling=perhaps: must be bool'),
    ('mlp:width', "'mlp:width': 'width' must be option=value"),
    ('own:width=8', r"network 'own' has no option 'width': it takes \[\]"),
  ],
)
def test_bad_networks_are_named(word, message):
  with pytest.raises(ValueError, match=message):
    transfer.parse_networks([word])


def test_networks_are_trained_once_and_reported(run, trained):
  sets = ['condensed', 'random']
  text = transfer.transfer(str(run), _NETWORKS, sets)
  # The run has evaluated its own network on both sets.
  assert trained == sets * 2
  record = (run / 'transfer.json').read_bytes()
  assert (run / 'transfer.md').read_text() == text
  assert transfer.transfer(str(run), _NETWORKS, sets) == text
  assert trained == sets * 2
  assert (run / 'transfer.json').read_bytes() == record
  found = transfer.evaluate_networks(
    str(run), transfer.parse_networks(_NETWORKS), sets=sets
  )
  own = json.loads((run / 'evaluations.json').read_text())
  assert found['random']['own'] == own['random']
  entry = found['condensed']['mlp:width=8']
  assert entry.keys() == own['condensed'].keys()
  assert entry['network'] == 'mlp'
  assert f'| mlp:width=8 | {cells.accuracy(entry)} |' in text
  last, best = text.split('## Best')
  assert last.count('| resnet8:') == best.count('| resnet8:') == 1


def test_the_whole_set_is_that_of_the_fair_scores(run, trained):
  networks = {'own': {'name': 'own'}}
  found = transfer.evaluate_networks(
    str(run), networks, sets=('whole',), whole_epochs=1
  )
  entry = found['whole']['own']
  assert (entry['images'], entry['epochs']) == (1433, 1)
  again = transfer.evaluate_networks(
    str(run), networks, sets=('whole',), whole_epochs=1
  )
  assert again == found
  assert trained == ['whole']
  opened = cells.FinishedRun(run)
  programs = fair._programs(opened, 1, None)
  same = programs('whole').run(
    'whole', opened.images('whole'), opened.keys['evaluate']
  )
  assert _untimed(same) == _untimed(entry)
  with pytest.raises(ValueError, match='whole_epochs 0: must be at least 1'):
    transfer.evaluate_networks(
      str(run), networks, sets=('whole',), whole_epochs=0
    )


def test_a_window_is_not_the_whole_set(run):
  dataset = cells.FinishedRun(run).parts.dataset
  # Anything but None: the set goes on where its images end.
  windowed = dataclasses.replace(dataset)
  object.__setattr__(windowed, 'stream', 'windows')
  with pytest.raises(ValueError, match='only a window of digits is in memory'):
    whole_set.images(windowed)


def _epochs(arguments, word, recipe='idc', **changes):
  config = runner.config(arguments, recipe, **changes)
  (spec,) = transfer.parse_networks([word]).values()
  return transfer.published_epochs(config, spec)


@pytest.mark.parametrize(
  ('arguments', 'word', 'epochs'),
  [
    ('cifar10,ipc=50,factor=2', 'densenet121:norm=batch', 400),
    ('cifar10,ipc=50,factor=2', 'resnet10:norm=batch', 1000),
    ('cifar10,ipc=10,factor=2', 'densenet121', 1000),
    ('cifar10,ipc=50,factor=1', 'densenet121', 1000),
    ('cifar10,ipc=50,factor=2,schedule=short', 'densenet121', 300),
  ],
)
def test_densenet_trains_less_on_many_images(arguments, word, epochs):
  assert _epochs(arguments, word) == epochs


@pytest.mark.parametrize(
  ('arguments', 'word', 'epochs'),
  [
    ('cifar10', 'convnet:norm=batch', 1000),
    ('cifar10', 'vgg11:norm=batch', 300),
    ('cifar10,network=convnet:norm=batch', 'mlp', 300),
    ('cifar10,network=convnet:norm=batch', 'convnet:norm=batch', 1000),
    ('mnist', 'convnet:norm=batch', 1000),
    ('mnist', 'mlp', 1000),
  ],
)
def test_dc_trains_longer_where_it_augments(arguments, word, epochs):
  assert _epochs(arguments, word, 'dc') == epochs
  assert _epochs(arguments, word, 'dc', evaluation__epochs=7) == 7


def test_each_network_has_its_own_augmentation(run):
  opened = cells.FinishedRun(run, epochs=300)
  opened.config.evaluation.protocol = 'dc'
  opened.config.evaluation.family = 'dc'
  chosen = transfer.parse_networks(['own', 'convnet:norm=batch', 'mlp'])
  tests = list(transfer._tests(opened, chosen, None, None).values())
  found = [
    (parts.strategies['evaluate'], parts.protocol.epochs)
    for parts in (test.parts(whole=False) for test in tests)
  ]
  # DC makes one pass more than it is told.
  assert found == [('none', 301), ('crop_noise', 1001), ('none', 301)]
  assert tests[1].parts(whole=False).config.network.norm == 'batch'
  assert '1000 epochs, convnet' in tests[1].cell('random')
  told = transfer._tests(opened, chosen, 300, None)['convnet:norm=batch']
  assert told.parts(whole=False).protocol.epochs == 301


def test_images_selections_and_keys_are_those_of_the_run(run, trained):
  networks = {'same': json.loads((run / 'config.json').read_text())['network']}
  before = json.loads((run / 'evaluations.json').read_text())
  (run / 'evaluations.json').unlink()
  sets = ('condensed', 'initial', 'random')
  found = transfer.evaluate_networks(str(run), networks, sets=sets)
  assert trained == list(sets)
  for name in sets:
    assert _untimed(found[name]['same']) == _untimed(before[name])


def test_a_stopped_command_goes_on(run, monkeypatch):
  stop, trained = workdir.Stop(), []

  def pretend(self, name, *rest):
    trained.append(name)
    stop.asked = True
    return {'epochs': self._parts.protocol.epochs}

  monkeypatch.setattr(evaluations.Evaluations, 'run', pretend)
  chosen = transfer.parse_networks(['mlp:width=8'])
  both = ('condensed', 'random')

  def evaluate(sets=both, stop=None, **options):
    found = transfer.evaluate_networks(
      str(run), chosen, sets=sets, stop=stop, **options
    )
    return [found[name]['mlp:width=8']['epochs'] for name in sets]

  with pytest.raises(workdir.Interrupted, match='goes on from here'):
    evaluate(stop=stop)
  assert trained == ['condensed']
  assert evaluate() == [4, 4]
  assert trained == ['condensed', 'random']
  # A measurement under other settings is another one.
  assert evaluate(['random'], epochs=3) == [3]
  assert evaluate(['random'], seeds=1) == [4]
  assert len(trained) == 4


def test_nothing_is_trained_if_a_network_does_not_fit(run, trained):
  chosen = transfer.parse_networks(['mlp:width=8', 'vgg11'])
  with pytest.raises(ValueError, match='8x8: too small for vgg11'):
    transfer.evaluate_networks(str(run), chosen)
  assert not trained


def test_folders_and_records_that_cannot_be_used(run, tmp_path):
  chosen = transfer.parse_networks(['own'])

  def evaluate(folder=run, **options):
    transfer.evaluate_networks(str(folder), chosen, **options)

  with pytest.raises(FileNotFoundError, match=r'config\.json: is not there'):
    evaluate(tmp_path / 'none')
  with pytest.raises(
    ValueError, match=r"sets 'best': must be one of .*'random'"
  ):
    evaluate(sets=('best',))
  with pytest.raises(ValueError, match='seeds 0: must be at least 1'):
    evaluate(seeds=0)
  record = {'artefact': 'of another set', 'cells': {}}
  (run / 'transfer.json').write_text(json.dumps(record))
  with pytest.raises(ValueError, match='another condensed set; delete it'):
    evaluate()
  (run / 'transfer.json').write_text('[1]')
  with pytest.raises(ValueError, match='holds no measurements'):
    evaluate()
  (run / 'config.json').write_text('{"evaluation"')
  with pytest.raises(ValueError, match=r'config\.json: is damaged'):
    evaluate()


def test_the_command_says_what_is_wrong_in_one_sentence(run):
  for script, option, message in (
    ('transfer.py', '--networks=vgg', "error: network 'vgg': must be one"),
    ('fair.py', '--label_weight=2', 'error: label_weight 2.0: must be in'),
  ):
    done = subprocess.run(
      [sys.executable, runner.EXPERIMENTS / script, f'--run={run}', option],
      capture_output=True,
      text=True,
      timeout=300,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(message), done.stderr


def test_fair_scores_of_a_run(run, trained):
  text = fair.fair(str(run), whole_epochs=1)
  assert trained == ['condensed_plain', 'random_plain', 'whole']
  record = json.loads((run / 'fair.json').read_text())
  measured = {cell.split(',')[0]: e for cell, e in record['cells'].items()}
  last = {n: np.array(e['per_seed_last']) for n, e in measured.items()}
  assert measured['whole']['images'] == 1433
  assert measured['whole']['epochs'] == 1
  gain = last['condensed'] - last['random']
  plain = last['condensed_plain'] - last['random_plain']
  loss = last['whole'] - last['condensed']
  expected = {
    'HLR': loss,
    'IOR': gain,
    'LRS': fairness.label_robust_score(gain, loss),
    'ARS': fairness.augmentation_robust_score(gain, plain),
  }
  for name, values in expected.items():
    score = record['scores'][name]
    np.testing.assert_allclose(score['mean'], values.mean())
    np.testing.assert_allclose(score['std'], values.std(ddof=1), atol=1e-12)
  assert (run / 'fair.md').read_text() == text
  assert '| HLR | IOR | LRS | ARS | images, bytes | labels, bytes |' in text
  assert '| 2,560 | 0 |' in text  # 10 images of 64 numbers, 4 bytes each
  assert 'Labels differ' not in text
  assert fair.fair(str(run), whole_epochs=1) == text
  assert len(trained) == 3


def test_soft_labels_against_hard_ones_are_pointed_out():
  regimes = {'condensed': 'one soft label per image', 'random': 'hard'}
  found = {name: {'label_regime': regimes[name]} for name in regimes}
  note = fair._labels_note(found)
  assert 'condensed set, one soft label per image; random selection, hard' in (
    note
  )


def test_sets_without_augmentation_are_trained_without(run):
  opened = cells.FinishedRun(run)
  programs = fair._programs(opened, 1, None)
  plain = programs('plain')._parts
  assert plain.strategies['evaluate'] == 'none'
  assert plain.strategies['cutmix_probability'] == 0
  assert opened.parts.strategies['evaluate'] != 'none'


def test_soft_labels_are_compared_as_hard_ones_too():
  scores = fair.scores(
    {
      name: {'per_seed_last': [value]}
      for name, value in (
        ('whole', 1.0),
        ('condensed', 0.75),
        ('condensed_hard', 0.5),
        ('random', 0.25),
        ('condensed_plain', 0.5),
        ('random_plain', 0.5),
      )
    },
    label_weight=1.0,
    augmentation_weight=0.0,
  )
  assert scores['HLR'] == {'mean': 0.5, 'std': 0.0}
  assert scores['IOR'] == {'mean': 0.5, 'std': 0.0}
  half, zero = fairness.label_robust_score([0.5, 0.0], [0, 0], weight=1.0)
  np.testing.assert_allclose(scores['LRS']['mean'], half)
  np.testing.assert_allclose(scores['ARS']['mean'], zero)


@pytest.mark.parametrize(
  ('option', 'message'),
  [
    ({'whole_epochs': 0}, 'whole_epochs 0: must be at least 1'),
    ({'augmentation_weight': -1.0}, 'augmentation_weight -1.0: must be in'),
    ({'epochs': 0}, 'epochs 0: must be at least 1'),
  ],
)
def test_bad_options_of_the_fair_scores(run, option, message):
  with pytest.raises(ValueError, match=message):
    fair.fair(str(run), **option)


def test_whole_set_gets_as_many_updates_but_not_too_few_passes(run):
  opened = cells.FinishedRun(run, epochs=1000)
  # 40 images: one update a pass; the whole set makes 23 of 64 images each.
  assert opened.default_whole_epochs() == round(1000 / 23)
  for epochs, expected in ((100, 20), (4, 4)):
    found = whole_set.default_epochs(40, 1433, epochs=epochs, batch_size=64)
    assert found == expected
