"""How long the rest of a run takes."""

import jax
import pytest

from dcjax.runs._outlook import Outlook


def work():
  return {'observers/a': 100.0, 'observers/b': 100.0, 'students/x': 400.0}


def test_speed_is_expected_then_measured_then_that_of_the_kind():
  left = Outlook(work(), speed=10.0)
  assert left.seconds() == {'observers': 20.0, 'students': 40.0}
  left.update('observers/a', 0.5, 0.5, 25.0)  # 2 a second
  assert left.seconds() == {'observers': 75.0, 'students': 200.0}
  left.finish('observers/b')
  left.update('students/x', 0.25, 0.25, 25.0)  # 4 a second
  assert left.seconds() == {'observers': 25.0, 'students': 75.0}
  assert left.total() == 100.0
  assert str(left) == '25 s of observers, 1 min 15 s of students'
  left.update('elsewhere/z', 1.0, 1.0, 1.0)
  left.finish('elsewhere/z')
  assert left.total() == 100.0


def test_a_resumed_part_counts_only_what_was_done_now():
  left = Outlook(work(), speed=None)
  left.update('students/x', 0.75, 0.25, 10.0)  # 100 operations of 300
  assert left.seconds()['students'] == 10.0


def test_nothing_is_known_where_nothing_was_counted():
  left = Outlook(work())
  assert left.total() is None
  kind = jax.devices()[0].device_kind
  assert left.describe() == f'unknown time on {kind}'
  left.update('observers/a', 1.0, 1.0, 10.0)
  assert left.total() == 50.0
  assert left.describe().startswith(f'about 50 s on {kind} (rough; ')
  assert Outlook().total() == 0.0


@pytest.mark.parametrize(('seconds', 'lines'), [(25.0, 1), (0.1, 0)])
def test_it_speaks_when_a_speed_is_new_and_much_is_left(capsys, seconds, lines):
  left = Outlook(work())
  left.update('observers/a', 0.5, 0.5, seconds)
  left.update('observers/a', 1.0, 0.5, seconds)
  left.finish('observers/a')
  said = capsys.readouterr().out.splitlines()
  text = 'measured: about 1 min 15 s of observers, 3 min 20 s of students to go'
  assert said == [text] * lines
