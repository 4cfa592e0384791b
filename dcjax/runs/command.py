"""The command: `dcjax`, `python -m dcjax`, `python experiments/run.py`."""

import difflib
import importlib.util
import os
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from absl import flags, logging

from dcjax.runs import _looking
from dcjax.runs._ending import (
  Wrong,
  end,
  one_line,
  prepare_streams,
  say_error,
  say_runtime,
  stop_at_once,
)

HELP = """Condenses a data set, evaluates it, and writes a report.

  {program} --config=idc:digits --workdir=runs/digits

The same command resumes an interrupted run. A config is a method with a data
set and any settings; a setting may be a flag as well:

  {program} --config=idc:cifar10,ipc=10,schedule=short --workdir=runs/cifar
      --config.data_dir=DATA --config.method.distance=l1

  {program} list                      methods, data sets, networks, tables
  {program} list fields               what every setting means, and may be
  {program} --config=idc:digits --print_config     every setting, and its origin
  {program} --config=idc:cifar10 --plan=h100       memory and hours on a machine
  {program} compare runs/a runs/b     finished runs side by side; with
      --page=FILE.html as a page, with --plot=FILE.pdf as a figure
  {program} gallery runs              a page of all runs below a folder
  {program} export runs/a OUT --as=hub       or images, ddranking, idc, uint8
  {program} published docs/records    draws published.md from the records there

Flags:
"""
_OVERRIDE = '--config.'
# Flag -> its kind and help.
_FLAGS = {
  'config': ('string', 'METHOD:DATA[,FIELD=VALUE...], or FILE.py:DATA[,...].'),
  'workdir': ('string', 'Folder of the run; the same folder resumes it.'),
  'store': ('string', 'Folder where runs find networks and statistics.'),
  'watch': ('string', 'tensorboard, wandb, or both with a + between.'),
  'print_config': ('bool', 'Prints every setting and its origin, and ends.'),
  'plan': ('string', 'Plan the run for a machine such as h100 or v5e:4x8.'),
  'programs': ('list', 'Of a plan: condense,evaluate for only these.'),
  'profile': ('bool', 'Trace an iteration of every loop into WORKDIR/profile.'),
  'devices_per_class': (
    'integer',
    'Devices that share the images of one class; 0 decides by their number.',
  ),
  'cpu_devices': (
    'integer',
    'Devices to make of the cores of a CPU; classes are shared among them.',
  ),
  'distributed': (
    'bool',
    'One of several processes on a pod or cluster that tells them apart.',
  ),
  'coordinator': ('string', 'HOST:PORT of process 0, if no cluster tells it.'),
  'processes': ('integer', 'Processes of the run, with --coordinator.'),
  'process': ('integer', 'Number of this process, with --coordinator.'),
}

# Flag -> its default and least value.
_LEAST = {'devices_per_class': 0, 'cpu_devices': 1}


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
  """Defines the flags of a run."""
  if 'workdir' in values:
    return
  for name, (kind, text) in _FLAGS.items():
    define = getattr(flags, f'DEFINE_{kind}')
    options: dict[str, Any] = {'flag_values': values}
    default = False if kind == 'bool' else None
    if name in _LEAST:
      default = options['lower_bound'] = _LEAST[name]
    define(name, default, text, **options)


def main(argv: Sequence[str] | None = None, program: str = 'dcjax') -> NoReturn:
  """Runs a command line, and ends the program.

  Args:
    argv: its words; `sys.argv` by default.
    program: how it is called, for messages.
  """
  words = list(sys.argv if argv is None else argv)
  prepare_streams()
  # Before anything large is imported: Ctrl-C ends with one line from the start.
  signal.signal(signal.SIGINT, stop_at_once)
  try:
    code = _main(words, program)
  except KeyboardInterrupt:
    end('stopped at once; the same command resumes', 130)
  except BrokenPipeError:  # nobody reads any more, as of `| head -1`
    os._exit(141)
  sys.stdout.flush()
  sys.exit(code)


def _main(words, program):
  asks = any(w in ('-h', '--help', '--helpfull') for w in words[1:])
  if asks or words[1:2] == ['help']:
    return _help(program, sys.stdout)
  plain = [word for word in words[1:] if not word.startswith('-')]
  if plain[:1] == ['list']:
    from dcjax.runs import _list

    return _list.show(plain[1:])
  if plain and plain[0] in _looking.WORDS:
    return _look(plain[0], words[words.index(plain[0]) + 1 :])
  if plain[:1] == ['run']:  # a word that people expect
    words = [words[0], *words[2:]]
  define_flags()
  if len(words) == 1:
    _help(program, sys.stderr)
    return say_error('--config: must name a method, such as idc:digits')
  try:
    overrides = _parse(words)
    return _run(words, overrides, program)
  except Wrong as error:
    return say_error(str(error))


def _look(word, after):
  """Does what is asked about runs that are there."""
  from dcjax import files

  try:
    for said in after:
      files.check_local(word, said.partition('=')[2] or said)
    return _looking.WORDS[word](after)
  except (Wrong, ValueError, OSError) as error:
    return say_error(one_line(error))


def _help(program, stream):
  stream.write(HELP.format(program=program))
  for name, (_, text) in _FLAGS.items():
    stream.write(f'  --{name:18} {text}\n')
  stream.write(
    f'\nHelp on a config, with the published numbers: {program} list METHOD\n'
  )
  return 0


