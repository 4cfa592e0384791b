"""Further test networks, the whole set and fair scores of a run."""

import dataclasses

import numpy as np
import pytest
import runner

from dcjax import networks
from dcjax.runs import _artefact, _evaluate, _pipelines, _sets, _wanted
from dcjax.runs._labels import HARD

_SMALL = 'digits:size=8,smoke'


def _asked(recipe='idc', arguments=_SMALL, **changes):
  """The evaluations of a config by name."""
  made = runner.resolved(arguments, recipe, **changes)
  return {wanted.name: wanted for wanted in _wanted.wanted(made.config)}


def test_the_condensed_set_and_random_images_train_every_network():
  words = ('mlp:width=8', 'lenet')
  found = _asked(evaluation__networks=words)
  assert list(found)[:2] == ['condensed', 'initial']
  more = {name: w for name, w in found.items() if w.word}
  assert list(more) == [
    f'{name}, {word}' for word in words for name in ('condensed', 'random')
  ]
  assert all(w.images == w.name.partition(',')[0] for w in more.values())
  alone = _asked(evaluation__networks=words, evaluation__baselines=())
  assert list(alone) == ['condensed', *(f'condensed, {w}' for w in words)]


def test_a_word_between_plus_signs_is_a_list():
  config = runner.config(_SMALL, evaluation__networks='mlp:width=8+lenet')
  assert config.evaluation.networks == ('mlp:width=8', 'lenet')


@pytest.mark.parametrize(
  ('word', 'message'),
  [
    ('vgg', "'vgg'.* must be one of .*'convnet'.*'vgg11'"),
    ('mlp:norm=batch', r"'mlp' has no option 'norm': it takes \['depth'"),
    ('mlp:width=wide', 'width=wide must be int'),
    ('resnet:global_pooling=perhaps', 'global_pooling=perhaps must be bool'),
    ('mlp:width', "'mlp:width': .*must be one of|'width' must be option=value"),
    ('vgg11', '8x8: too small for vgg11'),
  ],
)
def test_bad_networks_are_named_before_anything_is_trained(
  word, message, tmp_path
):
  with pytest.raises(ValueError, match=f'evaluation.networks.*({message})'):
    runner.run(tmp_path / 'run', _SMALL, evaluation__networks=(word,))
  assert not (tmp_path / 'run' / 'stages.json').exists()


def _epochs(arguments, word, recipe='idc', **changes):
  made = runner.resolved(arguments, recipe, **changes)
  return _wanted.published_epochs(made.config, networks.complete('', word))


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


def test_each_network_has_its_own_augmentation_and_epochs():
  words = ('convnet:norm=batch', 'mlp')
  built = runner.built(
    'digits:size=8,smoke',
    'dc',
    evaluation__networks=words,
    evaluation__epochs=300,
  )
  found = []
  for word in ('', *words):
    own = built if not word else _evaluate._with_network(built, word)
    asked = _wanted.Wanted('condensed', 'condensed', word)
    epochs = _wanted.protocol(built, asked).epochs
    found.append((own.strategies['evaluate'], epochs))
  # DC makes one pass more than it is told.
  assert found == [('none', 301), ('crop_noise', 1001), ('none', 301)]


def test_evaluations_under_other_settings_are_others():
  def key(**changes):
    built = runner.built(_SMALL, evaluation__baselines=(), **changes)
    shared = _evaluate.evaluations(built, None)
    (stage,) = (
      _evaluate.stage(shared, w)
      for w in _wanted.wanted(built.config)
      if w.name == 'condensed'
    )
    return stage.settings

  usual = key()
  assert key(evaluation__networks=('mlp',)) == usual
  assert key(evaluation__fair=True) == usual
  for changes in (
    {'evaluation__epochs': 3},
    {'evaluation__seeds': 1},
    {'augment__evaluate': 'none'},
    {'augment__mix': 'mixup'},
  ):
    assert key(**changes) != usual


# The whole set.


def test_a_window_is_not_the_whole_set():
  dataset = runner.built(_SMALL).dataset
  batch = _sets.whole(dataset)
  assert batch.images.shape == (1, 1433, 8, 8, 1)
  assert 0 <= batch.images.min() <= batch.images.max() == 1
  np.testing.assert_array_equal(batch.labels[0].argmax(-1), dataset.labels)
  # Anything but None: the set goes on where its images end.
  windowed = dataclasses.replace(dataset)
  object.__setattr__(windowed, 'stream', 'windows')
  with pytest.raises(ValueError, match='only a window of digits is in memory'):
    _sets.whole(windowed)


