"""The benchmarks run at the smallest size and say what they should."""

import importlib
import importlib.util
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
import runner

from dcjax import networks
from dcjax.runs import _flops

_FOLDER = runner.EXPERIMENTS.parent / 'benchmarks'
_SMALL = {'classes': 2, 'depth': 2, 'batch_real': 4}
_STEPS = {'widths': ['2'], 'shapes': ['8x8x3'], 'ipcs': ['2'], **_SMALL}
# A side that needs no library and notes its turns in a file.
_FAKE = """
import os, pathlib, time
from _child import Prepared

def make(name, log, kind='sleep'):
  if kind == 'raises':
    raise ValueError('no such side')
  held = bytearray(400 * 2**20) if kind == 'heavy' else b''
  def step():
    with pathlib.Path(log).open('a') as file:
      file.write(name)
    if kind == 'dies':
      os._exit(3)
    if kind == 'sleep':
      time.sleep(0.05)
    until = time.process_time() + 0.2
    while kind == 'busy' and time.process_time() < until:
      pass
    print('noise on standard output')
    return float(len(held))
  return Prepared(step, {'kind': kind})
"""


def _module(name):
  if str(_FOLDER) not in sys.path:
    sys.path.insert(0, str(_FOLDER))
  return importlib.import_module(name)


def _inline(**changes):
  limits = _module('_harness').Limits(reps=1, threads=0, isolate=False)
  return limits._replace(**changes)


def _rows(table):
  """Cells of the table's rows, without its two heading lines."""
  lines = [line for line in table.splitlines() if line.startswith('| ')]
  return [line.strip('| ').split(' | ') for line in lines if '---' not in line][
    1:
  ]


@pytest.fixture
def compare(tmp_path, monkeypatch):
  """Runs fake sides in child processes; returns what was measured."""
  harness = _module('_harness')
  (tmp_path / 'fake_side.py').write_text(_FAKE)
  monkeypatch.setenv('PYTHONPATH', str(tmp_path))

  def run(kinds, **limits):
    alternatives = [
      harness.Alternative(
        name,
        'fake_side',
        'make',
        {'name': name, 'log': str(tmp_path / 'log'), 'kind': kind},
      )
      for name, kind in kinds.items()
    ]
    limits = harness.Limits(**{'reps': 2, 'threads': 1, **limits})
    return harness.compare(alternatives, limits)

  return run


def test_children_take_turns_and_have_their_own_numbers(compare, tmp_path):
  light, heavy = compare({'A': 'sleep', 'B': 'heavy'})
  assert (tmp_path / 'log').read_text() == 'ABABAB'  # One turn to warm up.
  assert len(light.wall) == len(light.cpu) == 2
  assert min(light.wall) >= 0.05 > max(light.cpu)
  assert heavy.peak_gib - light.peak_gib > 0.35
  assert (light.facts['kind'], heavy.facts['kind']) == ('sleep', 'heavy')


def test_cpu_seconds_are_those_of_the_child(compare):
  (busy,) = compare({'A': 'busy'}, reps=1)
  assert 0.2 <= busy.cpu_median < 0.3 and busy.wall_median >= 0.19


@pytest.mark.parametrize(
  ('kind', 'limits', 'expected'),
  [
    ('raises', {}, 'ValueError: no such side'),
    ('dies', {}, 'ended early'),
    ('heavy', {'most_gib': 0.2}, 'more than 0.2 GiB'),
    ('busy', {'most_seconds': 0.1}, 'more than 0.1 s'),
  ],
)
def test_a_child_that_fails_is_reported_and_the_rest_goes_on(
  compare, kind, limits, expected
):
  # Sleeping sides are quick enough for every limit.
  failed, other = compare({'A': kind, 'B': 'quick'}, **limits)
  assert failed.failure.startswith(expected)
  assert failed.wall_median != failed.wall_median
  if 'most_seconds' not in limits:
    assert not other.failure and len(other.wall) == 2
    harness = _module('_harness')
    case = harness.Case(('x',), [])
    table = harness.table(['case'], [(case, [failed, other])], reference='B')
    assert failed.failure in _rows(table)[0]


