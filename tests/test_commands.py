"""Every run that a page tells is one: at the size `smoke`, on small files.

The words are those of the page; `smoke` goes behind them, and files of the same
layout stand where the page's data would.
"""

import pathlib
import re
import shlex
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from published import write_cifar, write_idx_set
from told import ROOT, TOLD, as_flags, black_images, commands

import dcjax
from dcjax import data, formations
from dcjax.runs import _build, _costs, _observers, command, settings

# Sets that come from elsewhere, and files of the same images.
_FILES = {
  'hf:ylecun/mnist': 'mnist',
  'tfds:svhn_cropped': 'cifar10',
}
# What has no schedule, or says its own.
_SIZED = re.compile(r'(,?size=(?:reference|smoke))|,?smoke(?=,|$)')
# First lines of commands.
_BEGUN = re.compile(r'[\s`]*(dcjax|python|experiments/launch/\w+\.sh) ?')
# What takes no config.
_LOOKING = ('compare', 'export', 'gallery', 'list', 'published')
# Operations of a run that a few hours of two CPU cores make.
_PLENTY = 1.5e15


def _runs():
  """The runs of all pages, each once: page, words, settings."""
  found = {}
  for page, text in TOLD.items():
    for program, words in commands(text):
      words = as_flags(program, words)
      chosen = [w for w in words if w.startswith('--config=')]
      told = chosen and '...' not in chosen[0] and 'FILE' not in chosen[0]
      # Two processes are started by a test of their own.
      if told and not any(w.startswith('--coordinator') for w in words):
        found.setdefault(shlex.join(words), page)
  return [
    pytest.param(page, shlex.split(line), id=f'{page}-{i}')
    for i, (line, page) in enumerate(found.items())
  ]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """Small files in the layouts of the sets that pages name."""
  folder = tmp_path_factory.mktemp('data')
  for name in ('mnist', 'fashion_mnist'):
    write_idx_set(folder / name, count=600)
  write_cifar(folder / 'cifar10', 'cifar10', per_class=9)
  rng = np.random.default_rng(0)
  lines = [
    f'{1 + i % 10} ' + ' '.join(f'{k}:{v:.3f}' for k, v in enumerate(row, 1))
    for i, row in enumerate(rng.uniform(-1, 1, (120, 256)))
  ]
  (folder / 'usps').mkdir()
  for part in ('usps', 'usps.t'):
    (folder / 'usps' / part).write_text('\n'.join(lines) + '\n')
  names = data.blank('imagenet10').class_names
  for parts, classes, count in (
    ('pictures', 'abcd', 45),
    ('imagenet10', names, 10),
  ):
    for part in ('train', 'val'):
      for name in classes:
        place = folder / parts / part / name
        place.mkdir(parents=True)
        for i in range(count):
          pixels = rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)
          Image.fromarray(pixels).save(place / f'{i}.png')
  images = rng.random((10, 1, 32, 32, 3)).astype(np.float32)
  made = dcjax.artefact.Artefact(
    params={'images': images},
    spec=formations.uniform(2).spec,
    mean=(0.5,) * 3,
    std=(0.25,) * 3,
    class_names=tuple('0123456789'),
  )
  dcjax.artefact.export_idc(folder / 'data.pt', made)
  return folder


def _small(words, files, folder):
  """The words of a page, at the size of a test."""
  made, told = [], dict(w.removeprefix('--').partition('=')[::2] for w in words)
  chosen = told.pop('config')
  for name, file in _FILES.items():
    chosen = chosen.replace(name, file)
  chosen = re.sub(r'\bdata\.pt', str(files / 'data.pt'), chosen)
  chosen = _SIZED.sub('', chosen) + ',smoke'
  where = files
  if 'imagenet' in chosen and 'image_folder' not in chosen:
    where = files / 'imagenet10'
    small = r'image_folder:size=16,like=\g<0>,network=convnet,start=random'
    chosen = re.sub('imagenet100?', small, chosen)
  elif 'image_folder' in chosen:
    where = files / 'pictures'
  chosen = chosen.replace(':,', ':')
  told['config.data_dir'] = str(where)
  for name, value in told.items():
    if name.endswith(('epochs', 'iterations', 'outer')):
      value = '2'
    if name == 'config.evaluation.networks':
      value = value.replace('vgg11', 'vgg11:width=4')
    if name in ('workdir', 'store', 'config.records'):
      value = folder / pathlib.Path(value).name
    made.append(f'--{name}={value}' if value else f'--{name}')
  return [f'--config={chosen}', *made]