def test_whole_set_gets_as_many_updates_but_not_too_few_passes():
  built = runner.built(_SMALL, factor=2, evaluation__epochs=1000)
  whole = _wanted.Wanted('whole', 'whole', hard=True)
  # 40 images: one update a pass; the whole set makes 23 of 64 images each.
  assert _wanted.protocol(built, whole).epochs == round(1000 / 23)
  for epochs, expected in ((100, 20), (4, 4)):
    found = _wanted.default_epochs(40, 1433, epochs=epochs, batch_size=64)
    assert found == expected
  told = runner.built(_SMALL, evaluation__whole_epochs=3)
  assert _wanted.protocol(told, whole).epochs == 3


# Fair scores.


def test_baselines_may_have_as_many_updates_as_the_condensed_set():
  built = runner.built(
    'digits:size=8,smoke,ipc=20,factor=2',
    evaluation__baselines=('random', 'random_updates'),
    evaluation__batch_size=64,
  )
  asked = {w.name: w for w in _wanted.wanted(built.config)}

  def updates(name):
    count = _wanted.expected_images(built, asked[name])
    return _wanted.protocol(built, asked[name]).epochs * -(-count // 64)

  assert asked['random_updates'].images == 'random'
  assert _wanted.expected_images(built, asked['random_updates']) == 200
  assert updates('condensed') > 3 * updates('random')
  assert abs(updates('random_updates') - updates('condensed')) <= 2
  for recipe in ('idc', 'dm', 'mtt'):
    for factor in (1, 2):
      made = runner.resolved(f'cifar10,factor={factor}', recipe).config
      equal = 'random_updates' in made.evaluation.baselines
      assert equal == (factor == 2), recipe


def test_what_condensation_leaves_is_kept_where_nothing_is_projected():
  for project, largest in (('end', 1.0), ('never', 1.5)):
    built = runner.built('digits:size=8,smoke', project=project)
    params = {'images': np.full((10, 1, 8, 8, 1), 1.5, np.float32)}
    made = _artefact.artefact_of(built, params, HARD)
    assert made.params['images'].max() == largest


def test_fair_scores_need_five_sets_and_six_where_labels_are_soft():
  needed = {'condensed', *_wanted.FAIR} - {'condensed_hard'}
  plain = _asked(evaluation__fair=True, evaluation__baselines=())
  assert set(plain) == needed
  soft = ('label_distillation', 'edc', 'given', 'kip')
  for recipe in soft:
    found = _asked(recipe, evaluation__fair=True, evaluation__baselines=())
    assert set(found) == needed | {'condensed_hard'}
    assert found['condensed_hard'].hard and found['whole'].hard
    assert found['random_plain'].plain and not found['random'].plain


def test_sets_without_augmentation_are_trained_without():
  built = runner.built(_SMALL)
  shared = _evaluate.evaluations(built, None)
  (names, stages) = zip(
    *(
      (w.name, _evaluate.stage(shared, w))
      for w in (
        _wanted.Wanted('random', 'random'),
        _wanted.Wanted('random_plain', 'random', plain=True),
      )
    ),
    strict=True,
  )
  assert stages[0].inputs == stages[1].inputs == ('data', 'set/random')
  assert stages[0].settings != stages[1].settings
  assert names == ('random', 'random_plain')


def test_what_the_fair_scores_are_made_of_is_evaluated_before():
  built = runner.built(_SMALL, evaluation__fair=True, evaluation__baselines=())
  shared = _evaluate.evaluations(built, None)
  asked = _wanted.wanted(built.config)
  stages = _pipelines.evaluating(shared, asked)
  assert stages[-1].name == 'fair'
  names = [stage.name for stage in stages]
  assert all(name in names for name in stages[-1].inputs)
  values = dict(whole=1.0, condensed=0.75, random=0.25)
  values |= dict(condensed_plain=0.5, random_plain=0.5)
  entries = [
    {'per_seed_last': [values[name.removeprefix('evaluate/')]]}
    for name in stages[-1].inputs
  ]
  found = stages[-1].make(*entries)
  assert found['HLR'] == {'mean': 0.25, 'std': 0.0}
  assert found['IOR'] == {'mean': 0.5, 'std': 0.0}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'whole_epochs': -1}, 'evaluation.whole_epochs -1: must be at least 0'),
    ({'seeds': 0}, 'evaluation.seeds 0: must be at least 1'),
    ({'epochs': 0}, 'evaluation.epochs 0: must be at least 1'),
    ({'baselines': ('best',)}, "evaluation.baselines 'best': must be one of"),
  ],
)
def test_bad_options_of_evaluations(changes, message):
  flat = {f'evaluation__{name}': value for name, value in changes.items()}
  with pytest.raises(ValueError, match=message):
    runner.resolved(_SMALL, **flat)