def test_median_and_ratios():
  harness = _module('_harness')
  assert harness.median([3.0, 1.0, 2.0]) == 2.0
  assert harness.median([1.0, 2.0]) == 1.5
  base = harness.Measured('base', [4.0], [2.0], 1.0, {})
  other = harness.Measured('other', [1.0], [1.5], 1.0, {'compile_seconds': 7})
  case = harness.Case(('x',), [])
  rows = _rows(
    harness.table(['case'], [(case, [other, base])], reference='base')
  )
  assert rows[0] == ['x', 'other', '1', '1.5', '7', '1.00', '0.25', '0.75']
  assert rows[1] == ['x', 'base', '4', '2', '—', '1.00', '1.00', '1.00']


def test_flops_are_counted_with_loops_multiplied_out():
  count = _flops.count_flops
  a, b = jnp.ones((3, 4)), jnp.ones((4, 5))
  assert count(jax.make_jaxpr(jnp.dot)(a, b)) == 2 * 3 * 4 * 5

  def loop(a):
    return jax.lax.scan(lambda x, _: (x @ b @ b.T, None), a, length=7)[0]

  assert count(jax.make_jaxpr(jax.jit(loop))(a)) == 7 * 2 * 2 * 3 * 4 * 5

  def branches(a):
    return jax.lax.cond(a[0, 0] > 0, lambda: a @ b @ b.T, lambda: a)

  assert count(jax.make_jaxpr(branches)(a)) == 2 * 2 * 3 * 4 * 5


def test_flops_of_second_derivatives_leave_out_what_is_only_padding():
  images, kernel = jnp.ones((4, 16, 16, 8)), jnp.ones((3, 3, 8, 8))

  def convolved(images, kernel):
    return networks.convolve(images, kernel, padding=1, form='lax')

  def gradient(images, kernel):
    return jax.grad(lambda k: jnp.sum(convolved(images, k) ** 2))(kernel)

  def second(images, kernel):
    return jax.grad(lambda x: jnp.sum(gradient(x, kernel) ** 2))(images)

  def work(function):
    return _flops.count_flops(jax.jit(function).trace(images, kernel).jaxpr)

  assert work(second) == 5 * work(convolved)


def test_flops_of_a_sharded_body_are_those_of_all_devices():
  mesh = jax.sharding.AbstractMesh(
    (4, 2), ('class', 'data'), axis_types=(jax.sharding.AxisType.Auto,) * 2
  )
  split = jax.sharding.PartitionSpec('class')
  product = jax.shard_map(
    lambda x: x @ jnp.ones((3, 5)),
    mesh=mesh,
    in_specs=split,
    out_specs=split,
    axis_names={'class'},
    check_vma=False,
  )
  traced = jax.make_jaxpr(product)(jax.ShapeDtypeStruct((8, 3), jnp.float32))
  assert _flops.count_flops(traced) == 2 * 8 * 3 * 5


@pytest.mark.parametrize('form', ['lax', 'patches', 'hybrid'])
def test_flops_of_a_convolution_do_not_depend_on_its_form(form):
  convolve = importlib.import_module('dcjax.networks').convolve
  # Not three channels, which CPUs fill up.
  images, kernel = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 5))
  traced = jax.make_jaxpr(lambda x, k: convolve(x, k, padding=1, form=form))(
    images, kernel
  )
  expected = 2 * (2 * 8 * 8 * 5) * (3 * 3 * 4)
  assert _flops.count_flops(traced) == expected


@pytest.mark.parametrize(
  ('name', 'sizes'),
  [
    ('idc_step', {'factor': 2, 'network_batches': 1}),
    ('dc_step', {'epochs': 1}),
    ('dm_step', {}),
  ],
)
def test_both_sides_compute_the_same_step(name, sizes):
  pytest.importorskip('torch')
  text = _module(name).report(
    _inline(), torch_forms=['lean', 'backward'], **sizes, **_STEPS
  )
  names = [row[3] for row in _rows(text)]
  assert names == ['dcjax', 'PyTorch', 'PyTorch, backward()']
  assert all(float(row[4]) > 0 and float(row[8]) > 0 for row in _rows(text))
  assert 'relative difference' in text


def _time_to_accuracy(workdir, accuracy, steps, dm_steps=(), **changes):
  return _module('time_to_accuracy').report(
    'digits,ipc=1,factor=2,network=convnet:width=2:depth=1',
    workdir,
    accuracy=accuracy,
    steps=steps,
    dm_steps=dm_steps,
    threads=0,
    seeds=1,
    changes={
      'method.inner_steps': 1,
      'augment.family': 'none',
      'evaluation.epochs': 4,
      **changes,
    },
  )