@pytest.mark.slow
@pytest.mark.parametrize('page, words', _runs())
def test_a_run_that_a_page_tells_is_one(page, words, files, tmp_path, called):
  del page
  words = _small(words, files, tmp_path)
  told = dict(word.removeprefix('--').partition('=')[::2] for word in words)
  if 'image_folder' in told['config']:
    pytest.importorskip('grain')
  if '.pt' in told['config']:
    pytest.importorskip('torch')
  code, said, error = called(*words)
  assert not code, error
  if 'workdir' in told:
    folder = pathlib.Path(told['workdir'])
    assert list(folder.glob('*.html')), [p.name for p in folder.iterdir()]
  else:
    assert {'plan', 'print_config'} & set(told) and said
  jax.clear_caches()


@pytest.mark.slow
def test_what_looks_at_runs_finds_them(tmp_path, called, monkeypatch):
  for name in ('digits', 'fashion', 'own', 'reference'):
    words = ('--config=dm:digits,smoke', f'--workdir={tmp_path}/runs/{name}')
    code, _, error = called(*words)
    assert not code, error
  shutil.copytree(ROOT / 'docs' / 'records', tmp_path / 'docs' / 'records')
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'docs' / 'images').mkdir()
  names = {'RUN': 'runs/digits', 'FOLDER': 'runs', 'FOLDER...': 'runs'}
  made = set()
  for text in TOLD.values():
    for _, words in commands(text):
      words = [names.get(word, word) for word in words]
      looks = words and not words[0].startswith('-')
      if not looks or words[0] not in _LOOKING or tuple(words) in made:
        continue
      made.add(tuple(words))
      shutil.rmtree('OUT', ignore_errors=True)
      if words in (['compare'], ['gallery']):
        continue  # only their names
      code, said, error = called(*words)
      assert not code and said, (words, error)
  assert {words[0] for words in made} == set(_LOOKING)


def _operations(words):
  """What a run condenses with, at the size that the page says; 0: unknown."""
  changes = dict(
    word.removeprefix('--config.').split('=', 1)
    for word in words
    if word.startswith('--config.')
  )
  (chosen,) = [w for w in words if w.startswith('--config=')]
  name = chosen.removeprefix('--config=experiments/configs/')
  made = command.load_config(name.removeprefix('--config='), changes)
  found = settings.resolve(made)
  if 'inner_steps' not in found.config.get('method', {}):
    return 0.0
  found.config.zca = 'none'
  built = _build.build(found, dataset=black_images(found.config))
  looking = _observers.observers(built, _observers.ROLES)
  total = sum(_costs.observer(built, o) for o in looking)
  total += _costs.condensation(built, looking)
  built.real.close()
  return total


@pytest.mark.parametrize('page, words', _runs())
def test_what_needs_an_accelerator_says_so(page, words):
  if any(w.startswith(('--plan', '--print_config')) for w in words):
    return
  (chosen,) = [w for w in words if w.startswith('--config=')]
  name = chosen.removeprefix('--config=').rpartition('/')[2]
  # A loop of the shell fills in the last words.
  whole = re.search(re.escape(name) + r'(?=[\s`"]|$)', TOLD[page])
  place = whole.start() if whole else TOLD[page].index(name.rpartition(',')[0])
  above = TOLD[page][:place].splitlines()
  while not _BEGUN.match(above[-1]):
    above.pop()
  marked = '# needs an accelerator' in above[-2]
  assert marked == (_operations(words) > _PLENTY), words
