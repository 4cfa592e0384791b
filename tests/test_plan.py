"""The estimate before a run, and the progress during it."""

import sys
import time

import jax
import pytest
import runner

from dcjax.runs import _costs, _progress
from dcjax.runs._run import opened


def costs(tmp_path, **changes):
  """Stage -> operations, and what is said of them; nothing is made."""
  arguments = 'digits:size=8,smoke,evaluation.at=(),evaluation.baselines=()'
  chosen = runner.resolved(arguments, **changes)
  with opened(chosen, tmp_path / 'run') as at_work:
    stages, built = at_work.pipeline.stages, at_work.built
    left = _costs.outlook(stages)
    text = _costs.describe(built, stages, left)
    return {s.name: s.work for s in stages if s.work}, text, built


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
  return costs(tmp_path_factory.mktemp('plain'))


def one_image(built):
  return _costs.forward(built.network, built.dataset.image_shape)


def test_condensation_counts_real_and_synthetic_images_and_networks(
  plain, tmp_path
):
  found, _, built = plain
  one = one_image(built)
  # Two outer iterations of two steps: ten classes of eight real and four
  # synthetic images, these three times; then a network's batch of eight.
  images = 2 * 2 * (10 * (8 + 3 * 4) + 8)
  assert found['condense'] == pytest.approx(3 * images * one)
  changes = dict(method__early_batches=5, outer=4)
  more = costs(tmp_path, **changes)[0]['condense']
  assert more == pytest.approx(3 * (2 * images + 4 * 5 * 8) * one)


def test_evaluations_and_selections_count_their_networks(plain, tmp_path):
  found, _, built = plain
  one, real = one_image(built), len(built.dataset.labels)
  tests = len(built.protocol.test_points) * len(built.dataset.test_labels)
  assert found['evaluate/condensed'] == pytest.approx(
    2 * (40 * 4 * 3 + tests) * one
  )
  changes = dict(
    evaluation__baselines=('random', 'herding'), evaluation__herding_steps=100
  )
  more, text, _ = costs(tmp_path, **changes)
  assert more['evaluate/random'] == pytest.approx(
    2 * (10 * 4 * 3 + tests) * one
  )
  selected = [n for n in more if n not in found and 'evaluate/' not in n]
  assert sum(more[n] for n in selected) == pytest.approx(
    (3 * 100 * 64 + real) * one
  )
  assert 'for each of: condensed; random; herding' in text


def test_what_a_run_will_do_is_described(plain):
  _, text, built = plain
  lines = text.splitlines()
  assert lines[0] == ('idc on digits: 10 classes of 139 to 146 images 8x8x1')
  assert 'stores 1 images per class (uniform factor 2), trains on 4' in text
  assert '2 outer x 2 inner iterations = 4 steps, network convnet2w4' in text
  assert 'then 2 networks x 4 epochs for each of: condensed' in text
  assert lines[-1].startswith('  about ')
  assert 'GiB of memory' in lines[-1]
  assert _costs.memory(built) > 0


@pytest.mark.parametrize(
  ('cpus', 'devices', 'said'), [(4, 1, True), (1, 1, False), (4, 2, False)]
)
def test_a_device_that_leaves_cpus_idle_is_said(
  plain, monkeypatch, cpus, devices, said
):
  monkeypatch.setattr(jax, 'device_count', lambda: devices)
  monkeypatch.setattr(_costs, 'count_cpus', lambda: cpus)
  text = '\n'.join(_costs._idle_cores(plain[2]))
  assert (f'--cpu_devices={cpus} shares the classes' in text) is said
  assert bool(text) is said


@pytest.mark.parametrize('terminal', [True, False])
def test_what_is_done_aside_does_not_slow_the_rate(
  monkeypatch, capsys, terminal
):
  monkeypatch.setattr(sys.stdout, 'isatty', lambda: terminal)
  shown = _progress.Progress('work', 10)
  bar, clock = shown._bar, time.monotonic
  assert bar.disable is not terminal
  before = bar.start_t if terminal else shown._start
  with shown.aside():
    monkeypatch.setattr(_progress.time, 'monotonic', lambda: clock() + 100)
  after = bar.start_t if terminal else shown._start
  assert 100 <= after - before < 101
  if terminal:
    assert bar.last_print_t >= before + 100
  shown.close()
