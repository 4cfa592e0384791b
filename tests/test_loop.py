"""The resumable loop, on pieces that only count; nothing is compiled."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runner

from dcjax.runs import Interrupted, _writers
from dcjax.runs._checkpoint import CheckpointError
from dcjax.runs._folder import Folder
from dcjax.runs._loop import Task, loop
from dcjax.runs._outlook import Outlook
from dcjax.runs._stage import Work


class Killed(BaseException):
  """Stands for the end of the process: nothing in the runner catches it."""


@pytest.fixture
def work(tmp_path):
  """A folder of a run that is at work."""
  folder = Folder(tmp_path / 'run', {'seed': 0})
  with folder.owned() as stop:
    yield Work(folder, stop, Outlook())


def task(total=5, at=None, done=lambda number: None, **options):
  """Adds the number of the piece to the state.

  Args:
    total: pieces.
    at: piece -> loss, in place of 1.
    done: called with the number of the piece that is under way.
    **options: of the task.
  """
  losses = dict(at or {})

  def prepare(state, number):
    del state

    def piece(state):
      done(number)
      value = np.asarray(state['sum']) + number
      loss = np.asarray(losses.get(number, [1.0]), np.float32)
      return {'sum': jnp.asarray(value)}, {'loss': jnp.asarray(loss)}

    return piece

  like = {'sum': jax.ShapeDtypeStruct((2,), jnp.float32)}
  made = Task(
    'counting/a b',
    'counting',
    'outer',
    total,
    lambda done: like,
    lambda: {'sum': jnp.zeros(2)},
    prepare,
    lambda number, metrics, seconds, took: {
      'outer': number + 1,
      'loss': float(np.mean(metrics['loss'])),
      'seconds': seconds,
    },
    numbers=lambda state: state,
  )
  return made._replace(**options)


def outers(work):
  return [record['outer'] for record in runner.metrics(work.folder.path)]


def saved(work):
  folder = work.folder.path / 'checkpoints' / 'counting-a-b'
  return sorted(int(f.name) for f in folder.iterdir() if f.name.isdigit())


def kill(number):
  """Ends the process in a piece."""

  def done(at):
    if at == number:
      raise Killed

  return done


def test_all_pieces_are_made_once(work, capsys):
  state, seconds = loop(work, task(), 'key')
  np.testing.assert_array_equal(state['sum'], [10, 10])
  assert outers(work) == [1, 2, 3, 4, 5]
  assert saved(work) == [5]
  assert 'counting: 5/5 outer' in capsys.readouterr().out
  again, before = loop(work, task(done=kill(4)), 'key')
  np.testing.assert_array_equal(again['sum'], state['sum'])
  assert before == seconds
  assert outers(work) == [1, 2, 3, 4, 5]
  assert 'resuming counting after 5 of 5' in capsys.readouterr().out


def test_a_stop_is_saved_and_gone_on_from(work):
  def stop(number):
    work.stop.asked = number == 1

  message = 'stopped counting after outer 2 of 5; everything is saved'
  with pytest.raises(Interrupted, match=message):
    loop(work, task(done=stop), 'key')
  assert (saved(work), outers(work)) == ([2], [1, 2])
  work.stop.asked = False
  state, _ = loop(work, task(), 'key')
  np.testing.assert_array_equal(state['sum'], [10, 10])
  assert outers(work) == [1, 2, 3, 4, 5]
  # The last piece asks nobody to come back.
  stop = lambda number: setattr(work.stop, 'asked', True)  # noqa: E731
  other = task(total=1, done=stop, stage='other')
  np.testing.assert_array_equal(loop(work, other, 'key')[0]['sum'], [0, 0])


def test_a_killed_process_makes_again_what_no_checkpoint_holds(work):
  followed = []
  after = {2: lambda state, seconds: followed.append(float(state['sum'][0]))}
  with pytest.raises(Killed):
    loop(work, task(done=kill(4), after=after), 'key')
  assert (saved(work), outers(work)) == ([2], [1, 2, 3, 4])
  # The kill may have come before what was to follow: it follows again.
  state, _ = loop(work, task(after=after), 'key')
  np.testing.assert_array_equal(state['sum'], [10, 10])
  assert outers(work) == [1, 2, 3, 4, 5]
  assert followed == [1.0, 1.0]


def test_what_follows_the_last_piece_is_not_done_in_the_loop(work):
  followed = []
  after = {n: lambda *_, n=n: followed.append(n) for n in (1, 3, 5)}
  loop(work, task(after=after), 'key')
  assert followed == [1, 3]


def test_a_checkpoint_is_due_after_a_while(tmp_path):
  class Slow(Folder):
    def seconds_since_save(self):
      return 21.0

  folder = Slow(tmp_path / 'slow', {})
  with folder.owned() as stop:
    work = Work(folder, stop, Outlook())
    with pytest.raises(Killed):
      loop(work, task(done=kill(3)), 'key')
    assert saved(work) == [2, 3]  # two are kept


def test_a_checkpoint_of_something_else_is_refused(work):
  with pytest.raises(Killed):
    loop(work, task(done=kill(3), after={2: lambda *_: None}), 'key')
  message = "the state of 'counting/a b' was made from other settings or data"
  with pytest.raises(CheckpointError, match=message) as caught:
    loop(work, task(), 'other')
  assert '\n' not in str(caught.value)
  assert saved(work) == [2]


def test_a_damaged_checkpoint_is_named_and_the_one_before_works(work):
  after = {2: lambda *_: None, 4: lambda *_: None}
  with pytest.raises(Killed):
    loop(work, task(done=kill(4), after=after), 'key')
  newest = work.folder.path / 'checkpoints' / 'counting-a-b' / '4'
  for file in newest.rglob('*'):
    if file.is_file():
      file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  with pytest.raises(ValueError, match=r'; delete that folder to go') as caught:
    loop(work, task(), 'key')
  assert str(newest) in str(caught.value)
  assert '\n' not in str(caught.value)
  for file in sorted(newest.rglob('*'), reverse=True):
    file.unlink() if file.is_file() else file.rmdir()
  newest.rmdir()
  state, _ = loop(work, task(after=after), 'key')
  np.testing.assert_array_equal(state['sum'], [10, 10])
  assert outers(work) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize('loss', [np.inf, np.nan])
def test_a_loss_that_is_not_finite_is_named(work, loss):
  broken = task(at={1: [1.0, loss]}, advice='use less')
  message = (
    r'^counting diverged: the loss is not finite \(step 2 of it\) at outer 2; '
    'use less; nothing of this outer was saved$'
  )
  with pytest.raises(ValueError, match=message):
    loop(work, broken, 'key')
  assert outers(work) == [1]
  assert saved(work) == []
  with pytest.raises(Killed):
    loop(work, task(done=kill(1), after={1: lambda *_: None}), 'key')
  with pytest.raises(ValueError, match=r'saved; use another --workdir$'):
    loop(work, broken, 'key')
  assert saved(work) == [1]


def test_stored_numbers_that_are_not_finite_are_named(work):
  begin = lambda: {'sum': jnp.array([0.0, np.nan])}  # noqa: E731
  with pytest.raises(ValueError, match='the numbers are not finite at outer 1'):
    loop(work, task(begin=begin), 'key')
  assert saved(work) == []
  # What a task does not name may be anything.
  other = task(begin=begin, numbers=lambda state: state['sum'][:1])
  assert np.isnan(loop(work, other, 'key')[0]['sum'][1])


def test_numbers_far_beyond_what_trains_are_named(work):
  begin = lambda: {'sum': jnp.array([0.0, -1e12])}  # noqa: E731
  with pytest.raises(
    ValueError, match=r'diverged: the numbers reach 1e\+12 at'
  ):
    loop(work, task(begin=begin), 'key')
  assert saved(work) == []


def test_numbers_that_make_no_sense_are_named(work):
  problem = lambda state: 'sum above 2' if state['sum'][0] > 2 else None  # noqa: E731
  with pytest.raises(ValueError, match='diverged: sum above 2 at outer 3; try'):
    loop(work, task(problem=problem), 'key')
  assert saved(work) == []


def test_a_warning_is_said_when_it_is_new(work, capsys):
  high = {0: [9.0], 1: [9.0], 3: [9.0]}
  warn = lambda metrics: 'high' if metrics['loss'][0] > 5 else None  # noqa: E731
  loop(work, task(at=high, warn=warn), 'key')
  said = capsys.readouterr().out.splitlines()
  assert [line for line in said if 'warning' in line] == [
    'warning: outer 1: high',
    'warning: outer 4: high',
  ]


def test_a_loop_without_records_leaves_those_of_others(work):
  work.folder.append_metrics({'outer': 3})
  loop(work, task(record=None), 'key')
  assert outers(work) == [3]


def test_a_profile_of_the_second_piece_is_written_on_request(work):
  profile = work.folder.path / 'profile'
  loop(work, task(total=2), 'key')
  assert not profile.exists()
  traced = []

  def done(number):
    traced.append(any(profile.rglob('*')))

  at_work = work._replace(profile=True)
  loop(at_work, task(total=3, stage='other', done=done), 'key')
  assert traced[:2] == [False, False]
  assert traced[2]
  assert any(profile.rglob('*.pb'))


def test_what_is_left_is_measured(work):
  left = Outlook({'counting/a b': 100.0})
  with pytest.raises(Killed):
    loop(work._replace(outlook=left), task(done=kill(4)), 'key')
  assert left.total() is not None
  assert left.seconds()['counting'] < 1.0


# Packages that write down what they are told.
_TOLD = """
TOLD = []
class SummaryWriter:
  def __init__(self, place, purge_step):
    TOLD.append(('opened', purge_step))
  def add_scalar(self, name, number, step):
    TOLD.append((step, name, number))
  def add_image(self, name, array, step, dataformats):
    TOLD.append((step, name, array.shape, dataformats))
  def flush(self):
    pass
  def close(self):
    TOLD.append('closed')