def test_time_to_accuracy_makes_a_try_once(tmp_path, monkeypatch):
  race = _module('time_to_accuracy')

  def here(program, place):
    _module(program.removesuffix('.py')).main(str(place))

  monkeypatch.setattr(race, '_run', here)  # a process each takes its time
  has_torch = importlib.util.find_spec('torch') is not None
  names = ['(a) PyTorch, published', '(b) PyTorch, short'] * has_torch
  text = _time_to_accuracy(tmp_path, 100.0, ['1'], ['2'])
  rows = _rows(text)
  names += ['(c) dcjax, short', '(d) dcjax, DM by a kernel']
  assert [row[0] for row in rows] == names
  assert [row[1] for row in rows] == ['1'] * (len(names) - 1) + ['2']
  assert all(float(row[2]) > 0 and float(row[3]) > 0 for row in rows)
  assert text.count('was not reached by') == len(names)
  # It is kept: another mark only draws another page.
  monkeypatch.setattr(race, '_run', None)
  again = _rows(_time_to_accuracy(tmp_path, 0.0, ['1'], ['2']))
  assert [r[:4] for r in again] == [r[:4] for r in rows]
  assert all('(reached)' in row[4] for row in again)
  with pytest.raises(ValueError, match='a try with other settings'):
    _time_to_accuracy(tmp_path, 0.0, ['1'], ['2'], seed=1)


def test_time_to_accuracy_ends_where_the_accuracy_is_reached(monkeypatch):
  race = _module('time_to_accuracy')
  made = []

  def tried(side, place, arguments, length, common, threads):
    made.append((side.name[1], length))
    slow = 10 if side.torch else 1
    worth = 40 if 'short' in side.name and side.torch else 40 + length
    return race.Try(length, slow * length, 2 * slow * length, worth, 0.5)

  monkeypatch.setattr(race, '_tried', tried)
  monkeypatch.setattr(race._command, 'has_torch', lambda: True)
  text = race.report('digits', 'none', accuracy=42, steps=['4', '1', '2'])
  assert made[:-1] == [(side, steps) for steps in (1, 2) for side in 'abcd']
  assert made[-1] == ('b', 4)  # the one that has not reached it by then
  assert '(a) PyTorch, published over (c) dcjax, short, to 42: 10.0' in text
  assert '(b) PyTorch, short over (c) dcjax, short, to 42: more than' in text
  assert 'not reached by: (b) PyTorch, short.' in text
  with pytest.raises(ValueError, match="steps 'x'"):
    race.report('digits', 'none', accuracy=42, steps=['x'])
  made.clear()
  race.report('digits', 'none', accuracy=42, steps=['1'], only=['d', 'a'])
  assert made == [('a', 1), ('d', 1)]
  with pytest.raises(ValueError, match=r"only \['e'\]: must be some of"):
    race.report('digits', 'none', accuracy=42, steps=['1'], only=['e'])


def test_sides_that_disagree_are_an_error():
  command = _module('_command')
  facts = {'dcjax': 1.1, 'torch': 1.0, 'difference': 0.1}
  with pytest.raises(ValueError, match='the two sides disagree'):
    command._agreement({**facts, 'gradient_difference': 0.0})


def test_without_torch_its_rows_are_missing_and_named(monkeypatch):
  monkeypatch.setattr(_module('_command'), 'has_torch', lambda: False)
  text = _module('dm_step').report(_inline(), torch_forms=['lean'], **_STEPS)
  assert [row[3] for row in _rows(text)] == ['dcjax']
  assert 'pip install torch' in text


def test_evaluation_times_networks_at_once_and_in_turn():
  has_torch = importlib.util.find_spec('torch') is not None
  text = _module('evaluation').report(
    _inline(),
    networks=['2'],
    widths=['2'],
    shape='8x8x3',
    epochs=1,
    ipc=2,
    classes=2,
    depth=2,
  )
  sides = ['dcjax, scan', 'dcjax, vmap', *['PyTorch, loop'] * has_torch]
  assert [(row[0], row[3]) for row in _rows(text)] == [
    ('2', side) for side in sides
  ]


