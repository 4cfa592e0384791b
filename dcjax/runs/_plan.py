"""What a run would take on a machine that is not here: compiled, not run."""

import copy
import dataclasses
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dcjax import data, specs
from dcjax.data import Dataset
from dcjax.runs import _build, _compiled, _fitting, _flops, _targets, _watch
from dcjax.runs._build import Built
from dcjax.runs._compiled import Emitted
from dcjax.runs._flops import Count
from dcjax.runs._flops_step import drawn_turns
from dcjax.runs._programs import Program, programs
from dcjax.runs._progress import duration
from dcjax.runs._targets import Chip, Target
from dcjax.runs.settings import Settings
from dcjax.utils import traced_for

# Of a device's peak, in hours that are estimated; see `_costs`.
UTILISATION = 0.35
_GIB = 2**30
_NOTHING = Emitted(0.0, 0, 0, 0, 0, 0.0, ())


class Measured(NamedTuple):
  """A program for its target.

  Attributes:
    program: the program.
    count: its work on all devices in a call.
    held: bytes on each device before and after a call; None: not compiled.
    temporaries: bytes on each device during a call.
    emitted: what the compiler made of it.
    seconds: of compilation here.
    problem: why it was not compiled, or ''.
  """

  program: Program
  count: Count
  held: float | None
  temporaries: float
  emitted: Emitted
  seconds: float
  problem: str = ''


def page(
  chosen: Settings,
  word: str,
  devices_per_class: int = 0,
  only: Sequence[str] = (),
  say: Callable[[str], None] | None = None,
) -> str:
  """See `runs.plan`.

  Args:
    chosen: the settings.
    word: the target; see `_targets.target`.
    devices_per_class: see `sharding.make_mesh`.
    only: programs whose names begin so; none for all.
    say: is given each line as soon as it is known.

  Raises:
    ValueError: naming the field, its value and what is allowed.
    FileNotFoundError: if data of unknown sizes are not there.
  """
  said = []
  for line in _lines(chosen, word, devices_per_class, only):
    said.append(line)
    if say is not None:
      say(line)
  return '\n'.join(said)


def _lines(chosen, word, devices_per_class, only) -> Iterator[str]:
  config = chosen.config
  if 'method' not in config:
    raise ValueError(
      f'--plan={word}: config {config.recipe!r} is made of runs; plan one of a '
      'method, such as idc:cifar10'
    )
  found = _targets.target(word)
  built = build(chosen, found, devices_per_class)
  chip = found.chip or _this_machine()
  platform = found.chip.platform if found.chip else jax.default_backend()
  with traced_for(platform):
    picked = _picked(list(programs(built)), only)
  yield from _head(built, found, chip)
  measured = []
  for program in picked:
    with traced_for(platform):
      one = measure(program, found, drawn_turns(config.method))
    measured.append(one)
    yield from _program(built, one, chip, found)
  yield _sum(measured, found, chip, 'of these ' if only else '')


def _picked(all_of_them, only) -> list[Program]:
  """Those whose names begin as is said."""
  names = [p.name for p in all_of_them]
  for word in only:
    if not any(name.startswith(word) for name in names):
      raise ValueError(
        f'--programs: none begins with {word!r}; this run has '
        f'{", ".join(dict.fromkeys(names))}'
      )
  if not only:
    return all_of_them
  return [p for p in all_of_them if p.name.startswith(tuple(only))]


def build(chosen: Settings, found: Target, devices_per_class: int = 0) -> Built:
  """The objects of a run for a target, with black images where sizes are known.

  Args:
    chosen: the settings.
    found: the target; without devices, one of this machine's.
    devices_per_class: see `sharding.make_mesh`.
  """
  config = copy.deepcopy(chosen.config)
  spec = specs.parse('data', config.data)
  known = {
    n: v for n, v in spec.items() if n in ('size', 'grayscale', 'window')
  }
  dataset = data.blank(spec['name'], **known)
  if dataset is None:
    dataset = _build.load(config)
  elif config.zca != 'none':
    dataset = _whitened(dataset)
  config.zca = 'none'
  return _build.build(
    chosen._replace(config=config),
    dataset=dataset,
    devices_per_class=devices_per_class if found.devices else 0,
    devices=found.devices or jax.devices()[:1],
  )


def _whitened(dataset: Dataset) -> Dataset:
  """Black images of a set of the type that whitened ones have."""

  def floats(images):
    return np.broadcast_to(np.float32(0), images.shape)

  channels = dataset.image_shape[-1]
  return dataclasses.replace(
    dataset,
    images=floats(dataset.images),
    test_images=floats(dataset.test_images),
    mean=(0.0,) * channels,
    std=(1.0,) * channels,
    scale=1.0,
    value_range=(None, None),
  )


