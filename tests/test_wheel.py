"""The installed package: what a wheel holds, and that it runs anywhere."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import setuptools
from PIL import Image
from published import random_images

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_FILES = ('dcjax', 'pyproject.toml', 'README.md', 'LICENSE')
_LEAST = 77  # as pyproject.toml asks for

pytestmark = pytest.mark.skipif(
  int(setuptools.__version__.partition('.')[0]) < _LEAST,
  reason=f'building needs setuptools {_LEAST}',
)


def _clone(folder):
  """A copy of the clone, as building leaves files behind."""
  folder.mkdir(parents=True)
  for name in _FILES:
    copy = shutil.copytree if (_ROOT / name).is_dir() else shutil.copy
    copy(_ROOT / name, folder / name)
  return folder


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """The folder that a wheel was installed into, and the wheel."""
  place = tmp_path_factory.mktemp('wheel')
  pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
  clone = _clone(place / 'clone')
  build = ['wheel', '.', '--no-deps', '--no-build-isolation', '-w', place]
  subprocess.run([*pip, *build], cwd=clone, check=True, capture_output=True)
  (wheel,) = place.glob('dcjax-*.whl')
  target = place / 'site'
  install = ['install', '--no-deps', '--no-index', '--target', target, wheel]
  subprocess.run([*pip, *install], check=True, capture_output=True)
  return target, wheel


def _python(target, folder, *words, **options):
  """Starts Python outside of the clone, with the installed package."""
  return subprocess.Popen(
    [sys.executable, *map(str, words)],
    cwd=folder,
    env={**os.environ, 'PYTHONPATH': str(target)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    **options,
  )


def _run(target, folder, *words):
  process = _python(target, folder, *words)
  out, err = process.communicate(timeout=600)
  assert process.returncode == 0, err
  return out


def test_a_wheel_holds_all_modules_and_that_types_are_known(installed):
  _, wheel = installed
  with zipfile.ZipFile(wheel) as file:
    held = set(file.namelist())
    text = file.read(next(n for n in held if n.endswith('entry_points.txt')))
  modules = {
    str(path.relative_to(_ROOT)) for path in (_ROOT / 'dcjax').rglob('*.py')
  }
  assert {n for n in held if n.endswith('.py')} == modules
  assert 'dcjax/py.typed' in held
  assert 'dcjax/runs/configs/idc.py' in held
  assert 'dcjax/runs/tables/idc_table1.py' in held
  assert b'dcjax = dcjax.runs.command:main' in text


def test_the_library_imports_nothing_that_only_runs_need(installed, tmp_path):
  target, _ = installed
  heavy = (
    'dcjax.runs',
    'matplotlib',
    'ml_collections',
    'orbax',
    'sklearn',
    'tensorflow',
    'tensorflow_datasets',
    'torch',
  )
  said = _run(
    target,
    tmp_path,
    '-c',
    'import sys, dcjax; print(dcjax.__file__); print(*('
    f'n for n in {heavy} if n in sys.modules))',
  ).splitlines()
  assert said == [str(target / 'dcjax/__init__.py'), '']


def test_list_names_configs_data_networks_and_tables(installed, tmp_path):
  target, _ = installed
  said = _run(target, tmp_path, '-m', 'dcjax', 'list')
  for name in ('idc', 'slimming', 'image_folder', 'convnet', 'idc_table1'):
    assert re.search(rf'^  {name} ', said, re.M), name


def test_an_editable_install_works_beside_the_clone(tmp_path):
  """Where `dcjax` is a folder, too: that of the clone."""
  clone = _clone(tmp_path / 'dcjax')
  site = tmp_path / 'site'
  site.mkdir()
  build = (
    'from setuptools import build_meta; '
    f'print(build_meta.build_editable({str(tmp_path)!r}))'
  )
  subprocess.run(
    [sys.executable, '-c', build], cwd=clone, check=True, capture_output=True
  )
  (wheel,) = tmp_path.glob('dcjax-*editable*.whl')
  with zipfile.ZipFile(wheel) as file:
    file.extractall(site)
  # Behind the working folder, but before another install's path.
  found = (
    'import site, sys; old = list(sys.path); site.addsitedir("site"); '
    'new = [path for path in sys.path if path not in old]; '
    'sys.path[:] = [*old[:1], *new, *old[1:]]; import dcjax; '
  )
  said = subprocess.run(
    [sys.executable, '-c', found + 'print(dcjax.__file__)'],
    cwd=tmp_path,
    env={**os.environ, 'PYTHONPATH': ''},
    capture_output=True,
    text=True,
    check=True,
  ).stdout.strip()
  assert said == str(clone / 'dcjax/__init__.py')


@pytest.mark.slow
def test_a_run_outside_the_clone_outlives_a_kill(installed, tmp_path):
  target, _ = installed
  words = ('-m', 'dcjax', '--config=idc:digits,smoke')
  said = _run(target, tmp_path, *words, '--workdir=whole')
  assert 'condensed set: ' in said
  report = (tmp_path / 'whole/report.html').read_text(encoding='utf-8')
  assert 'idc on digits' in report

  killed = _python(target, tmp_path, *words, '--workdir=killed')
  saved = tmp_path / 'killed/checkpoints/condense/1/commit_success.txt'
  while not saved.exists():
    assert killed.poll() is None, killed.communicate()[1]
    time.sleep(0.01)
  killed.send_signal(signal.SIGKILL)
  killed.communicate()
  assert not (tmp_path / 'killed/condensed.npz').exists()
  said = _run(target, tmp_path, *words, '--workdir=killed')
  assert 'resuming condensing after 1 of 2' in said
  whole, again = (
    (tmp_path / name / 'condensed.npz').read_bytes()
    for name in ('whole', 'killed')
  )
  assert whole == again
  assert (tmp_path / 'killed/report.html').is_file()


@pytest.mark.slow
def test_a_folder_of_images_outside_the_clone(installed, tmp_path):
  target, _ = installed
  for label in ('cats', 'dogs'):
    folder = tmp_path / 'photos' / label
    folder.mkdir(parents=True)
    for i, image in enumerate(random_images(10, 20, 24, 3)):
      Image.fromarray(image).save(folder / f'{i}.png')
  said = _run(
    target,
    tmp_path,
    *('-m', 'dcjax', '--config=dm:image_folder:size=16,smoke,network=mlp'),
    *('--config.data_dir=photos', '--workdir=runs/photos'),
  )
  assert '2 classes of 8 images 16x16x3' in said
  assert (tmp_path / 'runs/photos/report.html').is_file()
