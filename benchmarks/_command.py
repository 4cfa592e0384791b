"""What the benchmarks' command lines share: flags, heading, output."""

import datetime
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import sys
from collections.abc import Callable, Sequence
from typing import Any

import _harness
from _harness import Alternative, Case, Limits
from _problem import Problem, parse_counts, parse_shape, shape_name
from absl import app, flags

from dcjax.runs._artefact import processor

PYTORCH = 'PyTorch'
_TORCH_NAMES = {
  'lean': PYTORCH,
  'channels_last': f'{PYTORCH}, channels last',
  'backward': f'{PYTORCH}, backward()',
}
WITHOUT_TORCH = (
  'PyTorch is not installed, so its rows are missing: pip install torch'
)


def define_flags() -> None:
  """Defines the flags of every benchmark: how it is run, where it writes."""
  flags.DEFINE_integer('reps', 5, 'Timed steps of each.', lower_bound=1)
  flags.DEFINE_integer('threads', 2, 'CPUs of each; 0 for all.', lower_bound=0)
  flags.DEFINE_float('most_gib', 12.0, 'Memory of each, at most.')
  flags.DEFINE_float('most_seconds', 1800.0, 'Time of one step, at most.')
  flags.DEFINE_bool(
    'isolate',
    True,
    'A process for each. Without, peak memory and threads are shared.',
  )
  flags.DEFINE_string('out', '', 'Markdown file to write the table to.')


def define_step_flags(ipcs: Sequence[str], **defaults: int) -> None:
  """Defines the flags of a condensation step's sizes.

  Args:
    ipcs: default of `--ipc`.
    **defaults: name -> default of further whole numbers of `Problem`.
  """
  flags.DEFINE_list('width', ['32', '128'], 'Channels of the ConvNet.')
  flags.DEFINE_list('shapes', ['28x28x1', '32x32x3'], 'Image sizes.')
  flags.DEFINE_list('ipc', list(ipcs), 'Stored images of a class.')
  for name, value in defaults.items():
    flags.DEFINE_integer(name, value, f'{name} of the step.', lower_bound=0)
  flags.DEFINE_list(
    'conv_forms', ['auto'], 'Forms of convolution; see dcjax.networks.convolve.'
  )
  flags.DEFINE_list(
    'torch', ['lean'], f'Forms of the PyTorch step: {", ".join(_TORCH_NAMES)}.'
  )


def step_sizes() -> dict[str, Any]:
  """Reads what `define_step_flags` defines, as options of `step_report`."""
  values = flags.FLAGS
  return dict(
    widths=values.width,
    shapes=values.shapes,
    ipcs=values.ipc,
    torch_forms=values.torch,
    conv_forms=values.conv_forms,
    classes=values.classes,
    depth=values.depth,
    batch_real=values.batch_real,
  )


def limits() -> Limits:
  """Reads the flags of `define_flags`."""
  values = flags.FLAGS
  return Limits(**{name: values[name].value for name in Limits._fields})


def step_cases(
  make: Callable[..., Problem],
  *,
  widths: Sequence[str],
  shapes: Sequence[str],
  ipcs: Sequence[str],
  torch_forms: Sequence[str],
  threads: int,
  conv_forms: Sequence[str] = ('auto',),
  **sizes: int,
) -> list[Case]:
  """Makes the cases of a method's step: dcjax beside PyTorch.

  Args:
    make: `idc_problem` or the like.
    widths: of the ConvNet.
    shapes: `'28x28x1'`.
    ipcs: stored images of a class.
    torch_forms: of the PyTorch step; left out where PyTorch is missing.
    threads: of PyTorch.
    conv_forms: of dcjax, a row each.
    **sizes: further sizes of every problem.

  Raises:
    ValueError: naming the flag whose value is wrong.
  """
  for form in torch_forms:
    if form not in _TORCH_NAMES:
      raise ValueError(f'torch {form!r}: must be one of {list(_TORCH_NAMES)}')
  cases = []
  for width in parse_counts('width', widths):
    for shape in map(parse_shape, shapes):
      for ipc in parse_counts('ipc', ipcs):
        problem = make(width=width, image_shape=shape, ipc=ipc, **sizes)
        labels = (str(width), shape_name(shape), str(ipc))
        alternatives = step_alternatives(
          problem, torch_forms, threads, conv_forms
        )
        cases.append(Case(labels, alternatives))
  return cases


STEP_LABELS = ('width', 'images', 'ipc')


def step_alternatives(
  problem: Problem,
  torch_forms: Sequence[str],
  threads: int,
  conv_forms: Sequence[str] = ('auto',),
) -> list[Alternative]:
  """Returns dcjax's step and PyTorch's in the given forms."""
  found = [
    Alternative(
      'dcjax' if form == 'auto' else f'dcjax, {form}',
      '_dcjax_step',
      'step',
      problem.options(conv_form=form),
    )
    for form in conv_forms
  ]
  if not has_torch():
    return found
  return found + [
    Alternative(
      _TORCH_NAMES[form],
      '_torch_step',
      'step',
      problem.options(form=form, threads=threads),
    )
    for form in torch_forms
  ]