def measure(program: Program, found: Target, turns: float = 1) -> Measured:
  """Traces a program, and compiles it where its compiler is there.

  Args:
    program: what is measured.
    found: what it is measured for.
    turns: of loops whose length is drawn, on average.
  """
  options: dict[str, Any] = {}
  if program.places is not None:
    options['out_shardings'] = program.places
  jitted = jax.jit(program.function, donate_argnums=1, **options)
  if program.name.startswith('evaluate'):  # donates its state itself
    jitted = program.function
  traced = jitted.trace(*program.args)
  count = _flops.count(traced.jaxpr, turns)
  if not found.devices:
    traced.lower(lowering_platforms=(found.chip.platform,))
    return Measured(program, count, None, 0.0, _NOTHING, 0.0, found.problem)
  began = time.monotonic()
  try:
    with warnings.catch_warnings():
      # What was compiled for devices that are not here is compiled again.
      warnings.filterwarnings('ignore', 'Error reading persistent compilation')
      made = traced.lower().compile()
  except jax.errors.JaxRuntimeError as error:
    text = ' '.join(str(error).split())[:300]
    seconds = time.monotonic() - began
    return Measured(program, count, None, 0.0, _NOTHING, seconds, text)
  seconds = time.monotonic() - began
  bytes_ = made.memory_analysis()
  held = bytes_.argument_size_in_bytes + bytes_.output_size_in_bytes
  return Measured(
    program,
    count,
    held - bytes_.alias_size_in_bytes,
    bytes_.temp_size_in_bytes,
    _compiled.emitted(made.as_text()),
    seconds,
  )


def _head(built, found, chip) -> Iterator[str]:
  config = built.config
  yield (
    f'plan: {config.method.name} on {built.dataset.name}, ipc {config.ipc}, '
    f'{built.network.name}, for {found.name}: {found.count} device(s) of '
    f'{chip.memory / _GIB:.1f} GiB'
  )
  if not found.devices:
    yield (
      f'  not compiled, only lowered, and for one device: {found.problem} '
      "(the compilers come with pip install 'dcjax[targets]' for TPUs and "
      "'dcjax[cuda]' for GPUs)"
    )
  mesh = built.placement.mesh
  if mesh is not None:
    hosts = len({d.process_index for d in mesh.devices.flat})
    shape = ' x '.join(f'{n} {name}' for name, n in mesh.shape.items())
    yield f'  mesh {shape}, {hosts} host(s)'


def _sum(measured, found, chip, of) -> str:
  seconds = [_seconds(one, chip, found) for one in measured]
  total = sum(seconds)
  shares = ', '.join(
    f'{duration(s)} of {m.program.name}'
    for s, m in zip(seconds, measured, strict=True)
  )
  return (
    f'in all: {of}about {duration(total)} at {100 * UTILISATION:.0f} % of the '
    f'peak ({shares}), {total * found.count / 3600:.2f} device-hours'
  )


def _program(built, one, chip, found) -> Iterator[str]:
  program, count = one.program, one.count
  times = program.turns
  yield f'{program.name}: {program.calls} x {program.unit}'
  yield (
    f'  work: {times * count.flops:.3g} FLOP, {times * count.bytes:.3g} bytes '
    'read and written by products and convolutions, all devices together; '
    f'{_seconds(one, chip, found) / program.calls:.3g} s a call'
  )
  if one.held is None:
    if found.devices:
      yield f'  does not compile: {one.problem}'
      if 'RESOURCE_EXHAUSTED' in one.problem:
        yield f'  {_fitting.advice(built, program, chip)}'
    return
  needed = one.held + one.temporaries
  fits = 'fits' if needed <= chip.memory else 'does NOT fit'
  yield (
    f'  memory of a device: {needed / _GIB:.2f} GiB of '
    f'{chip.memory / _GIB:.1f} ({one.held / _GIB:.2f} held, '
    f'{one.temporaries / _GIB:.2f} temporary): {fits}'
  )
  more = (chip.memory - one.held) / max(one.temporaries, 1)
  yield (
    f'  {_fitting.advice(built, program, chip)}'
    if more < 1
    else f'  {_fitting.largest(built, program, more)}'
  )
  yield _made(one)
  if found.count > 1:
    yield from _talk(one)
  yield f'  compiled here in {duration(one.seconds)}'


def _made(one) -> str:
  """What the compiler made of a program."""
  made = one.emitted
  cycles = f', {made.cycles:.3g} cycles by its estimate' if made.cycles else ''
  return (
    f'  the compiler made of it: {made.flops:.3g} FLOP a device, '
    f'{made.kernels} operations, {made.copies} of them copies, '
    f'{made.convolutions} convolutions, {made.grouped} of them grouped{cycles}'
  )


def _talk(one) -> Iterator[str]:
  """The collectives of a program, the largest first."""
  said: dict[tuple[str, str], list[float]] = {}
  for spoken in one.emitted.spoken:
    entry = said.setdefault((spoken.kind, spoken.shapes), [0, 0])
    entry[0] += spoken.times
    entry[1] += spoken.times * spoken.bytes
  total = sum(size for _, size in said.values())
  yield f'  collectives: {total / 2**20:.2f} MiB a call and device'
  for (kind, shapes), (times, size) in sorted(
    said.items(), key=lambda entry: -entry[1][1]
  )[:8]:
    shown = shapes if len(shapes) < 60 else f'{shapes[:56]} ...'
    yield f'    {times} x {kind} {shown}: {size / 2**20:.3f} MiB'


def _seconds(one: Measured, chip: Chip, found: Target) -> float:
  """Of all calls: the slower of arithmetic and memory, and what is sent."""
  speed = found.count * UTILISATION
  slowest = max(
    one.count.flops / (speed * chip.flops),
    one.count.bytes / (speed * chip.bandwidth),
  )
  sent = sum(s.times * s.bytes for s in one.emitted.spoken) / chip.link
  return one.program.calls * (one.program.turns * slowest + sent)


def _this_machine() -> Chip:
  memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  speed, free = _watch.matmul_speed(), float('inf')
  return Chip(jax.default_backend(), memory, speed, free, free)
