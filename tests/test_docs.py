"""The public names are documented, and the documents name what exists."""

import importlib
import json
import re
import shlex
import subprocess
import sys
import tomllib

import notebooks
import numpy as np
import pytest
import tiny
from absl import flags
from told import PAGES, ROOT, TOLD, as_flags, black_images, commands

import dcjax
from dcjax.runs import _build, _fields, _looking, command, settings, tables


def test_version_agrees_with_the_package():
  text = (ROOT / 'pyproject.toml').read_text()
  assert f'version = "{dcjax.__version__}"' in text


@pytest.mark.parametrize('page', PAGES)
def test_links_and_scripts_exist(page):
  text = (ROOT / page).read_text(encoding='utf-8')
  folder = (ROOT / page).parent
  for target in re.findall(r'\]\(([^)#]+)\)', text):
    if not target.startswith('http'):
      assert (folder / target).exists(), target
  # The changelog names what is gone.
  if page != 'CHANGELOG.md':
    for script in re.findall(r'(?:experiments|examples)/[\w/]+\.py', text):
      assert (ROOT / script).exists(), script


def _resolved(word, changes):
  """Complete settings of a config that a page names."""
  name = word.removeprefix('experiments/configs/')
  made = command.load_config(name, changes)
  found = settings.resolve(made)
  if 'table' in found.config:
    tables.load(found.config.table, found.config.size, found.config.dataset)
  return found


_BUILT = set()


def _build_with_black_images(found):
  """What a run is made of, whatever its data are; once for all pages."""
  config = found.config
  text = json.dumps(found.plain(), sort_keys=True)
  if text in _BUILT or not {'pipeline', 'method'} & set(config):
    return
  _BUILT.add(text)
  config.zca = 'none'
  _build.build(found, dataset=black_images(config)).real.close()


def test_every_page_tells_a_command():
  told = {page for page, text in TOLD.items() if list(commands(text))}
  own = {'CHANGELOG.md', 'docs/artefact.md', 'docs/guide.md', 'docs/tried.md'}
  library = {'docs/new_objective.md', 'docs/observers.md'}
  assert set(TOLD) - told <= own | library


@pytest.mark.parametrize('page', TOLD)
def test_every_command_of_a_page_resolves(page):
  for program, words in commands(TOLD[page]):
    if not words or '--config=...' in words:
      continue
    if program.startswith('benchmarks/'):
      _check_benchmark(program, words)
      continue
    if words[0] == 'list':
      assert set(words[1:]) <= {*command.names(), 'fields'}, words
      continue
    words = as_flags(program, words)
    if words[0] == 'compare':
      _looking.said_of(words[1:], ('page', 'plot'))
      continue
    if words[0] == 'export':
      said, places = _looking.said_of(words[1:], ('as',))
      assert said['as'] in ('hub', 'ddranking') and len(places) == 2
      continue
    if words[0] == 'gallery':
      assert len(words) <= 2
      continue
    if words[0] == 'published':
      assert (ROOT / words[1]).is_dir()
      continue
    known = flags.FlagValues()
    command.define_flags(known)
    changes = dict(
      word.removeprefix('--config.').split('=', 1)
      for word in words
      if word.startswith('--config.')
    )
    left = [word for word in words if not word.startswith('--config.')]
    assert len(known([program, *left])) == 1, words
    if not known.config.startswith('FILE.py'):
      _build_with_black_images(_resolved(known.config, changes))
    assert known.workdir or known.print_config or known.plan, words


def _other_commands(text):
  """Words of what pages tell a shell, but for what `_commands` finds."""
  inside, lines = None, []
  for line in re.sub(r'\\\n\s*', ' ', text).splitlines():
    if line.startswith('```'):
      inside = line[3:] if inside is None else None
    elif inside in ('', 'sh'):
      lines.append(line)
  prose = re.sub(r'^```.*?^```', '', text, flags=re.DOTALL | re.MULTILINE)
  codes = re.findall(r'`([^`]+)`', prose)
  lines += [' '.join(code.split()) for code in codes]
  for part in re.split(r'\n|;|&&| & ', '\n'.join(lines)):
    found = re.match(r'\s*((?:dcjax|python|pip|hf) (?!-c).*)', part)
    if found and not list(commands(part)):
      yield shlex.split(found[1], comments=True)


@pytest.mark.parametrize('page', PAGES)
def test_no_command_of_a_page_goes_unseen(page):
  project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
  for program, *words in _other_commands(TOLD[page]):
    if program == 'pip':
      for name in re.findall(r'\[([\w,]+)\]', ' '.join(words)):
        assert name in project['optional-dependencies'], words
    elif program == 'python' and words[0] == '-m':
      known = words[1] in ('venv', 'pytest', 'mkdocs')
      assert known or importlib.util.find_spec(words[1]), words
    elif program == 'python':
      assert (ROOT / words[0]).is_file(), words
    else:  # Hugging Face's own
      assert (program, words[:1]) == ('hf', ['upload']), (program, words)


def _check_benchmark(program, words):
  assert (ROOT / program).exists(), program
  sources = ''.join(
    p.read_text(encoding='utf-8') for p in (ROOT / 'benchmarks').glob('*.py')
  )
  for word in words:
    name = word.removeprefix('--').partition('=')[0]
    assert f"'{name}'" in sources or f"'{name[2:]}'" in sources, word


@pytest.fixture(scope='module')
def fields():
  """Every dotted field of every config."""
  found = set()
  for name in command.names():
    found |= set(settings.flat(settings.make(name).to_dict()))
    found |= set(settings.flat(settings.resolve(settings.make(name)).plain()))
  return found


