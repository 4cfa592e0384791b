"""`dcjax.condense`: what it asks of a run, and what it refuses."""

import numpy as np
import pytest
import tiny
from test_artefact import make

import dcjax
from dcjax import artefact, runs
from dcjax.runs import _call


@pytest.fixture
def asked(tmp_path, monkeypatch):
  """What the run was asked for; it leaves a condensed set and does nothing."""
  found = {}

  def run(config, workdir, **given):
    found.update(given, settings=runs.resolve(config).plain())
    artefact.save(workdir / 'condensed.npz', make())

  monkeypatch.setattr(_call, 'run', run)
  return found


def test_the_settings_of_a_call_are_those_of_the_command(asked, tmp_path):
  made = dcjax.condense(
    'digits',
    tmp_path,
    method='dm',
    ipc=3,
    network='mlp:width=8',
    seed=4,
    evaluation={'epochs': 5, 'at': ()},
  )
  assert made.params['images'].shape[:2] == (2, 3)
  word = 'dm:digits,ipc=3,schedule=short,network=mlp:width=8,seed=4'
  word += ',evaluation.epochs=5,evaluation.at=()'
  expected = runs.resolve(runs.config_of(word)).plain()
  assert asked == {'settings': expected, 'dataset': None, 'network': None}


def test_arrays_and_networks_are_handed_over(asked, tmp_path):
  images, labels = tiny.images_and_labels((6, 6, 6))
  dcjax.condense((images, labels), tmp_path, network=tiny.LINEAR)
  assert asked['dataset'].num_classes == 3
  assert asked['network'] is tiny.LINEAR
  dcjax.condense(asked['dataset'], tmp_path, smoke=True)
  assert asked['settings']['smoke']


@pytest.mark.parametrize(
  ('source', 'options', 'message'),
  [
    ('digits', {'method': 'idd'}, "^config 'idd'"),
    ('digits', {'ipd': 3}, "config field 'ipd'"),
    ('digits', {'ipc': 0}, '^ipc 0: '),
    (np.zeros([3, 2]), {}, '^source is ndarray; '),
    ((1, 2, 3), {}, '^source is tuple; '),
  ],
)
def test_what_is_wrong_is_named(tmp_path, source, options, message):
  with pytest.raises(ValueError, match=message):
    dcjax.condense(source, tmp_path, **options)
  assert not list(tmp_path.iterdir())


def test_names_are_there_when_they_are_asked_for():
  assert dcjax.runs is runs and dcjax.condense is runs.condense
  with pytest.raises(AttributeError, match='nothing'):
    _ = dcjax.nothing


def test_data_sets_and_networks_are_one_line():
  images, labels = tiny.images_and_labels((6, 6, 6))
  dataset = dcjax.data.from_arrays(images, labels, name='rows')
  assert repr(dataset) == (
    '<Dataset rows: 3 classes, 15 training and 3 test images '
    f'{"x".join(map(str, tiny.SHAPE))} float32>'
  )
  assert repr(tiny.LINEAR) == '<Network linear>'
