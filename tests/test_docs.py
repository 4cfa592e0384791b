"""The public names are documented, and the documents name what exists."""

import importlib
import inspect
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tiny

import dcjax

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_MODULES = [
  'dcjax',
  *(
    f'dcjax.{name}'
    for name in (
      'applications',
      'artefact',
      'augment',
      'base',
      'condensing',
      'coresets',
      'data',
      'evaluation',
      'fairness',
      'files',
      'formations',
      'initialisation',
      'inner',
      'kernels',
      'labelling',
      'matching',
      'methods',
      'networks',
      'objectives',
      'optimizers',
      'protocols',
      'records',
      'sharding',
      'statistics',
      'training',
      'trajectories',
      'trees',
      'utils',
      'whitening',
    )
  ),
]


def _public(module):
  names = getattr(module, '__all__', None) or [
    name for name in vars(module) if not name.startswith('_')
  ]
  for name in names:
    value = getattr(module, name)
    mine = getattr(value, '__module__', '').startswith('dcjax')
    if mine and (inspect.isfunction(value) or inspect.isclass(value)):
      yield name, value


@pytest.mark.parametrize('name', _MODULES)
def test_every_public_name_has_a_docstring(name):
  module = importlib.import_module(name)
  assert module.__doc__
  missing = [
    public
    for public, value in _public(module)
    if not value.__doc__ or value.__doc__.startswith(f'{public}(')
  ]
  assert not missing


@pytest.mark.parametrize('name', _MODULES)
def test_everything_in_all_exists_once(name):
  names = getattr(importlib.import_module(name), '__all__', [])
  assert len(set(names)) == len(names)
  for public in names:
    assert hasattr(importlib.import_module(name), public)


def test_version_agrees_with_the_package():
  text = (_ROOT / 'pyproject.toml').read_text()
  assert f'version = "{dcjax.__version__}"' in text


@pytest.mark.parametrize(
  'page',
  [
    'README.md',
    *sorted(str(p.relative_to(_ROOT)) for p in (_ROOT / 'docs').glob('*.md')),
  ],
)
def test_links_and_scripts_exist(page):
  text = (_ROOT / page).read_text(encoding='utf-8')
  folder = (_ROOT / page).parent
  for target in re.findall(r'\]\(([^)#]+)\)', text):
    if not target.startswith('http'):
      assert (folder / target).exists(), target
  for script in re.findall(r'(?:experiments|examples)/[\w/]+\.py', text):
    assert (_ROOT / script).exists(), script


def test_import_needs_neither_tfds_nor_torch():
  code = (
    'import sys; sys.modules["tensorflow_datasets"] = None; '
    'sys.modules["tensorflow"] = None; sys.modules["torch"] = None; '
    'import dcjax; print(dcjax.__version__)'
  )
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, timeout=120
  )
  assert result.stdout.strip() == dcjax.__version__, result.stderr


def test_the_own_data_example_runs(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(_ROOT / 'examples'))
  example = importlib.import_module('own_data')
  accuracies = example.main(outer=1, inner_steps=2, epochs=2)
  assert all(0 <= accuracy <= 1 for accuracy in accuracies)
  assert dcjax.load(tmp_path / 'own_digits.npz').numpy()[0].shape[0] == 10


def _python_blocks(page):
  """Returns the code of a page, with the lines where it stands there."""
  text = (_ROOT / page).read_text(encoding='utf-8')
  blocks = re.finditer(r'^```python\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
  return [
    '\n' * text[: block.start(1)].count('\n') + block[1] for block in blocks
  ]


def test_the_new_objective_page_runs_and_its_method_works():
  page = 'docs/new_objective.md'
  names = {}
  for block in _python_blocks(page):
    exec(compile(block, page, 'exec'), names)
  assert names['gradient'].shape == names['start'].images.shape
  assert names['losses'][-1] < 0.85 * names['losses'][0]
  accuracies = names['accuracies']
  assert accuracies['condensed'].mean() > accuracies['initial'].mean() + 0.1


def test_the_objective_of_the_page_is_the_discrepancy_it_names():
  names = {}
  exec(_python_blocks('docs/new_objective.md')[0], names)
  rng = np.random.default_rng(0)
  real, fake = rng.uniform(size=(2, 4, *tiny.SHAPE))
  weights = np.array([1.0, 1.0, 1.0, 0.0])
  batches = [
    dcjax.Batch(images.astype(np.float32), np.eye(4), kept)
    for images, kept in ((real, weights), (fake, None))
  ]
  variables = tiny.LINEAR.init(tiny.KEY)
  objective = names['kernel_matching'](width=0.5)
  value, _ = objective.loss(tiny.LINEAR, variables, *batches, tiny.KEY)
  kept, all_fake = real[:3].reshape(3, -1), fake.reshape(4, -1)
  scale = 0.5 * np.mean([np.sum((a - b) ** 2) for a in kept for b in kept])

  def mean_kernel(first, second):
    return np.mean(
      [np.exp(-np.sum((a - b) ** 2) / scale) for a in first for b in second]
    )

  expected = mean_kernel(kept, kept) + mean_kernel(all_fake, all_fake)
  expected -= 2 * mean_kernel(kept, all_fake)
  np.testing.assert_allclose(value, expected, rtol=1e-4)