def _parse(words) -> dict[str, str]:
  """Parses flags; returns what `--config.FIELD=VALUE` says."""
  others, overrides, field = [], {}, ''
  for word in words:
    if field:
      overrides[field], field = word, ''
    elif word.startswith(_OVERRIDE):
      name, equals, text = word.removeprefix(_OVERRIDE).partition('=')
      field = '' if equals else name
      if equals:
        overrides[name] = text
    else:
      others.append(word)
  if field:
    raise Wrong(f'{_OVERRIDE}{field}: must be {_OVERRIDE}{field}=VALUE')
  try:
    left = flags.FLAGS(others)
  except flags.Error as error:
    raise Wrong(' '.join(str(error).split())) from error
  if len(left) > 1:
    raise Wrong(
      f'argument {left[1]!r}: must be list, compare, gallery, export, '
      'published, or flags; a run is --config=METHOD:DATA --workdir=FOLDER'
    )
  return overrides


def _run(words, overrides, program):
  values = flags.FLAGS
  if not values.config:
    raise Wrong('--config: must name a method, such as idc:digits')
  # Checkpointing is talkative, and raises what it cannot do.
  logging.set_verbosity(logging.FATAL)
  from dcjax.runs import Interrupted

  try:
    config = load_config(values.config, overrides)
    if values.print_config:
      from dcjax.runs import settings

      print(settings.show(settings.resolve(config)))
      return 0
    if values.plan:
      return _plan(config)
    if values.programs:
      raise Wrong('--programs: are those of a plan; say --plan=TARGET, too')
    if not values.workdir:
      raise Wrong('--workdir: must name the folder of the run')
    return _work(config, words, program)
  except Interrupted as stop:
    sys.stderr.write(f'{stop}\n')
    return 130
  except BrokenPipeError:
    raise
  except (ValueError, OSError, ImportError, OverflowError) as error:
    return say_error(one_line(error))
  except MemoryError:
    return say_error(
      'out of memory: take a smaller ipc, network or batch, or '
      'execution.classes=scan'
    )
  except RuntimeError as error:
    return say_runtime(error)


def _work(config, words, program):
  from dcjax import runs

  _join_processes()  # before anything asks for a device
  _share_cores()
  _check_platform()
  runs.run(
    config,
    flags.FLAGS.workdir,
    store=flags.FLAGS.store,
    command=(*program.split(), *words[1:]),
    devices_per_class=flags.FLAGS.devices_per_class,
    profile=flags.FLAGS.profile,
    watch=tuple(filter(None, (flags.FLAGS.watch or '').split('+'))),
  )
  return 0


def _plan(config):
  from dcjax import runs

  values = flags.FLAGS
  _share_cores()
  runs.plan(
    config,
    values.plan,
    devices_per_class=values.devices_per_class,
    programs=values.programs or (),
    say=print,
  )
  return 0


def load_config(word: str, overrides: dict[str, str] | None = None) -> Any:
  """Makes the config that `--config` names.

  Args:
    word: `'idc:digits'`, or `'FILE.py:digits'`.
    overrides: dotted field -> text, as in flags.

  Raises:
    ValueError: if there is no such config (names what is near), or a field or
      value is wrong.
  """
  from dcjax.runs import settings

  name, _, argument = word.partition(':')
  path = pathlib.Path(name)
  if path.is_file():
    made = _module_of(path).get_config(argument)
  elif name.removesuffix('.py') in names():
    made = settings.module(name.removesuffix('.py')).get_config(argument)
  else:
    plain = path.name.removesuffix('.py')
    near = difflib.get_close_matches(plain, names(), 3, 0.4)
    meant = f'; did you mean {" or ".join(near)}?' if near else ''
    raise ValueError(
      f'config {name!r}: is neither a file nor one of '
      f'{", ".join(names())}{meant}'
    )
  settings.set_fields(made, overrides or {})
  return made


def names() -> tuple[str, ...]:
  """The configs that are installed, sorted."""
  from dcjax.runs import settings

  return settings.names()


def _module_of(path):
  """The module of a config's file; one of ours is imported as such."""
  from dcjax.runs import settings

  ours = pathlib.Path(__file__).with_name('configs')
  if path.resolve().parent == ours.resolve() and path.stem in names():
    return settings.module(path.stem)
  spec = importlib.util.spec_from_file_location(path.stem, path)
  if spec is None or spec.loader is None:
    raise ValueError(f'config {path}: is no Python file')
  made = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(made)
  if not hasattr(made, 'get_config'):
    raise ValueError(f'config {path}: holds no get_config')
  return made


def _share_cores():
  """Makes several devices of a CPU where `--cpu_devices` says so."""
  devices = flags.FLAGS.cpu_devices
  if devices > 1:
    import jax

    jax.config.update('jax_num_cpu_devices', devices)


def _check_platform():
  import jax

  if jax.config.jax_enable_x64:
    raise ValueError(
      'JAX_ENABLE_X64 is set: runs are in float32; unset it for this command'
    )
  try:
    jax.devices()  # An unknown platform is heard of now,
  except AssertionError as error:  # and a known one that is not there.
    raise ValueError(
      f'JAX_PLATFORMS {jax.config.jax_platforms!r}: there is no such device '
      'here; unset it to let JAX choose'
    ) from error
  asked = flags.FLAGS.cpu_devices
  used = jax.default_backend()
  if asked > 1 and used != 'cpu':
    raise ValueError(
      f'--cpu_devices={asked}: this run is on {used}; leave it out, or set '
      'JAX_PLATFORMS=cpu'
    )


def _join_processes():
  from dcjax import sharding

  values = flags.FLAGS
  place = (values.coordinator, values.processes, values.process)
  if values.distributed or any(value is not None for value in place):
    sharding.start_processes(*place)
