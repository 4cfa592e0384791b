"""Memory, utilisation and profiles of a run."""

import jax

from dcjax.runs import _watch


def test_memory_is_that_of_this_process():
  assert 50e6 < _watch.memory_bytes() < 64e9


def test_utilisation_falls_with_time_and_is_unknown_without_a_count():
  fast, slow = _watch.utilisation(1e7, 1.0), _watch.utilisation(1e7, 2.0)
  assert 0 <= slow <= fast < 1
  everything = jax.device_count() * _watch.matmul_speed()
  assert 0.02 < _watch.utilisation(everything, 1.0) < 50
  assert _watch.utilisation(None, 1.0) is None
  assert _watch.utilisation(1e7, 0.0) is None


def test_a_trace_is_written_only_on_request(tmp_path):
  with _watch.trace(tmp_path / 'none', False):
    pass
  assert not (tmp_path / 'none').exists()
