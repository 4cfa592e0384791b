"""Memory, utilisation and profiles of a run."""

import runner


def test_memory_is_that_of_this_process():
  watch = runner.module('watch')
  assert 50e6 < watch.memory_bytes() < 64e9


def test_utilisation_falls_with_time():
  builder, watch = runner.module('builder'), runner.module('watch')
  parts = builder.build(runner.config(data__options__size=8))
  fast, slow = watch.utilisation(parts, 1.0), watch.utilisation(parts, 2.0)
  plan = runner.module('plan')
  counted = plan.outer_operations(parts)
  assert counted > 1e5
  assert 0 <= slow <= fast < 1


def test_a_trace_is_written_only_on_request(tmp_path):
  watch = runner.module('watch')
  with watch.trace(tmp_path / 'none', False):
    pass
  assert not (tmp_path / 'none').exists()
  with watch.trace(tmp_path / 'profile', True):
    pass
  assert any((tmp_path / 'profile').rglob('*.pb'))


def test_every_record_has_rate_memory_and_utilisation(tmp_path):
  runner.run(
    tmp_path / 'run',
    data__options__size=8,
    evaluation__at=(),
    evaluation__baselines=(),
    evaluation__seeds=1,
    evaluation__epochs=1,
  )
  workdir = runner.module('workdir')
  lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
  assert len(lines) == 2
  for line in lines:
    record = workdir._record(line)
    assert record['steps_per_second'] > 0
    assert record['memory_bytes'] > 50e6
    assert 0 <= record['utilisation'] < 1


def test_the_whole_run_is_estimated_from_what_was_measured():
  builder, plan = runner.module('builder'), runner.module('plan')
  config = runner.config(data__options__size=8, schedule__outer=11)
  parts = builder.build(config)
  # Ten of eleven are left, six seconds each.
  assert 'measured: 1 min 00 s of condensation' in plan.whole_run(parts, 6.0, 1)