def test_scaling_sets_growth_beside_that_of_the_value():
  text = _module('scaling').report(
    _inline(),
    values={
      'classes': ['2', '4'],
      'ipc': ['1'],
      'factor': ['1'],
      'size': ['8'],
    },
    vary=['classes'],
    strategies=['2'],
    channels=1,
    width=2,
    depth=2,
    batch_real=4,
    network_batches=1,
  )
  rows = _rows(text)
  assert [row[1:4] for row in rows] == [
    ['2', '1.0', 'chunks of 2'],
    ['4', '2.0', 'chunks of 2'],
  ]
  assert rows[0][-2] == rows[0][-1] == '1.0'


def test_utilisation_is_a_fraction_of_a_measured_peak():
  text = _module('utilisation').report(
    _inline(),
    widths=['2'],
    shapes=['8x8x1'],
    matmul_size=64,
    copy_mib=1,
    ipc=1,
    network_batches=1,
    **_SMALL,
  )
  step, product, copied = _rows(text)
  assert [row[2] for row in (step, product, copied)] == [
    'IDC step',
    'matrix product',
    'copy',
  ]
  assert product[4] == '0.000524' and product[7] == '100%'
  # The compiler may leave work out or count a loop once; shapes never less.
  assert float(step[4]) > 0 and float(step[8]) > 0


def test_gpu_script_runs_on_the_cpu():
  device = _module('gpu').torch_device()
  text = _module('gpu').report(
    _inline(),
    precisions=['bfloat16'],
    strategies=['vmap'],
    conv_forms=['hybrid'],
    shape='8x8x3',
    device=device,
    matmul_size=64,
    width=2,
    ipc=1,
    network_batches=1,
    **_SMALL,
  )
  rows = _rows(text)
  sides = ['dcjax, vmap, hybrid', *['PyTorch'] * bool(device), 'matrix product']
  assert [row[1] for row in rows] == sides
  assert all(row[2][0].isdigit() for row in rows)


# A quick start that takes no time, and fails for the arguments `broken`.
_QUICK_START = """
import os, pathlib, sys, time
config, workdir = (word.partition('=')[2] for word in sys.argv[1:])
cache = pathlib.Path(os.environ['JAX_COMPILATION_CACHE_DIR'])
if config.endswith('broken'):
  sys.exit('error: broken')
print('compiled in 1 s', flush=True)
time.sleep(0.0 if cache.exists() else 0.8)
cache.mkdir(exist_ok=True)
pathlib.Path(workdir).mkdir()
(pathlib.Path(workdir) / 'metrics.jsonl').write_text('{}')
time.sleep(0.3)
"""


def test_startup_tells_cold_from_warm(tmp_path, monkeypatch):
  startup = _module('startup')
  (tmp_path / 'experiments').mkdir()
  (tmp_path / 'experiments' / 'run.py').write_text(_QUICK_START)
  monkeypatch.setattr(startup, '_ROOT', tmp_path)
  cold, warm = _rows(startup.report(reps=1))
  assert (cold[0], warm[0]) == ('cold', 'warm')
  for row in (cold, warm):
    compiled, first, end, _ = map(float, row[1:])
    assert compiled <= first < end
  assert float(cold[2]) - float(cold[1]) > 0.5
  with pytest.raises(ValueError, match='failed: error: broken'):
    startup.report(reps=1, arguments='broken')


# What answers instead of `--plan`: a page, a failure, or nothing in time, or
# the page but for its last program.
_PLANS = """
import pathlib, sys, time
config, target, *only = (word.partition('=')[2] for word in sys.argv[1:])
with open(pathlib.Path(__file__).parent / 'calls', 'a') as file:
  print(config, target, *only, file=file)
if config == 'broken':
  sys.exit('error: broken')
page = pathlib.Path(__file__).with_name('page').read_text()
page = page.replace('h100', target)
if config == 'half':
  print(page[: page.index('evaluate: ')], end='', flush=True)
time.sleep(60 if config in ('slow', 'half') else 0)
print(page, end='')
"""


