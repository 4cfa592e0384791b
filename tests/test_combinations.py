"""Any method condenses into any formation: runs that nobody published."""

import importlib.util
import pathlib

import jax
import numpy as np

import dcjax
from dcjax import formations, runs, trees
from dcjax.runs import command

DECODER = pathlib.Path(__file__).resolve().parent.parent / 'docs/decoder.py'


def _condensed(folder, method, **words):
  """The artefact of a command's words, and the numbers from start to end."""
  words = {'network': 'convnet:width=4:depth=1', **words}
  config = command.load_config(f'{method}:digits:size=8,smoke', words)
  made = runs.condensed(config, folder)
  start, end = (
    trees.load(folder / f'stages/{name}.npz') for name in ('start', 'condense')
  )
  return made, start, end


def _check(folder, made, start, end, *, sizes, changed):
  """Checks the numbers, and that NumPy alone decodes the file to its images.

  Args:
    folder: of the run.
    made: its artefact.
    start: the numbers before.
    end: those after.
    sizes: entry -> shape in the artefact.
    changed: entries that were condensed.
  """
  assert jax.tree.map(np.shape, dict(made.params)) == sizes
  for name in changed:
    assert np.isfinite(end[name]).all()
    assert abs(end[name] - start[name]).max() > 1e-4, name
  found = importlib.util.spec_from_file_location('d', DECODER)
  decoder = importlib.util.module_from_spec(found)
  found.loader.exec_module(decoder)
  images, labels, _ = decoder.read(folder / 'condensed.npz')
  # What a network saw of the numbers that were condensed.
  numbers = {n: v for n, v in end.items() if n != 'labels'}
  seen = formations.build(made.spec).decode(numbers).images
  np.testing.assert_allclose(images, seen, atol=1e-5)
  loaded = dcjax.load(folder / 'condensed.npz').batch()
  np.testing.assert_allclose(images, loaded.images, atol=1e-5)
  return images, labels


def test_trajectories_are_matched_by_four_crops_of_an_image(tmp_path):
  run = _condensed(tmp_path, 'mtt', factor='2', formation='uniform')
  assert run[0].spec['name'] == 'uniform' and run[0].spec['factor'] == 2
  sizes = {'images': (10, 1, 8, 8, 1), 'step_size': ()}
  images, labels = _check(tmp_path, *run, sizes=sizes, changed=('images',))
  assert images.shape == (10, 4, 8, 8, 1)
  np.testing.assert_array_equal(labels, np.arange(10)[:, None].repeat(4, 1))


def test_a_regression_is_condensed_into_four_bits(tmp_path):
  run = _condensed(tmp_path, 'kip', formation='quantised:bits=4')
  sizes = {'codes': (10, 1, 32), 'scales': (10, 1, 1), 'offsets': (10, 1, 1)}
  images, labels = _check(
    tmp_path, *run, sizes=sizes, changed=('images', 'labels')
  )
  for image in images.reshape(10, -1):
    assert 8 < len(np.unique(image)) <= 16
  np.testing.assert_array_equal(labels, run[2]['labels'])
  assert run[0].spec['labels'] == 'centred'
  stored = dcjax.artefact.storage(run[0])
  assert stored['images']['disk_bytes'] == 320
  assert stored['scales']['disk_bytes'] == 40


def test_an_unrolled_training_is_condensed_into_bases(tmp_path):
  run = _condensed(tmp_path, 'dd', formation='basis:count=4:size=4:tiles=2')
  sizes = {
    'bases': (4, 4, 4, 1),
    'coefficients': (10, 2, 4),
    'step_size': (2,),
  }
  images, _ = _check(tmp_path, *run, sizes=sizes, changed=sizes)
  assert images.shape == (10, 2, 8, 8, 1)
  # No more than the four bases span, and all of them.
  flat = np.float64(images.reshape(20, -1))
  assert np.linalg.matrix_rank(flat, tol=1e-4) == 4


def test_a_basis_is_condensed_in_four_bits(tmp_path):
  word = 'quantised:bits=4:inner=basis:count=4:size=4:tiles=2'
  made, _, _ = _condensed(tmp_path, 'dm', formation=word)
  stored = dcjax.artefact.storage(made)
  assert stored['bases']['disk_bytes'] == 4 * 16 // 2
  assert stored['coefficients']['disk_bytes'] == 10 * 2 * 4 // 2
  assert made.numpy()[0].shape == (20, 8, 8, 1)
