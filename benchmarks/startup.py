"""Times the start of the digits quick start, compile cache cold and warm.

  python benchmarks/startup.py --reps=2 --out=startup.md

Runs `experiments/run.py` on the embedded digits to its end, first with an empty
compile cache, then again with the cache that it left, in a new folder; as many
such pairs as `--reps`. Seconds count from the start of the process.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import _command
import _harness
from absl import flags

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_MARKS = ('compiled', 'first outer iteration', 'end')


def report(*, reps: int, arguments: str = 'digits') -> str:
  """Measures.

  Args:
    reps: pairs of a cold and a warm start.
    arguments: of the config, after its colon.

  Returns:
    Markdown: median seconds to each mark.

  Raises:
    ValueError: if a run fails; says its last line.
  """
  seconds: dict[str, list[dict[str, float]]] = {'cold': [], 'warm': []}
  for _ in range(reps):
    with tempfile.TemporaryDirectory() as folder:
      for kind in seconds:
        seconds[kind].append(_run(pathlib.Path(folder), kind, arguments))
  titles = ['compile cache', *(f'{mark}, s' for mark in _MARKS), 'CPU s']
  lines = [f'| {" | ".join(titles)} |', f'|{" --- |" * len(titles)}']
  for kind, runs in seconds.items():
    cells = [
      _harness.number(_harness.median([run[mark] for run in runs]))
      for mark in (*_MARKS, 'cpu')
    ]
    lines.append(f'| {" | ".join([kind, *cells])} |')
  return '\n'.join(lines)


def _run(folder: pathlib.Path, kind: str, arguments: str) -> dict[str, float]:
  """Runs the quick start; returns seconds to each mark and CPU seconds."""
  workdir = folder / kind
  command = [
    sys.executable,
    str(_ROOT / 'experiments' / 'run.py'),
    f'--config=idc:{arguments}',
    f'--workdir={workdir}',
  ]
  log = folder / f'{kind}.log'
  before, began = os.times(), time.monotonic()
  with log.open('w') as output:
    process = subprocess.Popen(
      command,
      env=_environment(folder / 'cache'),
      stdout=output,
      stderr=subprocess.STDOUT,
    )
    marks = _watch(process, workdir, log, began)
  text = log.read_text(encoding='utf-8', errors='replace')
  if process.returncode:
    last = (text.splitlines() or ['nothing was printed'])[-1]
    raise ValueError(f'{" ".join(command)} failed: {last}')
  after = os.times()
  used = after.children_user + after.children_system
  marks['cpu'] = used - before.children_user - before.children_system
  return marks


def _environment(cache: pathlib.Path) -> Mapping[str, str]:
  return {
    **os.environ,
    'JAX_ENABLE_COMPILATION_CACHE': 'true',
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    # As a run sets it for its own cache.
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.5',
  }


def _watch(process, workdir, log, began):
  """Waits for the end of a run; notes when its marks come by."""
  metrics, marks = workdir / 'metrics.jsonl', {}
  while process.poll() is None or not marks:
    now = time.monotonic() - began
    if 'compiled' not in marks and 'compiled in' in log.read_text(
      encoding='utf-8', errors='replace'
    ):
      marks['compiled'] = now
    if (
      'first outer iteration' not in marks
      and metrics.exists()
      and metrics.stat().st_size
    ):
      marks['first outer iteration'] = now
    if process.returncode is not None:
      break
    time.sleep(0.05)
  end = time.monotonic() - began
  return {mark: marks.get(mark, end) for mark in _MARKS}


def _from_flags():
  values = flags.FLAGS
  return report(
    reps=values.reps, arguments='digits,smoke' if values.smoke else 'digits'
  )


if __name__ == '__main__':
  _command.define_flags()
  flags.DEFINE_bool('smoke', False, 'The smallest run instead, for tests.')
  _command.run('Start-up', _from_flags)
