"""The command line: what it says, in one sentence, and how it ends."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types

import pytest
import runner

from dcjax.runs import _ending, _progress, _run, command

_CONFIG = '--config=idc:digits,smoke'


@pytest.fixture
def refused(called, tmp_path):
  """Returns a function that gives the one line about a wrong command."""

  def call(*words):
    code, out, err = called(*words, f'--workdir={tmp_path}/run')
    assert (code, out) == (2, '')
    assert not (tmp_path / 'run').exists()
    (line,) = err.splitlines()
    return line.removeprefix('error: ')

  return call


@pytest.mark.parametrize(
  ('word', 'message'),
  [
    ('ipc=1.5', "config field 'ipc': is '1.5', must be a whole number"),
    ('ipc=0', 'ipc 0: must be at least 1 and at most 1e+09'),
    ('seed=one', "config field 'seed': is 'one', must be a whole number"),
    (
      'method.momentum=a: b',
      "config field 'method.momentum': is 'a: b', must be a number",
    ),
    (
      'method.sweep=3',
      "config field 'method.sweep': is '3', must be true or false",
    ),
    (
      'evaluation.at=a,b(',
      "evaluation.at ('a', 'b('): 'a' must be a number",
    ),
    ('foo=1', "config field 'foo': 'foo' must be one of ["),
  ],
)
def test_a_wrong_value_is_named(refused, word, message):
  line = refused(_CONFIG, f'--config.{word}')
  assert line == message or (message.endswith('[') and line.startswith(message))


@pytest.mark.parametrize(
  'words',
  [
    f'{_CONFIG} --workdir=U',
    f'{_CONFIG} --store=U',
    f'{_CONFIG} --config.data_dir=U',
    '--config=idc:npz --config.data_dir=U',
    '--config=dm:tfds:mnist --config.data_dir=U --plan=cpu',
    '--config=given:digits,file=U',
    '--config=sre2l:digits,smoke --config.weights=U',
    '--config=table:idc_table1,size=smoke --workdir=U',
    '--config=table:idc_table1,size=smoke --store=U',
    '--config=table:idc_table1,size=smoke,records=U',
    '--config=continual:digits,smoke --workdir=U',
    '--config=continual:digits,smoke --store=U',
    'compare U',
    'compare runs --page=U',
    'compare runs --plot=U',
    'gallery U',
    'gallery runs --page=U',
    'export U OUT --as=hub',
    *(f'export run U --as={kind}' for kind in ('images', 'idc', 'uint8')),
    'published U',
  ],
)
def test_a_bucket_is_refused_before_anything_is_done(
  called, tmp_path, monkeypatch, words
):
  monkeypatch.chdir(tmp_path)
  words = words.replace('U', 'gs://bucket/place').split()
  if words[0].startswith('--') and not any('--workdir' in w for w in words):
    words.append('--workdir=run')
  code, out, err = called(*words)
  assert (code, out) == (2, '')
  assert re.fullmatch(
    r'error: [\w.]+ gs://bucket/place: must be a folder of this machine, or a '
    r'bucket that is mounted as one\n',
    err,
  )
  assert not list(tmp_path.iterdir())


def test_a_flag_may_have_its_value_in_the_next_word(refused):
  assert refused(_CONFIG, '--config.ipc', '0').startswith('ipc 0: must be')
  assert refused('--config', 'idc:nope').startswith("data 'nope'")


def test_a_config_that_is_not_there_names_what_is_near(refused, tmp_path):
  for name, near in (
    ('idd:digits', 'idc'),
    ('gvbms', 'gvbsm'),
    ('experiments/configs/edcc.py:digits', 'edc'),
    ('labels_distillation', 'label_distillation'),
  ):
    line = refused(f'--config={name}')
    assert re.search(f'did you mean .*{near}', line)
    assert 'sre2l' in line
    assert '_shared' not in line
  assert 'did you mean' not in refused('--config=qqqq')
  assert refused(f'--config={tmp_path}').startswith('config ')
  (tmp_path / 'own.py').write_text('x = 1')
  assert refused(f'--config={tmp_path}/own.py').endswith('holds no get_config')


def test_a_config_may_be_a_file(called):
  for word in (
    f'{runner.CONFIG}:digits,ipc=3',
    'idc:digits,ipc=3',
    'idc.py:digits,ipc=3',
  ):
    code, out, _ = called(f'--config={word}', '--print_config')
    assert code == 0
    assert re.search(r'^ipc +3 +said$', out, re.MULTILINE)
    assert re.search(r'^method\.distance +.l1. +short$', out, re.MULTILINE)


def test_a_file_of_ones_own_makes_a_config(called, tmp_path):
  (tmp_path / 'own.py').write_text(
    'from dcjax.runs import settings\n'
    'def get_config(arg):\n'
    "  return settings.make('dm', f'{arg},seed=7')\n"
  )
  code, out, _ = called(f'--config={tmp_path}/own.py:mnist', '--print_config')
  assert code == 0
  assert re.search(r'^seed +7 +said$', out, re.MULTILINE)


def test_what_is_missing_or_unknown_is_named(called, refused):
  code, out, err = called()
  assert (code, out) == (2, '')
  assert err.splitlines()[-1].startswith('error: --config: must name a method')
  assert '--config=idc:digits --workdir=runs/digits' in err
  assert called(_CONFIG)[::2] == (
    2,
    'error: --workdir: must name the folder of the run\n',
  )
  assert refused().startswith('--config: must name a method')
  only = refused(_CONFIG, '--programs=condense')
  assert only.startswith('--programs: are those of a plan; say --plan=')
  assert 'confgi' in refused('--confgi=idc')
  assert refused(_CONFIG, 'zap').startswith("argument 'zap': must be list, ")
  assert called('compare')[::2] == (
    2,
    'error: compare: name at least one finished run folder\n',
  )
  code, _, err = called('list', 'idcc')
  assert code == 2
  assert 'did you mean idc' in err


@pytest.mark.parametrize('words', ['--help', '-h', 'help', 'compare --help'])
def test_help_is_on_one_screen(called, words):
  code, out, err = called(*words.split())
  assert (code, err) == (0, '')
  assert len(out.splitlines()) < 40
  for flag in ('--config', '--workdir', '--store', '--print_config', 'list'):
    assert flag in out


def test_cores_become_devices_before_anything_asks_for_one(monkeypatch):
  said = []
  monkeypatch.setattr(
    'jax.config.update', lambda name, value: said.append((name, value))
  )
  for devices in (1, 2):
    monkeypatch.setattr(
      command.flags, 'FLAGS', types.SimpleNamespace(cpu_devices=devices)
    )
    command._share_cores()
  assert said == [('jax_num_cpu_devices', 2)]


def test_list_names_everything_and_shows_one(called):
  code, out, _ = called('list')
  assert code == 0
  for name in (*command.names(), 'digits', 'image_folder', 'convnet'):
    assert re.search(rf'^  {name} ', out, re.MULTILINE), name
  code, out, _ = called('list', 'dc')
  assert code == 0
  assert 'Published' in out


def test_a_missing_library_and_too_little_memory_are_one_line(
  refused, monkeypatch
):
  from dcjax import runs

  for error, message in (
    (ImportError("needs h5py: pip install 'dcjax[usps]'."), 'needs h5py: pip'),
    (MemoryError(), 'out of memory: take a smaller ipc'),
    (RuntimeError('RESOURCE_EXHAUSTED: 3 GiB\nmore'), 'out of memory on the'),
  ):

    def fail(*arguments, error=error, **options):
      raise error

    monkeypatch.setattr(runs, 'run', fail)
    assert refused(_CONFIG).startswith(message)


def test_a_platform_that_is_not_there_is_one_line(refused, monkeypatch):
  import jax

  def fail():
    raise AssertionError

  monkeypatch.setattr(jax, 'devices', fail)
  assert re.match(r"JAX_PLATFORMS '?\w+'?: there is no such", refused(_CONFIG))


@pytest.mark.parametrize('kind', [ValueError, RuntimeError])
def test_the_end_of_another_process_is_one_sentence(called, monkeypatch, kind):
  from dcjax import runs

  def fail(*arguments, **options):
    raise kind('UNKNOWN: Gloo AllGather failed:\nConnection closed by peer')

  ends = []
  monkeypatch.setattr(runs, 'run', fail)
  monkeypatch.setattr(_ending, 'is_one_of_several', lambda: True)
  monkeypatch.setattr(_ending, 'end', lambda *end: ends.append(end))
  called(_CONFIG, '--workdir=x')
  ((text, code),) = ends
  assert code == 1 and '\n' not in text
  assert 'lost the others (UNKNOWN: Gloo' in text


def test_an_interrupted_run_ends_with_130(called, monkeypatch):
  from dcjax import runs

  def stop(*arguments, **options):
    raise runs.Interrupted('stopped there')

  def press(*arguments, **options):
    raise KeyboardInterrupt

  monkeypatch.setattr(runs, 'run', stop)
  assert called(_CONFIG, '--workdir=x') == (130, '', 'stopped there\n')
  monkeypatch.setattr(runs, 'run', press)
  monkeypatch.setattr(os, '_exit', sys.exit)
  code, _, err = called(_CONFIG, '--workdir=x')
  assert code == 130
  assert err == 'stopped at once; the same command resumes\n'


def test_a_reader_that_leaves_ends_the_program_without_a_word(
  called, monkeypatch
):
  from dcjax import runs

  def leave(*arguments, **options):
    raise BrokenPipeError(32, 'Broken pipe')

  monkeypatch.setattr(runs, 'run', leave)
  monkeypatch.setattr(os, '_exit', sys.exit)
  assert called(_CONFIG, '--workdir=x') == (141, '', '')


def test_closed_streams_take_what_is_said(monkeypatch, capsys):
  for name in ('stdout', 'stderr'):
    monkeypatch.setattr(sys, name, None)
  monkeypatch.setattr(sys, 'unraisablehook', sys.unraisablehook)
  _ending.prepare_streams()
  _progress.say('said')
  assert sys.stderr.write('error')


def test_a_home_that_takes_no_files_is_no_reason_to_fail(monkeypatch):
  updates = []
  config = types.SimpleNamespace(update=lambda *update: updates.append(update))
  monkeypatch.setattr(_run, 'jax', types.SimpleNamespace(config=config))
  for home in ('/dev/null', '/proc/none'):
    monkeypatch.setenv('HOME', home)
    _run.use_compilation_cache()
    assert not updates


def test_a_finished_sentence_is_said_where_signs_are_unknown(monkeypatch):
  for encoding, shown in (('ascii', b'50 ? 1 %\n'), ('utf-8', b'50 \xc2\xb1')):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, 'stdout', stream)
    _progress.say('50 ± 1 %')
    assert stream.buffer.getvalue().startswith(shown)


# In a process of its own.


def _start(*words, cwd=None):
  environment = {n: v for n, v in os.environ.items() if n != 'PYTHONPATH'}
  return subprocess.Popen(
    [sys.executable, '-W', 'ignore', runner.RUN, *words],
    env=environment,
    cwd=cwd,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


@pytest.mark.parametrize('library', ['numpy', 'jaxlib'])
def test_ctrl_c_while_libraries_are_loaded_stops_with_one_line(
  tmp_path, library
):
  process = _start('--config=idc:digits', f'--workdir={tmp_path}/run')
  maps = f'/proc/{process.pid}/maps'
  deadline = time.monotonic() + 60
  while library not in open(maps).read():  # noqa: SIM115
    assert time.monotonic() < deadline
    time.sleep(0.01)
  process.send_signal(signal.SIGINT)
  _, err = process.communicate(timeout=60)
  assert process.returncode == 130
  assert err == 'stopped at once; the same command resumes\n'
  assert not (tmp_path / 'run').exists()


def test_ctrl_c_twice_does_not_wait_for_a_long_step(tmp_path):
  process = _start(
    '--config=dm:digits,smoke,network=convnet:width=2:depth=1',
    '--config.method.inner_steps=100000000',
    f'--workdir={tmp_path}/run',
  )
  # Nothing here waits for ever, whatever is said or not.
  alarm = threading.Timer(120, process.kill)
  alarm.start()
  try:
    stages = tmp_path / 'run/stages.json'
    while not (stages.exists() and '"start"' in stages.read_text()):
      assert process.poll() is None
      time.sleep(0.1)
    time.sleep(3)  # into the step; where it still compiles, into that
    process.send_signal(signal.SIGINT)
    assert any('stopping after this step' in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
  finally:
    alarm.cancel()
    process.kill()
  assert process.returncode == 130
  assert err == 'stopped at once; the same command resumes\n'


def test_a_clone_runs_its_own_code_wherever_it_is_called(tmp_path):
  process = _start(
    '--config=idc:digits', '--config.ipc=0', '--workdir=x', cwd=tmp_path
  )
  _, err = process.communicate(timeout=120)
  assert process.returncode == 2
  assert err == 'error: ipc 0: must be at least 1 and at most 1e+09\n'
  assert not list(tmp_path.iterdir())


def test_help_and_the_import_need_no_jax():
  code = (
    'import sys, dcjax, dcjax.runs.command; assert "jax" not in sys.modules; '
    'assert not hasattr(dcjax, "nope") and not hasattr(dcjax, "_nope"); '
    'assert dcjax.artefact.load is dcjax.load and "match" in dir(dcjax); '
    'assert all(getattr(dcjax, name) is not None for name in dcjax.__all__); '
    'assert all(hasattr(dcjax.runs, name) for name in dcjax.runs.__all__)'
  )
  subprocess.run([sys.executable, '-c', code], check=True)
