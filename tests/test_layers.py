"""Imports go downwards, never in a circle, and private ones stay at home."""

import ast
import pathlib
from typing import Any

from dcjax import base

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Lowest first; within a layer imports go one way, too.
LAYERS = (
  {'_lazy', 'base', 'resizing', 'specs', 'utils'},
  {
    '_npz',
    '_torch_files',
    'augment',
    'data',
    'files',
    'formations',
    'kernels',
    'mapping',
    'networks',
    'optimizers',
    'pictures',
    'records',
    'trees',
    '_user_npz',
    'whitening',
  },
  {'artefact', 'losses', 'sharding', 'statistics', 'training'},
  {'feeds', 'inner', 'labelling', 'matching', 'objectives'},
  {
    'condensing',
    'coresets',
    'evaluation',
    'initialisation',
    'protocols',
    'trajectories',
  },
  {'applications', 'fairness', 'methods'},
  {''},  # `dcjax` itself
  {'runs'},
  {'__main__', 'experiments'},
)
# (who, what) -> why it may, though what is of a higher layer.
UPWARDS = {}
# The same, where the other one imports it, too.
MUTUAL = {('whitening', 'data'): 'both refuse the same images'}
# (who, private module) -> why it may, though it is of another package.
PRIVATE = {
  ('applications', 'dcjax.networks._registry'): 'grids name all factories',
  ('artefact', 'dcjax.formations._codebook_numpy'): 'files bring this code',
  ('artefact', 'dcjax.formations._quantised_numpy'): 'and this code',
  ('artefact', 'dcjax.formations._grids'): 'recipes say how images are laid',
  ('formations', 'dcjax.networks._layers'): 'decoders have such layers',
  ('whitening', 'dcjax.data._checks'): 'both refuse the same images',
}


def _modules():
  """Dotted name -> file, of all that is installed or run."""
  found = {}
  for folder in ('dcjax', 'experiments'):
    for file in (ROOT / folder).glob('**/*.py'):
      dotted = '.'.join(file.relative_to(ROOT).with_suffix('').parts)
      found[dotted.removesuffix('.__init__')] = file
  return found


MODULES = _modules()


