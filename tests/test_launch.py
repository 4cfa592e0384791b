"""Launch scripts: what they would run, with the cloud's command replaced."""

import os
import pathlib
import re
import stat
import subprocess
import sys

import pytest

from dcjax.runs import tables
from dcjax.runs.tables import _making

_LAUNCH = pathlib.Path(__file__).resolve().parent.parent / 'experiments/launch'


def _tool(path, text):
  path.write_text(f'#!/bin/sh\n{text}\n')
  path.chmod(path.stat().st_mode | stat.S_IEXEC)
  return str(path)


def _run(script, *arguments, **environment):
  return subprocess.run(
    ['bash', _LAUNCH / script, *arguments],
    env={**os.environ, **environment},
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.parametrize(
  'script', ['tpu_pod.sh', 'gpu_host.sh', 'quarter_hour.sh']
)
def test_too_few_arguments_show_the_usage(script):
  done = _run(script, 'one')
  assert done.returncode == 2
  assert f'experiments/launch/{script}' in done.stderr
  assert 'set -e' not in done.stderr
  assert done.stdout == ''


def test_a_pod_gets_the_code_and_one_command_for_all_hosts(tmp_path):
  if not (_LAUNCH.parent.parent / '.git').exists():
    pytest.skip('what travels is what git knows')
  log = tmp_path / 'log'
  gcloud = _tool(tmp_path / 'gcloud', f'echo "$@" >> {log}')
  done = _run(
    'tpu_pod.sh',
    'pod',
    'zone-b',
    '/mnt/bucket',
    'idc:imagenet100,ipc=10',
    '--config.seed=3',
    "--config.evaluation.baselines=('random',)",
    DCJAX_GCLOUD=gcloud,
    DCJAX_PYTHON='3.13',
  )
  assert done.returncode == 0, done.stderr
  # Quoted for the shell of the host.
  text = log.read_text().replace('\\', '')
  assert 'tpu-vm scp' in text and 'tpu-vm ssh pod' in text
  assert text.count('--zone zone-b --worker=all') == 2
  for part in (
    '--distributed --config=idc:imagenet100,ipc=10',
    '--workdir=/mnt/bucket/runs/idc_imagenet100_ipc_10',
    '--config.data_dir=/mnt/bucket/data --config.seed=3',
    'requirements-tpu.txt',
    'uv venv --quiet --python 3.13',
    'JAX_COMPILATION_CACHE_DIR=/mnt/bucket/compiled',
    "baselines=('random',)",
  ):
    assert part in text, part


def test_what_a_pod_is_told_is_quoted_for_its_shell(tmp_path):
  if not (_LAUNCH.parent.parent / '.git').exists():
    pytest.skip('what travels is what git knows')
  odd = "a b;touch $(x) 'c"
  told = tmp_path / 'told'
  # What ssh is given last stays; the program says what it is called with.
  text = f'for last; do :; done\nprintf %s "$last" > {told}'
  gcloud = _tool(tmp_path / 'gcloud', text)
  done = _run(
    'tpu_pod.sh',
    *('pod', 'zone-b', f'/mnt/{odd}', f'idc:{odd}', f'--flag={odd}'),
    DCJAX_GCLOUD=gcloud,
    DCJAX_RUN=odd,
  )
  assert done.returncode == 0, done.stderr
  command = told.read_text()
  start = command.index('export JAX_COMPILATION_CACHE_DIR')
  shown = command[start:].replace('.venv/bin/python', "printf '%s\\n'")
  shown += '; echo "$JAX_COMPILATION_CACHE_DIR"'
  said = subprocess.run(
    ['bash', '-c', shown], capture_output=True, text=True, cwd=tmp_path
  )
  assert said.stdout.splitlines()[2:] == [
    f'--config=idc:{odd}',
    f'--workdir=/mnt/{odd}/runs/{odd}',
    f'--config.data_dir=/mnt/{odd}/data',
    f'--flag={odd}',
    f'/mnt/{odd}/compiled',
  ]


def test_a_pod_that_fails_says_so(tmp_path):
  if not (_LAUNCH.parent.parent / '.git').exists():
    pytest.skip('what travels is what git knows')
  gcloud = _tool(tmp_path / 'gcloud', 'exit 7')
  done = _run('tpu_pod.sh', 'pod', 'z', '/b', 'idc:x', DCJAX_GCLOUD=gcloud)
  assert done.returncode == 7
  assert 'results:' not in done.stdout


@pytest.mark.parametrize(
  ('said', 'code'), [('dcjax ended with 2', 2), ('dcjax ended with 1', 1)]
)
def test_a_pod_says_whether_it_would_fail_again(tmp_path, said, code):
  if not (_LAUNCH.parent.parent / '.git').exists():
    pytest.skip('what travels is what git knows')
  # gcloud may end otherwise than what it ran.
  text = f'case "$*" in *ssh*) echo "worker 0: {said}"; exit 1;; esac'
  gcloud = _tool(tmp_path / 'gcloud', text)
  done = _run('tpu_pod.sh', 'pod', 'z', '/b', 'idc:x', DCJAX_GCLOUD=gcloud)
  assert done.returncode == code


def test_what_runs_on_a_host_ends_as_the_run_does(tmp_path):
  if not (_LAUNCH.parent.parent / '.git').exists():
    pytest.skip('what travels is what git knows')
  # The shell of a host; its Python ends as a run with a wrong setting does.
  host = tmp_path / 'host'
  (host / 'dcjax' / '.venv' / 'bin').mkdir(parents=True)
  _tool(host / 'dcjax/.venv/bin/python', 'exit 2')
  _tool(host / 'python3', 'exit 0')
  shell = 'for last; do :; done; cd HOST; PATH=HOST:$PATH bash -c "$last"'
  gcloud = _tool(
    tmp_path / 'gcloud',
    'case "$*" in *scp*) cp "$5" HOST/dcjax.tar.gz;; '
    f'*ssh*) {shell};; esac'.replace('HOST', str(host)),
  )
  done = _run('tpu_pod.sh', 'pod', 'z', '/b', 'idc:x', DCJAX_GCLOUD=gcloud)
  assert done.returncode == 2, done.stderr
  assert done.stdout.endswith('dcjax ended with 2\n')


@pytest.mark.parametrize(('tasks', 'distributed'), [('1', False), ('8', True)])
def test_a_host_runs_one_process_or_one_for_each_task(
  tmp_path, tasks, distributed
):
  python = _tool(tmp_path / 'python', 'echo "$@" "$XLA_CLIENT_MEM_FRACTION"')
  done = _run(
    'gpu_host.sh',
    'runs/x',
    'idc:imagenet10',
    '--config.seed=3',
    DCJAX_PYTHON=python,
    SLURM_NTASKS=tasks,
  )
  assert done.returncode == 0, done.stderr
  expected = '--config=idc:imagenet10 --workdir=runs/x --config.seed=3 0.9'
  assert expected in done.stdout
  assert ('--distributed' in done.stdout) == distributed


def test_what_the_scripts_say_is_understood():
  done = _run(
    'gpu_host.sh',
    'runs/x',
    'idc:imagenet10,ipc=20',
    '--config.data_dir=/mnt/bucket/data',
    '--profile',
    '--print_config',
    DCJAX_PYTHON=sys.executable,
    SLURM_NTASKS='8',
  )
  assert done.returncode == 0, done.stderr
  assert re.search(r"^data_dir +'/mnt/bucket/data' +said$", done.stdout, re.M)
  assert re.search(r'^ipc +20 +said$', done.stdout, re.M)


def test_a_quarter_of_an_hour_asks_for_cells_that_are_there(tmp_path):
  """And what is finished is not begun again; a stop is no failure."""
  log = tmp_path / 'log'
  python = _tool(
    tmp_path / 'python',
    f'echo "$@" >> {log}; for w in "$@"; do case $w in --out=*) '
    'touch "${w#--out=}"; esac; done; [ "$1" != "$WRONG" ]',
  )

  def lines(*more, work='one', code=0, wrong=''):
    log.write_text('')
    arguments = (str(tmp_path / work), 'DATA', *more)
    done = _run('quarter_hour.sh', *arguments, DCJAX_PYTHON=python, WRONG=wrong)
    assert done.returncode == code, done.stderr
    return log.read_text().splitlines()

  first = lines()
  assert first[0].startswith('benchmarks/gpu.py --ipc=1 ')
  assert lines() == first[1:]
  assert lines('reference', '0') == []  # no time at all
  # What fails is said at the end, and the others go on.
  assert lines(work='two', code=1, wrong='benchmarks/gpu.py') == [
    line.replace('/one/', '/two/') for line in first
  ]
  small = lines('smoke', work='c')
  assert small[0].startswith('benchmarks/gpu.py --ipc=1 --width=4 ')
  assert len(small) == 3 and all('dataset=digits' in line for line in small[1:])
  table = tables.load('idc_table10', 'reference', 'cifar10')
  jobs = _making.jobs(table, 'reference')
  found = []
  for line in first[1:]:
    only = re.search(r'--config.only=(\S+)', line)[1]
    (job,) = _making.choose(jobs, only)
    found += job.cells
    assert '--config.records=docs/records' in line
  row = 'cifar10, ipc {}'.format
  assert found == [(row(1), 'DM'), (row(10), 'DM'), (row(1), 'IDC')]
