"""Compiles methods for machines that are not here, and tabulates their plans.

  python benchmarks/targets.py --targets=v5e,v5p,h100 --kept=plans
    --out=targets.md

Runs `experiments/run.py --config=... --plan=TARGET` for every run and target,
each in a process of its own. Pages are kept in `--kept`, so that the same
command goes on after a stop; a page of a target whose compiler is not
installed is not. Columns are those of `--plan`, see docs/pods.md; the last ones
are the compiler's, of a call: to choose between settings, say a config more
than once, as `--runs=idc:cifar10,ipc=10,execution.classes=scan`.
"""

import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence

import _command
from absl import flags

_ROOT = pathlib.Path(__file__).resolve().parent.parent
# Every method at its published size, of those that are small enough to compare.
RUNS = (
  'idc:cifar10,ipc=10',
  'dc:cifar10,ipc=10',
  'dsa:cifar10,ipc=10',
  'dm:cifar10,ipc=10',
  'cafe:cifar10,ipc=10',
  'label_distillation:cifar10,ipc=10',
  'dd:cifar10,ipc=10',
  'mtt:cifar10,ipc=10',
  'rat_bptt:cifar10,ipc=10',
  'frepo:cifar10,ipc=10',
  'rcig:cifar10,ipc=10',
  'kip:cifar10,ipc=10',
  'generative:cifar10,ipc=10',
  'edc:cifar10,ipc=10',
  'sre2l:cifar10,ipc=10',
  'cda:cifar10,ipc=10',
  'gvbsm:cifar10,ipc=10',
  'rded:cifar10,ipc=10',
)
_STOPPED = 'stopped: '
_TITLES = (
  'run',
  'program',
  'target',
  'compiled in',
  'held + temporary, GiB a device',
  'FLOP',
  'collectives, MiB a call and device',
  'operations (copies)',
  'convolutions (grouped)',
  'FLOP made',
  'cycles',
)


def report(
  *,
  runs: Sequence[str],
  targets: Sequence[str],
  kept: str,
  seconds: float,
  programs: Sequence[str] = (),
) -> str:
  """Plans every run for every target, in the order of the targets.

  Args:
    runs: configs, as `--config` takes them.
    targets: as `--plan` takes them.
    kept: folder of the pages.
    seconds: that a plan may take.
    programs: names that the programs to compile begin with; none for all.

  Returns:
    Markdown: a line for each program of each run and target.
  """
  folder = pathlib.Path(kept)
  folder.mkdir(parents=True, exist_ok=True)
  lines = [f'| {" | ".join(_TITLES)} |', f'|{" --- |" * len(_TITLES)}']
  for target in targets:
    for config in runs:
      page = _page(folder, config, target, seconds, programs)
      for cells in rows(page):
        lines.append(f'| {" | ".join([f"`{config}`", *cells])} |')
  return '\n'.join(lines)


def _page(folder, config, target, seconds, programs) -> str:
  """The kept page of a run for a target, or a new one."""
  words = [config, target, *programs]
  name = re.sub(r'[^\w.=+-]', '_', '-'.join(words))
  file = folder / f'{name}.txt'
  if file.exists():
    return file.read_text(encoding='utf-8')
  print(f'{config} for {target}', file=sys.stderr, flush=True)
  run = str(_ROOT / 'experiments' / 'run.py')
  command = [sys.executable, run, f'--config={config}', f'--plan={target}']
  command += [f'--programs={",".join(programs)}'] if programs else []
  try:
    done = subprocess.run(
      command, capture_output=True, text=True, check=False, timeout=seconds
    )
  except subprocess.TimeoutExpired as stopped:
    late = f'not within {seconds:.0f} s'
    said = (stopped.stdout or b'').decode(errors='replace')
    return f'{said}{_STOPPED}{late}' if said else f'plan: for {target}: {late}'
  page = done.stdout
  if done.returncode:
    said = (done.stderr or page).strip().splitlines() or ['nothing was said']
    return f'plan: for {target}: {said[-1]}'
  if 'not compiled, only lowered' not in page:
    file.write_text(page, encoding='utf-8')
  return page


def rows(page: str) -> Iterator[tuple[str, ...]]:
  """The cells of each program of a page of `--plan`, beside its run.

  Args:
    page: as printed, or one line `plan: for TARGET: PROBLEM`.

  Yields:
    Program, target, compile time, memory, FLOP, collectives, and what the
    compiler made of it.
  """
  head, _, body = page.partition('\n')
  plan = re.match(r'plan: .*?for (\S+): (.*)', head)
  if plan is None:
    raise ValueError(f'a page begins with {head!r}; it must be of --plan')
  target, problem = plan.groups()
  if not body:
    yield _lacking(target, problem)
    return
  single = problem.startswith('1 device')
  for part in re.split(r'\n(?=\w)', body.split('in all: ')[0]):
    name = re.match(r'(.+): \d+ x (.*)', part)
    if name is None:  # the mesh, or why it was only lowered
      continue
    memory = re.search(r'\(([\d.]+) held, ([\d.]+) temporary\): (.*)', part)
    took = re.search(r'compiled here in (.*)', part)
    failed = re.search(r'does not compile: (.*)', part)
    sent = re.search(r'collectives: ([\d.]+) MiB', part)
    flop = re.search(r'work: (\S+) FLOP', part)
    made = re.search(
      r'made of it: (\S+) FLOP a device, (\d+) operations, (\d+) of them '
      r'copies, (\d+) convolutions, (\d+) of them grouped(?:, (\S+) cycles)?',
      part,
    )
    fits = memory is None or memory[3] == 'fits'
    yield (
      f'{name[1]} ({name[2]})',
      target,
      took[1] if took else failed[0] if failed else 'only lowered',
      f'{memory[1]} + {memory[2]}{"" if fits else ", too much"}'
      if memory
      else '',
      flop[1] if flop else '',
      'none' if single else sent[1] if sent else '',
      f'{made[2]} ({made[3]})' if made else '',
      f'{made[4]} ({made[5]})' if made else '',
      made[1] if made else '',
      made[6] or '' if made else '',
    )
  if _STOPPED in body:
    yield _lacking(target, body.split(_STOPPED)[1])


def _lacking(target, problem) -> tuple[str, ...]:
  return '', target, problem, *([''] * (len(_TITLES) - 4))


def _from_flags():
  values = flags.FLAGS
  return report(
    runs=values.runs,
    targets=values.targets,
    kept=values.kept,
    seconds=values.most_seconds,
    programs=values.programs,
  )


if __name__ == '__main__':
  flags.DEFINE_multi_string('runs', list(RUNS), 'Configs; say it once a run.')
  flags.DEFINE_list('targets', ['v5e', 'v5p', 'h100'], 'See docs/pods.md.')
  flags.DEFINE_list('programs', [], 'Only these, as condense,evaluate.')
  flags.DEFINE_string('kept', 'plans', 'Folder of the pages.')
  flags.DEFINE_float('most_seconds', 3600.0, 'Time of one plan, at most.')
  flags.DEFINE_string('out', '', 'Markdown file to write the table to.')
  _command.run(
    'Compiled for machines that are not here',
    _from_flags,
    lambda: 'default flags of each compiler',
  )