@pytest.mark.parametrize('page', [p for p in TOLD if p != 'CHANGELOG.md'])
def test_fields_that_a_page_names_exist(page, fields):
  sections = {f.partition('.')[0] for f in fields if '.' in f}
  named = re.findall(r'--config\.([a-z_.]+[a-z_])', TOLD[page])
  assert set(named) <= fields | sections
  old = {field.partition('.')[0] for field in _fields.RENAMED}
  for code in re.findall(r'`([a-z_]+\.[a-z_]+)(?:=[^`]*)?`', TOLD[page]):
    section, _, name = code.partition('.')
    is_code = hasattr(getattr(dcjax, section, None), name)
    is_code |= section == 'formation' or name in ('npz', 'png', 'pt', 'py')
    if section in sections | old and not is_code:
      assert code in fields, code


# Lists of defaults look like configs.
@pytest.mark.parametrize('page', [p for p in PAGES if 'fields' not in p])
def test_configs_that_a_page_names_in_passing_resolve(page):
  text = TOLD[page]
  words = re.findall(r'`(\w+(?:\.py)?:[\w.=:,+|/-]+)`', text)
  words += re.findall(r"(?:run|condensed|config_of)\(\s*'([^']+)'", text)
  for word in words:
    name = word.partition(':')[0].removesuffix('.py')
    if name in command.names() and '...' not in word:
      _resolved(word, {})


def test_the_changelog_has_every_new_name_of_a_field():
  text = ' '.join(TOLD['CHANGELOG.md'].split())
  missing = [old for old in _fields.RENAMED if f'`{old}`' not in text]
  assert not missing


def test_a_config_of_your_own_is_one():
  block = next(b for b in _python_blocks('docs/runs.md') if 'get_config' in b)
  names = {}
  exec(compile(block, 'docs/runs.md', 'exec'), names)
  found = settings.resolve(names['get_config']('cifar10,ipc=10'))
  assert found.config.method.distance == 'cosine'
  assert found.origins['method.distance'] == 'said'


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
  monkeypatch.syspath_prepend(str(ROOT / 'examples'))
  example = importlib.import_module('own_data')
  short = ',outer=1,method.inner_steps=2,evaluation.epochs=2,evaluation.at=()'
  found = example.main(tmp_path / 'own', short)
  assert set(found['evaluations']) == {'condensed', 'initial', 'random'}
  assert found['evaluations']['condensed']['network'] == 'smallnet'
  made = dcjax.load(tmp_path / 'own' / 'condensed.npz')
  assert made.numpy()[0].shape == (10, 8, 8, 1)


def test_herding_asks_for_an_embedding_before_anything_is_trained(
  tmp_path, monkeypatch
):
  monkeypatch.syspath_prepend(str(ROOT / 'examples'))
  example = importlib.import_module('own_data')
  with pytest.raises(
    ValueError, match=r'^evaluation.baselines: .*exposes none'
  ):
    example.main(tmp_path / 'own', ',evaluation.baselines=herding')
  assert not (tmp_path / 'own' / 'config.json').exists()


@pytest.mark.slow
def test_the_guide_runs_as_it_stands(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  names = {}
  exec(compile(_python_blocks('docs/guide.md')[0], 'guide', 'exec'), names)
  assert names['condensed'].numpy()[0].shape == (8, 8, 8, 1)


def _python_blocks(page):
  """Returns the code of a page, with the lines where it stands there."""
  text = (ROOT / page).read_text(encoding='utf-8')
  blocks = re.finditer(r'^```python\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
  return [
    '\n' * text[: block.start(1)].count('\n') + block[1] for block in blocks
  ]


def test_the_new_objective_page_runs_and_its_method_works():
  page = 'docs/new_objective.md'
  names = {}
  for block in _python_blocks(page)[:-1]:
    exec(compile(block, page, 'exec'), names)
  assert names['gradient'].shape == names['start'].images.shape
  assert names['losses'][-1] < 0.85 * names['losses'][0]
  accuracies = names['accuracies']
  assert accuracies['condensed'].mean() > accuracies['initial'].mean() + 0.1


@pytest.mark.slow
def test_the_new_objective_runs_by_its_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(
    dcjax.objectives, 'FACTORIES', dict(dcjax.objectives.FACTORIES)
  )
  names, blocks = {}, _python_blocks('docs/new_objective.md')
  for block in (blocks[0], blocks[-1]):
    exec(compile(block, 'page', 'exec'), names)
  assert 0 <= names['results']['evaluations']['condensed']['last_mean'] <= 1


def test_the_notebook_runs_as_it_stands(tmp_path, monkeypatch):
  condensed = dcjax.artefact.Artefact(
    params={
      'images': np.random.default_rng(0).random((10, 2, 16, 16, 1), np.float32)
    },
    spec={'name': 'uniform', 'factor': 2},
    mean=(0.3,),
    std=(0.3,),
    class_names=tuple('0123456789'),
  )
  calls = []

  def condense(*words, **options):
    calls.append((words, options))
    return condensed

  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(dcjax, 'condense', condense)
  _, code = notebooks.cells(ROOT / 'docs/examples/digits.ipynb')
  names, torch = {}, importlib.util.find_spec('torch') is not None
  for cell in code:
    assert cell['outputs'] and cell['execution_count']
    if torch or 'import torch' not in ''.join(cell['source']):
      kinds = [o['output_type'] for o in notebooks.run(cell, names)]
      assert kinds[-1] == cell['outputs'][-1]['output_type']
  assert [options['method'] for _, options in calls] == ['kip', 'idc']
  for (source, _), options in calls:
    words = ','.join(f'{k}={options[k]}' for k in ('ipc',))
    _resolved(f'{options["method"]}:{source},{words}', {})
  assert (tmp_path / 'condensed-digits' / 'README.md').exists()


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