class Image:
  def __init__(self, array):
    self.array = array
def init(**options):
  TOLD.append((options['id'], options['resume'], options['config']))
  return __import__('types').SimpleNamespace(
    log=lambda numbers, step: TOLD.append((step, sorted(numbers))),
    finish=lambda: TOLD.append('closed'),
  )
"""


def test_numbers_go_where_they_are_watched(work, tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(str(tmp_path))
  for name in ('tensorboardX', 'wandb'):
    (tmp_path / f'{name}.py').write_text(_TOLD)
  names = ('tensorboard', 'wandb')
  _writers.check(names)
  writer = _writers.opened(names, work.folder.path, {'seed': 0})
  watched = work._replace(writer=writer)
  loop(watched, task(4), 'key')
  writer.scalars(None, {'accuracy': 0.5, 'network': 'mlp', 'right': True})
  writer.picture(None, 'condensed', np.zeros([4, 6, 1], np.uint8))
  writer.close()
  board, wandb = (
    importlib.import_module(n).TOLD for n in ('tensorboardX', 'wandb')
  )
  assert board[0] == ('opened', 1)
  losses = [told[0] for told in board if told[1] == 'loss']
  assert losses == [1, 2, 3, 4] == [r['outer'] for r in work.folder.metrics()]
  assert board[-3:] == [
    (4, 'accuracy', 0.5),
    (4, 'condensed', (4, 6, 1), 'HWC'),
    'closed',
  ]
  assert wandb[0][1:] == ('allow', {'seed': 0})
  assert wandb[-3:] == [(4, ['accuracy']), (4, ['condensed']), 'closed']
  assert _writers.opened((), work.folder.path, {}) is _writers.SILENT


def test_what_cannot_watch_is_refused_before_anything_is_computed(monkeypatch):
  with pytest.raises(ValueError, match=r"^watch 'clu'"):
    _writers.check(['clu'])
  monkeypatch.setattr(_writers.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ImportError, match=r'dcjax\[tensorboard\]'):
    _writers.check(['tensorboard'])