def _imports(text, modules):
  """What a text imports of modules, in functions too: `(line, dotted name)`.

  A module by its own name, anything else by the module's and its own.
  """
  for node in _walk(ast.parse(text)):
    if isinstance(node, ast.Import):
      yield from ((node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'line {node.lineno}: a relative import'
      for alias in node.names:
        full = f'{node.module}.{alias.name}'
        private = alias.name.startswith('_') and alias.name[:2] != '__'
        yield node.lineno, full if full in modules or private else node.module


def _walk(node):
  """All nodes, but for imports of types alone, which nothing runs."""
  yield node
  for child in ast.iter_child_nodes(node):
    types = isinstance(child, ast.If) and 'TYPE_CHECKING' in ast.unparse(
      child.test
    )
    if not types:
      yield from _walk(child)


def _edges():
  """`(who, line, what)` of all imports of ours."""
  return [
    (name, line, what)
    for name, file in MODULES.items()
    for line, what in _imports(file.read_text(), MODULES)
    if what.split('.')[0] in ('dcjax', 'experiments')
  ]


EDGES = _edges()


def _unit(name):
  """A module's package below `dcjax`, as layers name it."""
  parts = name.split('.')
  return parts[0] if parts[0] != 'dcjax' else [*parts, ''][1]


def _layer(name):
  unit = _unit(name)
  (found,) = (i for i, units in enumerate(LAYERS) if unit in units)
  return found


def _owner(what):
  """Whose a private module or name is, or None if it is nobody's."""
  parts = what.split('.')
  for i, part in enumerate(parts):
    if part.startswith('_') and not part.startswith('__'):
      return '.'.join(parts[:i])
  return None


def _circle(graph):
  """Names that import one another in turn, or None."""
  done, path = set(), []

  def visit(name):
    if name in path:
      return [*path[path.index(name) :], name]
    if name in done:
      return None
    path.append(name)
    for after in sorted(graph.get(name, ())):
      found = visit(after)
      if found:
        return found
    done.add(path.pop())
    return None

  for name in sorted(graph):
    found = visit(name)
    if found:
      return found
  return None


def _graph(pairs):
  graph = {}
  for who, what in pairs:
    if who != what:
      graph.setdefault(who, set()).add(what)
  return graph


def test_no_module_imports_from_a_higher_layer():
  wrong = {
    (_unit(who), _unit(what)): f'{who}:{line} imports {what}'
    for who, line, what in EDGES
    if _layer(what) > _layer(who)
  }
  assert [text for pair, text in wrong.items() if pair not in UPWARDS] == []
  assert wrong.keys() == UPWARDS.keys(), 'an exception that nothing needs'


def test_no_packages_import_one_another_in_a_circle():
  pairs = {(_unit(who), _unit(what)) for who, _, what in EDGES}
  assert MUTUAL.keys() <= pairs, 'an exception that nothing needs'
  assert _circle(_graph(pairs - MUTUAL.keys() - UPWARDS.keys())) is None


def test_no_modules_import_one_another_in_a_circle():
  pairs = (
    (who, what if what in MODULES else what.rpartition('.')[0])
    for who, _, what in EDGES
  )
  assert _circle(_graph(pairs)) is None


def test_private_modules_are_imported_only_within_their_package():
  wrong = {}
  for who, line, what in EDGES:
    owner = _owner(what)
    if owner is not None and not f'{who}.'.startswith(f'{owner}.'):
      wrong[_unit(who), what] = f'{who}:{line} imports {what}'
  assert [text for pair, text in wrong.items() if pair not in PRIVATE] == []
  assert wrong.keys() == PRIVATE.keys(), 'an exception that nothing needs'


def test_circles_and_imports_in_functions_are_found():
  text = (
    'def f():\n  from a import b, c\n  from a.d import _e\n  import g.h\n'
    'if TYPE_CHECKING:\n  import z\n'
  )
  found = list(_imports(text, {'a.b': None}))
  assert found == [(2, 'a.b'), (2, 'a'), (3, 'a.d._e'), (4, 'g.h')]
  assert _circle({'a': {'b'}, 'b': {'c'}}) is None
  assert _circle({'x': {'a'}, 'a': {'b'}, 'b': {'c'}, 'c': {'a'}}) == [
    'a',
    'b',
    'c',
    'a',
  ]
  assert _owner('dcjax.data._files.opened') == 'dcjax.data'
  assert _owner('dcjax.__main__') is None


# File -> why it may be longer.
LONG: dict[str, str] = {}
# Old words of what has another name: augment, observers, `Built`.
WORDS = {'parts', 'squeeze', 'treat', 'treatment', 'view', 'views'}
# Function -> why it may take more.
WIDE: dict[str, str] = {}


def test_modules_and_functions_are_short_enough_to_read():
  long, wide, named = {}, {}, set()
  for file in (ROOT / 'dcjax').glob('**/*.py'):
    text = file.read_text()
    if text.count('\n') > 350:
      long[file.relative_to(ROOT).as_posix()] = text.count('\n')
    for node in ast.walk(ast.parse(text)):
      if isinstance(node, ast.FunctionDef | ast.ClassDef):
        named.add(node.name)
      if isinstance(node, ast.FunctionDef):
        found = node.args
        count = len(found.posonlyargs + found.args + found.kwonlyargs)
        if count > 16:
          wide[node.name] = count
  assert {n: c for n, c in long.items() if n not in LONG} == {}
  assert {n: c for n, c in wide.items() if n not in WIDE} == {}
  assert (long.keys(), wide.keys()) == (LONG.keys(), WIDE.keys())
  old = {name for name in named if WORDS & set(name.lower().split('_'))}
  assert old == set()


def test_no_state_holds_just_anything():
  states = {}
  for file in (ROOT / 'dcjax').glob('**/*.py'):
    for node in ast.walk(ast.parse(file.read_text())):
      if isinstance(node, ast.ClassDef) and node.name.endswith('State'):
        fields = [f for f in node.body if isinstance(f, ast.AnnAssign)]
        states[node.name] = {ast.unparse(f.annotation) for f in fields}
  assert len(states) >= 10
  assert {n for n, types in states.items() if 'Any' in ' '.join(types)} == set()
  assert base.PyTree is not Any