def step_report(
  make: Callable[..., Problem],
  what: str,
  limits: Limits,
  *,
  widths: Sequence[str],
  shapes: Sequence[str],
  ipcs: Sequence[str],
  torch_forms: Sequence[str],
  **sizes: int,
) -> str:
  """Measures a method's step and checks that both sides compute the same.

  Args:
    make: see `step_cases`, as for the other sizes.
    what: one sentence in front of the table.
    limits: see `Limits`.
    widths: see `step_cases`.
    shapes: see `step_cases`.
    ipcs: see `step_cases`.
    torch_forms: see `step_cases`.
    **sizes: see `step_cases`.

  Returns:
    Markdown.

  Raises:
    ValueError: if a size is wrong or the two sides disagree.
  """
  cases = step_cases(
    make,
    widths=widths,
    shapes=shapes,
    ipcs=ipcs,
    torch_forms=torch_forms,
    threads=limits.threads,
    **sizes,
  )
  # First: numbers of sides that disagree are worth nothing.
  agreement = check(cases, limits) if torch_forms else 'PyTorch: left out.'
  results = _harness.compare_cases(cases, limits)
  table = _harness.table(STEP_LABELS, results, reference=PYTORCH)
  return f'{what}\n\n{table}\n\n{agreement}'


def check(cases: Sequence[Case], limits: Limits) -> str:
  """Compares the losses of both sides, for the first ipc of each problem.

  Raises:
    ValueError: if a loss or an image gradient differs by more than allowed.
  """
  if not has_torch():
    return WITHOUT_TORCH
  lines, seen = [], set()
  for case in cases:
    if case.labels[:2] in seen:
      continue
    seen.add(case.labels[:2])
    problem = case.alternatives[0].options['problem']
    asked = Alternative('check', '_check', 'losses', {'problem': problem})
    lines.append(
      f'- width {case.labels[0]}, {case.labels[1]}: '
      + _agreement(_harness.facts_of(asked, limits))
    )
  return '\n'.join(
    ['Without augmentation, on the same weights and images:', '', *lines]
  )


# Relative, in float32, which differs by as much from float64.
TOLERANCE = {'difference': 1e-3, 'gradient_difference': 1e-2}


def _agreement(facts):
  text = (
    f'loss {facts["dcjax"]:.6g} (dcjax), {facts["torch"]:.6g} (PyTorch), '
    f'relative difference {facts["difference"]:.1e} (allowed '
    f'{TOLERANCE["difference"]:g}), of the image gradient '
    f'{facts["gradient_difference"]:.1e} (allowed '
    f'{TOLERANCE["gradient_difference"]:g})'
  )
  if not all(facts[name] <= most for name, most in TOLERANCE.items()):
    raise ValueError(f'the two sides disagree: {text}')
  return text


def has_torch() -> bool:
  """Whether PyTorch is installed; it is not imported here."""
  return importlib.util.find_spec('torch') is not None


def machine() -> str:
  """One line: date, processor, cores, load, versions."""
  packages = ['dcjax', 'jax', 'jaxlib', 'numpy', 'torch']
  load = f', load {os.getloadavg()[0]:.1f}' if hasattr(os, 'getloadavg') else ''
  return (
    f'{datetime.date.today().isoformat()}; {processor()}, {os.cpu_count()} '
    f'cores{load}; Python {platform.python_version()}, '
    + ', '.join(f'{name} {_version(name)}' for name in packages)
  )


def _version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'not installed'


def run(
  title: str, report: Callable[[], str], how: Callable[[], str] | None = None
) -> None:
  """Parses flags, prints the report under its heading, writes it to `--out`.

  What is wrong with a setting ends the program with one sentence.

  Args:
    title: of the report.
    report: makes it, after flags have been read.
    how: says how it was measured; in turns, unless told otherwise.
  """

  def main(argv):
    try:
      if len(argv) > 1:
        raise ValueError(f'argument {argv[1]!r}: only flags are taken')
      heading = f'## {title}\n\n{machine()}; {(how or _how)()}.\n\n'
      text = f'{heading}{report()}\n'
    except ValueError as error:
      sys.exit(f'error: {error}')
    print(text, end='')
    if flags.FLAGS.out:
      out = pathlib.Path(flags.FLAGS.out)
      out.parent.mkdir(parents=True, exist_ok=True)
      out.write_text(text, encoding='utf-8')

  app.run(main)


def _how():
  used = limits()
  threads = f'{used.threads} threads' if used.threads else 'all threads'
  place = 'a process each' if used.isolate else 'one process for all'
  return f'medians of {used.reps} steps in turns, {threads}, {place}'