def test_plans_are_tabulated_and_kept(tmp_path, monkeypatch):
  targets = _module('targets')
  folder = tmp_path / 'experiments'
  folder.mkdir()
  (folder / 'run.py').write_text(_PLANS)
  pods = pathlib.Path(targets.__file__).parents[1] / 'docs' / 'pods.md'
  printed = pods.read_text(encoding='utf-8').split('```')
  one, several = (t.lstrip() for t in printed if t.startswith('\nplan: '))
  first, *rest = several.splitlines()
  works = [line for line in rest if re.match(r'\w|  work:', line)]
  told = '  not compiled, only lowered, and for one device: no libtpu'
  lowered = '\n'.join([first, told, *works])
  (folder / 'page').write_text(one)
  monkeypatch.setattr(targets, '_ROOT', tmp_path)

  def rows(*runs, target='h100', **more):
    options = dict(kept=str(tmp_path / 'plans'), seconds=2.0, **more)
    return _rows(targets.report(runs=runs, targets=[target], **options))

  condense, evaluate = rows('idc')
  assert condense == [
    '`idc`',
    'condense (outer iteration of 100 steps)',
    'h100',
    '56 s',
    '0.15 + 1.48',
    '1.18e+14',
    'none',
    '359224 (19500)',
    '26 (6)',
    '1.08e+14',
  ]
  assert evaluate[1].startswith('evaluate (') and evaluate[5] == '4.1e+14'
  assert rows('idc') == [condense, evaluate]
  assert (folder / 'calls').read_text() == 'idc h100\n'  # not made again
  ((_, _, _, problem, *_),) = rows('broken')
  assert problem == 'error: broken'
  ((_, _, _, problem, *_),) = rows('slow')
  assert problem == 'not within 2 s'
  made, (_, _, _, problem, *_) = rows('half')
  assert made[1:] == condense[1:] and problem == 'not within 2 s'
  assert rows('idc', programs=['condense', 'pool'])[0] == condense
  assert (folder / 'calls').read_text().endswith('idc h100 condense,pool\n')
  (folder / 'page').write_text(lowered)
  for _ in range(2):  # the compiler may be installed meanwhile
    found = rows('idc', target='v5e:4x8')
    assert [row[3] for row in found] == 3 * ['only lowered']
  assert (folder / 'calls').read_text().count('idc v5e:4x8\n') == 2
  full = one.replace(': fits', ': does NOT fit')
  assert '0.15 + 1.48, too much' in next(targets.rows(full))
  observed = one.replace('condense: ', 'observers/resnet18:norm=batch: ')
  assert next(targets.rows(observed))[0] == (
    'observers/resnet18:norm=batch (outer iteration of 100 steps)'
  )
  with pytest.raises(ValueError, match='must be of --plan'):
    next(targets.rows('condensing: 1/8 outer'))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'widths': ['x']}, "width 'x': must be whole numbers >= 1"),
    ({'shapes': ['8x8']}, "shape '8x8': must be ROWSxCOLUMNSxCHANNELS"),
    ({'torch_forms': ['fast']}, r"torch 'fast': must be one of \['lean'"),
  ],
)
def test_bad_sizes_name_the_flag(changes, message):
  options = {'torch_forms': ['lean'], **_STEPS, **changes}
  with pytest.raises(ValueError, match=message):
    _module('dm_step').report(_inline(), **options)


def test_unknown_variables_strategies_and_precisions_are_errors():
  sizes = {'values': {}, 'strategies': ['scan'], 'channels': 1}
  with pytest.raises(ValueError, match="vary 'colour': must be one of"):
    _module('scaling').report(_inline(), vary=['colour'], **sizes)
  sizes['strategies'] = ['loop']
  with pytest.raises(ValueError, match="class strategy 'loop': must be"):
    _module('scaling').report(_inline(), vary=[], **sizes)
  with pytest.raises(ValueError, match="precisions 'float8': must be one of"):
    _module('gpu').report(
      _inline(),
      precisions=['float8'],
      strategies=[],
      conv_forms=[],
      shape='8x8x3',
      device='',
      matmul_size=1,
    )


def _command_line(script, *flags):
  return subprocess.run(
    [sys.executable, str(_FOLDER / script), *flags],
    capture_output=True,
    text=True,
    timeout=300,
  )


