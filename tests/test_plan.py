"""The estimate before a run, and the progress during it."""

import sys
import time

import jax
import pytest
import runner

plan = runner.module('plan')
progress = runner.module('progress')


@pytest.fixture(scope='module')
def parts():
  config = runner.config(
    data__options__size=8,
    evaluation__at=(),
    evaluation__baselines=(),
    evaluation__herding_steps=100,
  )
  return runner.module('builder').build(config)


def _changed(parts, **changes):
  config = parts.config.copy_and_resolve_references()
  config.update_from_flattened_dict(
    {name.replace('__', '.'): value for name, value in changes.items()}
  )
  return parts._replace(config=config)


def _more(parts, **changes):
  """Images that a change adds to the run."""
  before = plan.images_processed(parts)
  return plan.images_processed(_changed(parts, **changes)) - before


def test_early_batches_count_once_in_each_outer_iteration(parts):
  # Two outer iterations, batches of eight.
  assert _more(parts, inner__early_batches=5) == 2 * 5 * 8


def test_selections_count_their_network_and_embeddings(parts):
  evaluated = _more(parts, evaluation__baselines=('random',))
  assert evaluated == 10 * 4 * 2  # classes, epochs, networks
  real = len(parts.dataset.labels)
  for name, selected in (
    ('herding', 100 * 64 + real / 3),
    ('k_means', 100 * 64 + real / 3),
    ('forgetting', 100 * 64),
  ):
    more = _more(parts, evaluation__baselines=(name,))
    assert more == pytest.approx(evaluated + selected)
  short = _changed(parts, evaluation__herding_steps=1)
  more = _more(short, evaluation__baselines=('forgetting',))
  assert more == evaluated + 2 * real


@pytest.mark.parametrize('counted', [None, {}, {'flops': -1.0}])
def test_platforms_that_count_no_operations(parts, monkeypatch, counted):
  monkeypatch.setattr(jax.stages.Lowered, 'cost_analysis', lambda self: counted)
  seconds, memory = plan.estimate(parts)
  assert seconds is None
  assert memory > 0
  text = plan.describe(parts, 'folder')
  assert 'unknown time on' in text


def test_described_time_is_counted_here(parts):
  seconds, _ = plan.estimate(parts)
  assert seconds > 0
  assert 'unknown' not in plan.describe(parts, 'folder')


@pytest.mark.parametrize('terminal', [True, False])
def test_what_is_done_aside_does_not_slow_the_rate(
  monkeypatch, capsys, terminal
):
  monkeypatch.setattr(sys.stdout, 'isatty', lambda: terminal)
  shown = progress.Progress('work', 10)
  bar, clock = shown._bar, time.monotonic
  assert bar.disable is not terminal
  before = bar.start_t if terminal else shown._start
  with shown.aside():
    monkeypatch.setattr(progress.time, 'monotonic', lambda: clock() + 100)
  after = bar.start_t if terminal else shown._start
  assert 100 <= after - before < 101
  if terminal:
    assert bar.last_print_t >= before + 100
  shown.close()
