"""The site: every public name is documented and listed, and it builds."""

import importlib
import importlib.util
import inspect
import os
import pathlib
import subprocess
import sys
import zlib

import pytest

from dcjax.runs import _reference, command

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def _pages():
  """The hooks of the site, which mkdocs reads by their path, too."""
  path = _ROOT / 'docs' / 'pages.py'
  spec = importlib.util.spec_from_file_location('pages', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


MODULES = _pages().modules()


def _public(name):
  """`(name, value)` of what a module says that it has, or of all it makes."""
  module = importlib.import_module(name)
  said = getattr(module, '__all__', None)
  for public in said or vars(module):
    value = getattr(module, public)
    plain = inspect.isfunction(value) or inspect.isclass(value)
    mine = getattr(value, '__module__', '').startswith(
      'dcjax' if said else name
    )
    if plain and mine and not public.startswith('_'):
      yield public, value


@pytest.mark.parametrize('name', MODULES)
def test_every_public_name_exists_once_and_has_a_docstring(name):
  module = importlib.import_module(name)
  assert module.__doc__
  names = getattr(module, '__all__', [])
  assert len(set(names)) == len(names)
  missing = [
    public
    for public, value in _public(name)
    if not value.__doc__ or value.__doc__.startswith(f'{public}(')
  ]
  assert not missing


def test_every_module_that_the_package_names_has_a_page():
  package = importlib.import_module('dcjax')
  named = {
    f'dcjax.{name}'
    for name in package.__all__
    if inspect.ismodule(getattr(package, name))
  }
  assert named < set(MODULES)


def test_the_page_of_fields_is_drawn_from_the_configs():
  page = (_ROOT / 'docs' / 'fields.md').read_text(encoding='utf-8')
  drawn = _reference.page(command.names())
  assert page == drawn, 'dcjax list fields > docs/fields.md draws it again'


def test_the_site_builds_strictly_and_lists_every_public_name(tmp_path):
  pytest.importorskip('mkdocs', reason="needs the extra 'docs'")
  pytest.importorskip('mkdocstrings_handlers', reason="needs the extra 'docs'")
  told = subprocess.run(
    [sys.executable, '-m', 'mkdocs', 'build', '-q', '--strict', '-d', tmp_path],
    cwd=_ROOT,
    env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
    capture_output=True,
    text=True,
    timeout=900,
  )
  assert told.returncode == 0, told.stderr + told.stdout
  _, _, _, _, packed = (tmp_path / 'objects.inv').read_bytes().split(b'\n', 4)
  lines = zlib.decompress(packed).decode().splitlines()
  listed = {line.partition(' ')[0] for line in lines}
  public = {f'{m}.{n}' for m in MODULES for n, _ in _public(m)}
  assert public - listed == set()
