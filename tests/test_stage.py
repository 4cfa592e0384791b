"""Stages: keys, what is found again, what is refused; nothing is compiled."""

import json

import numpy as np
import pytest

from dcjax import trees
from dcjax.runs import Interrupted
from dcjax.runs._folder import Folder
from dcjax.runs._outlook import Outlook
from dcjax.runs._stage import (
  MEMORY,
  RECORD,
  Stage,
  Work,
  key_of,
  missing,
  run,
  tree,
)


@pytest.fixture
def work(tmp_path):
  """A folder of a run that is at work."""
  folder = Folder(tmp_path / 'run', {'seed': 0})
  with folder.owned() as stop:
    yield Work(folder, stop, Outlook())


class Maker:
  """Adds to its inputs, and remembers how often it was asked."""

  def __init__(self, value):
    self.value, self.calls = value, 0

  def __call__(self, *inputs):
    self.calls += 1
    return {'sum': self.value + sum(i['sum'] for i in inputs)}


def chain(*kinds, **options):
  """Stages `s0`, `s1` ..., each of the one before."""
  makers = [Maker(10**i) for i in range(len(kinds))]
  made = [
    Stage(f's{i}', maker, (f's{i - 1}',) * (i > 0), {}, kind, **options)
    for i, (maker, kind) in enumerate(zip(makers, kinds, strict=True))
  ]
  return made, makers


def recorded(work):
  return json.loads((work.folder.path / 'stages.json').read_text())


def one_line(caught):
  text = str(caught.value)
  assert '\n' not in text
  return text


def test_finished_stages_are_found_again(work):
  stages, makers = chain(RECORD, RECORD, RECORD)
  assert [s.name for s in missing(stages, work)] == ['s0', 's1', 's2']
  assert run(stages, work)('s2') == {'sum': 111}
  assert missing(stages, work) == []
  again = run(stages, work)
  assert again('s2') == {'sum': 111}
  assert [maker.calls for maker in makers] == [1, 1, 1]
  entries = recorded(work)
  assert list(entries) == [f'{n} {again.keys[n][:8]}' for n in again.keys]
  for name, entry in entries.items():
    assert entry.keys() == {'key', 'seconds', 'sha256', 'value'}
    assert entry['key'] == again.keys[name.split()[0]]


def test_the_key_follows_what_decides_the_output():
  stage = Stage('a', Maker(1), (), {'x': 1, 'y': [1, 2]})
  key = key_of(stage, ['k'])
  assert key == key_of(stage._replace(settings={'y': (1, 2), 'x': 1}), ['k'])
  numbers = {'x': np.int64(1), 'y': np.array([1, 2])}
  assert key == key_of(stage._replace(settings=numbers), ['k'])
  assert key == key_of(stage._replace(make=Maker(2), work=3.0), ['k'])
  others = (
    key_of(stage._replace(name='b'), ['k']),
    key_of(stage._replace(settings={'x': 1}), ['k']),
    key_of(stage, ['other']),
    key_of(stage, ['k', 'k']),
  )
  assert len({key, *others}) == 5
  with pytest.raises(TypeError, match='settings of a stage hold'):
    key_of(stage._replace(settings={'x': object()}), [])


def test_other_settings_stand_beside_and_all_that_follows_is_made_again(work):
  stages, makers = chain(RECORD, RECORD, RECORD)
  run(stages, work)
  stages[1] = stages[1]._replace(settings={'x': 1})
  assert [s.name for s in missing(stages, work)] == ['s1', 's2']
  run(stages, work)
  assert [maker.calls for maker in makers] == [1, 2, 2]
  assert sorted(n.split()[0] for n in recorded(work)) == [
    's0', 's1', 's1', 's2', 's2',
  ]  # fmt: skip


def test_a_stage_in_memory_is_made_when_it_is_asked_for_and_once(work):
  stages, makers = chain(RECORD, MEMORY, RECORD)
  made = run(stages, work)
  assert made('s2') == {'sum': 111}
  assert makers[1].calls == 1
  made('s1')
  made('s1')
  assert makers[1].calls == 1
  assert 's1' not in ' '.join(recorded(work))
  assert missing(stages, work) == []
  again = run(stages, work)
  assert makers[1].calls == 1
  assert again('s1') == {'sum': 11}
  assert makers[1].calls == 2
  stages[1] = stages[1]._replace(settings={'x': 1})
  assert [s.name for s in missing(stages, work)] == ['s2']


def arrays(value=1.0):
  return {'a': np.full(3, value, np.float32), 'b': [np.arange(2)]}


def saved(**options):
  """A stage whose output is a file, and what counts its calls."""
  calls = []

  def make():
    calls.append(1)
    return arrays()

  kind = tree(arrays)
  return Stage('net/a, b', make, (), {'x': 1}, kind, **options), calls


def file_of(work):
  (file,) = (work.folder.path / 'stages').iterdir()
  return file


def test_a_tree_is_kept_as_a_file_that_says_what_it_is(work):
  stage, calls = saved()
  made = run([stage], work)
  key = made.keys['net/a, b']
  assert file_of(work).name == f'net-a-b-{key[:8]}.npz'
  note = trees.note(file_of(work))
  assert (note['stage'], note['key']) == ('net/a, b', key)
  found = run([stage], work)('net/a, b')
  assert len(calls) == 1
  np.testing.assert_array_equal(found['b'][0], [0, 1])
  (entry,) = recorded(work).values()
  assert entry.keys() == {'key', 'seconds'}
  file_of(work).unlink()
  assert missing([stage], work) == [stage]
  run([stage], work)
  assert len(calls) == 2


