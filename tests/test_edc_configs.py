"""Configs of RDED, SRe2L, CDA, G-VBSM and EDC, and what is wrong with some."""

import itertools

import numpy as np
import pytest
import runner

observers = runner.module('observers')
parts_of = runner.module('statistics_parts')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """Settings of a run on few images of 8x8."""
  data = runner.write_npz(tmp_path_factory.mktemp('edc') / 'data.npz')
  return {
    'ipc': 2,
    'data__name': 'npz',
    'data__options__size': None,
    'data__dir': str(data),
  }


def _build(place, recipe='edc', **changes):
  config = runner.config('digits,smoke', recipe, **{**place, **changes})
  parts = parts_of.build(config)
  observers.plans(config, parts.dataset)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'observers__matching': ('resnt',)},
      r"observers\.matching 'resnt': .*'resnt'.*must be one of",
    ),
    (
      {'observers__labelling': ('convnet:depth=7',)},
      r"observers\.labelling 'convnet:depth=7': depth 7: images of 8x8",
    ),
    ({'observers__matching': ()}, 'must name at least one network'),
    ({'ipc': 30}, 'ipc 30: .* holds 20 images'),
    ({'labels__regime': 'later'}, r"labels\.regime 'later': must be one of"),
    ({'evaluation__baselines': ('best',)}, "baselines 'best'"),
    ({'evaluation__override__optimizer': 'lion'}, "optimizer 'lion'"),
    ({'evaluation__smallest_crop': 0.0}, r'smallest_crop 0\.0'),
    ({'observers__epochs': 0}, r'observers\.epochs 0'),
    (
      {'labels__regime': 'stored', 'evaluation__mix': 'none'},
      "mix 'none': stored labels",
    ),
    ({'method': 'sre2l'}, "method 'sre2l' looks through one network"),
  ],
)
def test_bad_settings_are_heard_of_at_once(place, changes, message):
  with pytest.raises(ValueError, match=message):
    _build(place, **changes)


def test_unfitting_synthesis_and_foreign_programs(place, tmp_path):
  config = runner.config('digits,smoke', 'edc', **place)
  with pytest.raises(ValueError, match=r"'edc': .* only experiments/run\.py"):
    runner.module('builder').build(config)
  with pytest.raises(ValueError, match=r'iterations 3: must be a positive'):
    runner.run(tmp_path / 'x', recipe='edc', **place, synthesis__iterations=3)
  assert not (tmp_path / 'x').exists()
  empty = runner.write_npz(
    tmp_path / 'empty.npz', labels=np.repeat([0, 1, 3], [30, 30, 20])
  )
  with pytest.raises(ValueError, match=r'class|label'):
    _build({**place, 'data__dir': str(empty)})


@pytest.mark.parametrize('recipe', ['rded', 'sre2l', 'cda', 'gvbsm', 'edc'])
def test_papers_settings_are_valid(recipe):
  for like in ('cifar10', 'cifar100', 'tiny_imagenet', 'imagenet1k'):
    arguments = f'image_folder,like={like},ipc=10'
    config = runner.config(arguments, recipe)
    parts_of.check_settings(config)
    if 'synthesis' in config:
      section = config.synthesis
      assert section.iterations % section.image_steps == 0
  short = runner.config('cifar10,schedule=short', recipe)
  parts_of.check_settings(short)
  assert short.network.norm == 'batch'


def test_every_rung_of_the_ladder_adds_one_thing():
  rungs = [
    runner.config(f'cifar10,configuration={name}', 'edc').to_dict()
    for name in 'ABCDEFG'
  ]
  flat = [dict(_flat(rung)) for rung in rungs]
  changed = [
    {n.rpartition('.')[2] for n in new if new[n] != old[n]}
    for old, new in itertools.pairwise(flat)
  ]
  assert changed == [
    {'mode', 'iterations'},
    {'zeta'},
    {'flatness'},
    {'batch_size', 'matching', 'labelling'},
    {'alpha'},
    {'smallest_crop', 'average_rate'},
  ]
  with pytest.raises(ValueError, match="configuration 'H'"):
    runner.config('cifar10,configuration=H', 'edc')


def _flat(section, prefix=''):
  for name, value in section.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value