def test_command_line_writes_the_table(tmp_path):
  out = tmp_path / 'tables' / 'dm.md'
  result = _command_line(
    'dm_step.py',
    *('--width=2', '--shapes=8x8x3', '--ipc=1', '--classes=2', '--depth=2'),
    *('--batch_real=4', '--reps=1', '--torch=', f'--out={out}'),
  )
  assert result.returncode == 0, result.stderr
  assert out.read_text() == result.stdout
  assert '1 steps in turns, 2 threads, a process each' in result.stdout
  (row,) = _rows(result.stdout)
  assert row[3] == 'dcjax' and 0.05 < float(row[7]) < 2


def test_command_line_ends_with_one_sentence_if_a_flag_is_wrong():
  result = _command_line('idc_step.py', '--width=wide')
  assert result.returncode == 1 and not result.stdout
  expected = "error: width 'wide': must be whole numbers >= 1\n"
  assert result.stderr == expected


def test_equal_seconds_makes_as_many_iterations_as_fit(tmp_path, monkeypatch):
  race = _module('equal_seconds')
  words = 'digits,ipc=1,network=convnet:width=2:depth=1'
  changes = {
    'method.inner_steps': 1,
    'augment.family': 'none',
    'evaluation.seeds': 2,
    'evaluation.epochs': 4,
  }

  def measured(minutes, methods=('DM',)):
    return race.measure(
      words, tmp_path, minutes=minutes, methods=methods, changes=changes
    )

  budget = race.Budget(5.0, 25.0)  # 2 fit into one minute, 4 into two
  probed = race._probed
  monkeypatch.setattr(race, '_probed', lambda *_: budget)
  found = measured(['2', '1'])
  assert [p.seconds > 5 for p in found['DM']] == [False, True, True]
  results = runner.results(tmp_path / 'DM' / 'run')
  assert [c['outer'] for c in results['checkpoints']] == [0, 2, 4]
  assert results['storage']['images']['disk_bytes'] == 10 * 16 * 16  # 8 bits
  start, _, last = found['DM']
  assert _rows(race.table({'DM': [start, last]}, [1]))[0] == [
    'DM',
    f'{start.mean:.1f}',
    f'{last.mean:.1f} ± {last.std:.1f}',
  ]
  drawn = race.plot(found, 'digits')
  assert list(drawn.series[0].x) == [p.seconds for p in found['DM'][1:]]
  monkeypatch.setattr(race, '_probed', lambda *_: race.Budget(50.0, 25.0))
  with pytest.raises(ValueError, match='minutes 1: DM needs 50 s and 25 s'):
    measured(['1'])
  with pytest.raises(ValueError, match=r"only \['DD'\]: must be some of"):
    measured(['1'], ['DD'])
  monkeypatch.setattr(race, '_probed', probed)
  place = tmp_path / 'probed'
  timed = race._probed(place, 'DM', words, changes)
  assert timed.before >= 0
  assert timed.outer > 0
  assert timed == race._probed(place, 'DM', words, changes)


def test_equal_seconds_keeps_curves_and_draws_all_of_them(tmp_path, capsys):
  race, records = _module('equal_seconds'), _module('_race_records')
  path = tmp_path / 'seconds' / 'digits-1.json'
  settings = {'minutes': [1, 2], 'threads': 1}
  points = [records.Point(0, 10, 0), records.Point(60.5, 20.26, 1.5)]
  made = {'machine': 'a laptop', 'commit': 'abc'}
  for name in ('DM', 'IDC'):
    records.add(path, name, records.Curve(points, settings, made))
  other = {**settings, 'threads': 2}
  records.add(path, 'IDC', records.Curve(points, other, made))
  found = records.read(path)
  assert found['DM'] == records.Curve(points, settings, made)
  kept = race.recorded(path, found, ['DM', 'IDC', 'MTT'], settings)
  assert kept == {'DM': points}
  assert 'IDC was made with other threads' in capsys.readouterr().err
  page = tmp_path / 'page.md'
  records.draw(path.parent, page)
  text = page.read_text()
  assert '## digits, 1 stored image a class' in text
  assert '](seconds/digits-1.svg)' in text
  assert _rows(text)[0] == ['DM', '10.0', '20.3 ± 1.5', '20.3 ± 1.5']
  assert path.with_suffix('.svg').read_text().startswith('<svg')
  assert records.read(tmp_path / 'none.json') == {}
  path.write_text('{"DM": {}}')
  with pytest.raises(ValueError, match=r'digits-1\.json: is no file of curves'):
    records.read(path)