def test_a_file_that_holds_one_output_is_that_of_the_last_settings(work):
  stage, calls = saved()
  stage = stage._replace(name='net', kind=stage.kind._replace(file='net.npz'))
  other = stage._replace(settings={'x': 2})
  for wanted in (stage, stage, other, other, stage):
    run([wanted], work)
    key = key_of(wanted, [])
    assert trees.note(work.folder.path / 'net.npz')['key'] == key
    assert list(recorded(work)) == [f'net {key[:8]}']
  assert len(calls) == 3


def test_a_file_of_another_form_and_a_damaged_one_are_named(work):
  stage, _ = saved()
  run([stage], work)
  file = file_of(work)
  content = bytearray(file.read_bytes())
  trees.save(file, {'z': np.arange(2)})
  with pytest.raises(ValueError, match=r"holds \['z'\].*delete it to") as other:
    run([stage], work)('net/a, b')
  assert str(file) in one_line(other)
  length = content.index(b'\x93NUMPY') + 8  # of the header of an array
  for position in (40, length, len(content) // 2, len(content) - 30):
    damaged = content.copy()
    damaged[position] ^= 4
    file.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=str(file)) as caught:
      run([stage], work)('net/a, b')
    one_line(caught)


def test_runs_find_one_anothers_stages_in_a_store(work, tmp_path):
  stage, calls = saved(shared=True)
  store = tmp_path / 'store'
  run([stage], work._replace(store=store))
  (file,) = store.iterdir()
  assert not (work.folder.path / 'stages').exists()
  other = Folder(tmp_path / 'other', {'seed': 7})
  with other.owned() as stop:
    at_work = Work(other, stop, Outlook(), store)
    assert missing([stage], at_work) == []
    found = run([stage], at_work)('net/a, b')
    np.testing.assert_array_equal(found['a'], np.ones(3))
    assert len(calls) == 1
    run([stage._replace(settings={'x': 2})], at_work)
  assert len(calls) == 2
  assert len(list(store.iterdir())) == 2
  assert file.name.startswith('net-a-b-')


def test_a_sole_stage_of_other_data_is_refused(work):
  data = Stage('data', Maker(1), (), {'digest': 'a'}, RECORD, sole=True)
  after = Stage('start', Maker(2), ('data',), {}, RECORD)
  run([data, after], work)
  assert next(iter(recorded(work))) == 'data'
  before = recorded(work)
  other = data._replace(settings={'digest': 'b'})
  with pytest.raises(ValueError, match="'data' was made from other data") as no:
    run([other, after], work)
  assert 'use another --workdir' in one_line(no)
  assert recorded(work) == before


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('[1]', 'it holds no record'),
    ('{"s0": ', 'damaged'),
    ('{"s0": 1}', r"entry 's0'\); remove the entry to make the stage again"),
    ('{"s0": {}}', r"entry 's0'"),
    ('{"s0": {"key": "k"}}', r"entry 's0'"),
    ('{"s0": {"key": 1, "value": {}}}', r"entry 's0'"),
    ('{"s0": {"key": "k", "value": 1}}', r"entry 's0'"),
    ('{"s0": {"key": "k", "value": {}, "seconds": ""}}', r"entry 's0'"),
    ('{"s0": {"key": "k", "value": {}, "sha256": "0"}}', r"entry 's0'"),
  ],
)
def test_damaged_records_of_stages_are_named(work, content, message):
  (work.folder.path / 'stages.json').write_text(content)
  (stage,), (maker,) = chain(RECORD, sole=True)
  with pytest.raises(ValueError, match=message) as caught:
    run([stage], work)
  assert 'stages.json' in one_line(caught)
  assert maker.calls == 0


def test_a_changed_number_of_a_record_is_damage(work):
  (stage,), _ = chain(RECORD)
  run([stage], work)
  file = work.folder.path / 'stages.json'
  file.write_text(file.read_text().replace('"sum": 1', '"sum": 3'))
  with pytest.raises(ValueError, match=r'stages\.json: is damaged'):
    run([stage], work)


def test_a_stop_between_stages_keeps_what_is_finished(work):
  stages, makers = chain(RECORD, RECORD, RECORD)

  def stopping(*inputs):
    work.stop.asked = True
    return makers[1](*inputs)

  stages[1] = stages[1]._replace(make=stopping)
  with pytest.raises(Interrupted, match='stopped after s1; everything'):
    run(stages, work)
  work.stop.asked = False
  assert run(stages, work)('s2') == {'sum': 111}
  assert [maker.calls for maker in makers] == [1, 1, 1]


def test_a_stage_that_fails_leaves_nothing(work):
  def fail():
    raise ValueError('no')

  stage, _ = saved()
  for kind in (RECORD, stage.kind):
    with pytest.raises(ValueError, match='no'):
      run([stage._replace(make=fail, kind=kind)], work)
  assert [f.name for f in work.folder.path.iterdir()] == [
    '.lock',
    'config.json',
  ]


def test_what_is_done_or_found_is_no_longer_ahead(work):
  stages, _ = chain(RECORD, RECORD)
  for _ in range(2):
    left = Outlook({'s0': 10.0, 's1': 5.0}, 1.0)
    assert left.total() == 15.0
    run(stages, work._replace(outlook=left))
    assert left.total() == 0.0
