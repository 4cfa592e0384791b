"""Several devices: equal results, few collectives, data in place."""

import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
import runner

from dcjax import sharding

# Each brings something of its own; the others are combinations of these.
_CASES = ('idc', 'idc uneven', 'dc', 'dm', 'dm uneven', 'cafe', 'ridge', 'edc')
_FURTHER = (
  'idc few classes',
  'idc shared',
  'dm batch norm',
  'feature',
  'second_order',
)
_IN_TWO = ('idc uneven', 'cafe')
_FURTHER_IN_TWO = ('dc', 'dm uneven', 'feature', 'second_order', 'ridge')


_HERE = pathlib.Path(__file__).parent


def _start(*args):
  return subprocess.Popen(
    [sys.executable, str(_HERE / 'sharded_cases.py'), *map(str, args)],
    cwd=_HERE,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def _finish(processes, file):
  for process in processes:
    _, said = process.communicate(timeout=900)
    assert process.returncode == 0, said[-3000:]
  with np.load(file) as stored:
    return dict(stored)


def _of_eight(folder, cases):
  file = folder / 'results.npz'
  return _finish([_start(file, '+'.join(cases))], file)


def _of_two(folder, cases):
  file, port = folder / 'results.npz', runner.free_port()
  cases = '+'.join(cases)
  return _finish([_start(file, cases, port, index) for index in range(2)], file)


@pytest.fixture(scope='module')
def results(tmp_path_factory):
  """What `sharded_cases.py` records, run on eight virtual devices."""
  return _of_eight(tmp_path_factory.mktemp('sharding'), (*_CASES, 'evaluation'))


def _sides(results, name):
  prefix = f'{name}/alone/'
  alone = {
    k.removeprefix(prefix): v
    for k, v in results.items()
    if k.startswith(prefix)
  }
  return alone, {k: results[f'{name}/shared/{k}'] for k in alone}


def _check_eight(results, name):
  """Stored numbers and every metric, after two periods."""
  alone, shared = _sides(results, name)
  assert any('loss' in k for k in alone)
  assert any('images' in k for k in alone)
  for key, expected in alone.items():
    np.testing.assert_allclose(
      shared[key], expected, rtol=2e-5, atol=2e-4, err_msg=key
    )


@pytest.mark.parametrize('name', _CASES)
def test_sharded_equals_unsharded(results, name):
  _check_eight(results, name)


@pytest.mark.slow
def test_further_methods_sharded_equal_unsharded(tmp_path):
  results = _of_eight(tmp_path, _FURTHER)
  for name in _FURTHER:
    _check_eight(results, name)
  # Four devices share the images of a class: stored ones and the gradients of
  # networks travel, and no activations (decoded images are 2 x 4 x 8 x 8 x 1).
  found = [str(c) for c in results['idc shared/collectives']]
  assert any(c.startswith('all-reduce (f32[1,4]') for c in found)
  gathered = [re.findall(r'f32\[([\d,]+)\]', c) for c in found if 'gather' in c]
  for shapes in gathered:
    for shape in shapes:
      assert np.prod([int(n) for n in shape.split(',')]) <= 2 * 2 * 64, shape


def _check_two(results, of_two, name):
  """Stored numbers and every metric, after two periods."""
  alone, _ = _sides(results, name)
  for key, expected in alone.items():
    np.testing.assert_allclose(
      of_two[f'{name}/shared/{key}'],
      expected,
      rtol=2e-5,
      atol=2e-4,
      err_msg=f'{name} {key}',
    )


def test_two_processes_equal_one_device(results, tmp_path):
  of_two = _of_two(tmp_path, _IN_TWO)
  for name in _IN_TWO:
    _check_two(results, of_two, name)


@pytest.mark.slow
def test_further_methods_in_two_processes_equal_one_device(tmp_path):
  (tmp_path / 'two').mkdir()
  results = _of_eight(tmp_path, _FURTHER_IN_TWO)
  of_two = _of_two(tmp_path / 'two', _FURTHER_IN_TWO)
  for name in _FURTHER_IN_TWO:
    _check_two(results, of_two, name)


def test_evaluation_spread_over_devices_is_the_same(results):
  alone, shared = _sides(results, 'evaluation')
  assert alone['accuracy'].shape == (3, 3)
  np.testing.assert_array_equal(shared['accuracy'], alone['accuracy'])
  np.testing.assert_allclose(shared['loss'], alone['loss'], rtol=1e-5)


def _collectives(results, name):
  """Kinds of collectives of a step, without draws of a batch's positions.

  Those are a few integers, which the partitioner spreads and gathers again.
  """
  return sorted(
    str(c).split()[0]
    for c in results[f'{name}/collectives']
    if not re.fullmatch(r'all-gather s32\[\d+,2\]\S*', str(c))
  )


@pytest.mark.parametrize(
  ('name', 'expected'),
  [
    # The loss, for the metrics: the images stay where their class is.
    ('dm', ['all-reduce']),
    # A batch of real images, the network's gradient, the loss.
    ('idc', ['all-reduce'] * 3),
    # Classes that do not divide evenly: everybody needs all gradients.
    ('dm uneven', ['all-gather', 'all-gather']),
    ('idc uneven', ['all-gather', 'all-gather', 'all-reduce', 'all-reduce']),
  ],
)
def test_devices_speak_only_where_they_must(results, name, expected):
  assert _collectives(results, name) == expected


def test_gradients_of_stored_images_travel_not_of_decoded_ones(results):
  found = [str(c) for c in results['idc uneven/collectives']]
  gathered = [c for c in found if c.startswith('all-gather f32')]
  shapes = [
    [int(n) for n in re.search(r'f32\[([\d,]+)\]', c)[1].split(',')]
    for c in gathered
  ]
  # Ten classes take sixteen places; each holds two images of four tiles.
  assert [16, 2, 8, 8, 1] in shapes
  assert all(np.prod(shape) <= 16 * 2 * 64 for shape in shapes)


def test_a_batch_travels_as_bytes_and_gradients_in_one_piece(results):
  found = [str(c) for c in results['idc/collectives']]
  assert sum(c.startswith('all-reduce u8[16,8,8,1]') for c in found) == 1
  assert sum(c.startswith('all-reduce (f32[8]') for c in found) == 1


def test_images_of_a_synthesis_stay_where_they_are(results):
  """Only statistics of layers, at most one number for each class, travel."""
  found = [str(c) for c in results['edc/collectives']]
  assert found
  for collective in found:
    assert collective.startswith('all-reduce ')
    sizes = re.findall(r'f32\[([\d,]*)\]', collective)
    assert all(int(size or 1) <= 8 for size in sizes), collective


@pytest.mark.parametrize(
  ('lead', 'expected'),
  [
    ((4, 3), (('class', 'data'),)),
    ((1, 8), (None, ('class', 'data'))),
    ((2, 6), ('class', 'data')),
    ((3, 4), ()),  # twelve images, but rows of four
    ((1, 6), ()),
  ],
)
def test_image_batches_lie_like_the_flat_list_of_them(lead, expected):
  mesh = jax.sharding.AbstractMesh((2, 2), ('class', 'data'))
  shapes = {
    'images': jax.ShapeDtypeStruct((*lead, 8, 8, 1), np.float32),
    'mean': jax.ShapeDtypeStruct(lead, np.float32),
  }
  found = sharding.image_batch_shardings(mesh, shapes, lead)
  assert tuple(found['images'].spec) == expected
  assert found['mean'].is_fully_replicated


class _Fake:
  """As much of a device as `make_mesh` looks at before it makes a mesh."""


@pytest.mark.parametrize(
  ('devices', 'num_classes', 'data', 'expected'),
  [
    (8, 10, 0, (8, 1)),
    (8, 3, 0, (2, 4)),
    (8, 1, 0, (1, 8)),
    (6, 4, 0, (3, 2)),
    (8, 10, 2, (4, 2)),
    (1, 10, 0, (1, 1)),
  ],
)
def test_mesh_shape(monkeypatch, devices, num_classes, data, expected):
  made = []
  monkeypatch.setattr(
    jax, 'make_mesh', lambda shape, names, **options: made.append(shape)
  )
  fakes = [_Fake() for _ in range(devices)]
  sharding.make_mesh(num_classes, data, fakes)
  assert made == [expected]


@pytest.mark.parametrize('data', [3, -1, 16])
def test_devices_that_do_not_divide(data):
  with pytest.raises(ValueError, match=rf'{data}: must be a divisor of 8'):
    sharding.make_mesh(10, data, [_Fake() for _ in range(8)])


@pytest.mark.parametrize(
  ('place', 'message'),
  [
    (('127.0.0.1:1', None, 0), "coordinator '127.0.0.1:1', processes None"),
    ((None, 2, None), 'give all three, or none'),
    (('127.0.0.1:1', 2, 2), r'process 2: must be in 0\.\.1'),
  ],
)
def test_bad_process_numbers(place, message):
  with pytest.raises(ValueError, match=message):
    sharding.start_processes(*place)


def test_one_process_agrees_with_itself():
  assert sharding.is_main()
  assert sharding.agree(True) and not sharding.agree(False)
  sharding.barrier('alone')


def test_reading_back_needs_no_mesh():
  tree = {'a': jax.numpy.arange(3), 'b': np.ones(2)}
  read = sharding.to_host(tree)
  assert all(isinstance(leaf, np.ndarray) for leaf in read.values())
  np.testing.assert_array_equal(read['a'], [0, 1, 2])
