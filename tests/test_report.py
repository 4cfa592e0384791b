"""The report page and the pictures in it."""

import base64
import errno
import html
import html.parser
import io
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import runner
from PIL import Image

from dcjax import networks
from dcjax.runs import _results, report
from dcjax.runs.report import _pictures as pictures


def evaluation(mean, images=40, **changes):
  return {
    'last_mean': mean,
    'last_std': 0.0123,
    'best_mean': mean + 0.02,
    'best_std': 0.004,
    'per_seed_last': [mean, mean, mean],
    'images': images,
    'network': 'convnet3',
    'epochs': 1000,
    'label_regime': 'hard',
    'seconds': 61.0,
    **changes,
  }


def fake_results(**changes):
  sizes = {'numbers': 30720, 'float32_bytes': 122880, 'disk_bytes': 122880}
  return {
    'method': 'IDC',
    'dataset': 'digits',
    'ipc': 10,
    'formation': {'name': 'uniform', 'factor': 2},
    'headline': 'condensed',
    'command': ['dcjax', '--config=idc:digits'],
    'evaluations': {
      'random': evaluation(0.512),
      'herding': evaluation(0.555),
      'condensed': evaluation(0.678, images=400),
      'initial': evaluation(0.5),
    },
    'storage': {'images': sizes, 'total': sizes},
    'seconds': {'condense': 7325.0, 'evaluate': 61.0, 'total': 7386.0},
    'environment': {'device': 'cpu', 'jax': '0.10.2'},
    'fair': {'IOR': {'mean': 0.166, 'std': 0.01}},
    'checkpoints': [
      {
        'outer': outer,
        'seconds': 60.0 * outer,
        'accuracy_mean': 0.4 + 0.02 * outer,
        'accuracy_std': 0.01,
      }
      for outer in range(1, 11)
    ],
    **changes,
  }


def fake_metrics(count=1000):
  return [
    {'outer': i, 'step': 100 * i, 'loss': 100 / (i + 1), 'seconds': float(i)}
    for i in range(count)
  ]


def fake_pictures():
  generator = np.random.default_rng(0)
  return {
    name: generator.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    for name in ('real', 'initial', 'condensed')
  }


class Page(html.parser.HTMLParser):
  """Collects tags, attributes and text; notes tags that do not match."""

  VOID = ('meta', 'img', 'br', 'link')

  def __init__(self, source):
    super().__init__()
    self.tags, self.attributes, self.text = [], [], ''
    self.open, self.rows = [], []
    self.feed(source)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs
    if tag == 'tr':
      self.rows.append([])
    if tag in ('td', 'th'):
      self.rows[-1].append('')
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.tags.append(tag)
    self.attributes += attrs

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data
    if self.open and self.open[-1] in ('td', 'th'):
      self.rows[-1][-1] += data


@pytest.fixture
def write(tmp_path):
  def written(**changes):
    settings = {
      'config': {'ipc': 10, 'seed': 0, 'optimiser': {'learning_rate': 0.005}},
      'results': fake_results(),
      'metrics': fake_metrics(),
      'pictures': fake_pictures(),
    }
    path = report.write_report(tmp_path, **settings | changes)
    assert [file.name for file in tmp_path.iterdir()] == ['report.html']
    page = Page(path.read_text(encoding='utf-8'))
    assert page.open == []
    return page

  return written


def test_report_shows_every_part(write, tmp_path):
  page = write()
  for part in (
    'IDC on digits',
    '10 stored images per class',
    'multi-formation factor 2',
    '67.8 ± 1.2 %',
    '51.2 ± 1.2 %',
    'condensed set: +16.6 points',
    'over 3 networks',
    'Real images',
    'Start of the condensation',
    'Condensed images, as stored',
    'labels: hard',
    'test accuracy in %',
    'minutes of condensation',
    'artefact.load(',
    str(tmp_path / 'condensed.npz'),
    '--config.seed=1',
    'dcjax --config=idc:digits',
    'won over random real images',
    '2 h 2 min',
    '122.9 kB',
  ):
    assert part in page.text, part
  assert page.tags.count('img') == 3
  assert page.tags.count('svg') == 2
  assert ['optimiser.learning_rate', '0.005'] in page.rows
  assert ['jax', '0.10.2'] in page.rows


def test_report_tabulates_baselines_after_the_headline(write):
  rows = write().rows
  header = next(i for i, row in enumerate(rows) if 'last epoch' in row)
  assert 'best epoch (picked on test data, not the headline)' in rows[header]
  first, *others = rows[header + 1 : header + 5]
  assert first[:6] == [
    'condensed set',
    '67.8 ± 1.2 %',
    '69.8 ± 0.4 %',
    'hard',
    '400',
    '122.9 kB',
  ]
  assert others[0][:3] == ['random real images', '51.2 ± 1.2 %', '53.2 ± 0.4 %']
  assert len(others) == 3


def test_report_needs_nothing_else(write, tmp_path):
  page = write()
  source = (tmp_path / 'report.html').read_text(encoding='utf-8')
  assert not {'script', 'link', 'iframe', 'object', 'a'} & set(page.tags)
  assert not re.search(
    r'https?:|//|@import', re.sub('"data:[^"]*"', '', source)
  )
  for name, value in page.attributes:
    if name in ('src', 'href', 'srcset', 'xlink:href'):
      assert value.startswith(('data:image/png;base64,', '#')), value
  for target in re.findall(r'url\(([^)]*)\)', source):
    assert target.startswith('#')
  ids = [value for name, value in page.attributes if name == 'id']
  assert len(ids) == len(set(ids))
  used = re.findall(r'(?:url\(|href=")#([^)"]*)', source)
  assert used
  assert set(used) <= set(ids)


def test_report_holds_the_pictures(write):
  page = write()
  sources = [value for name, value in page.attributes if name == 'src']
  for source, array in zip(sources, fake_pictures().values(), strict=True):
    content = base64.b64decode(source.partition('base64,')[2])
    shown = np.asarray(Image.open(io.BytesIO(content)))
    np.testing.assert_array_equal(shown[::8, ::8], array)


def test_report_says_what_a_row_is(write):
  page = write(layouts={'real': 'ten classes in a row <'})
  assert 'Real images; ten classes in a row <' in page.text
  assert 'Condensed images, as stored; one row per class' in page.text


@pytest.mark.parametrize(
  ('shape', 'rows', 'layout'),
  [
    ((20, 1), (2, 10), 'one image per class, ten classes in a row'),
    ((20, 3), (20, 3), 'one row per class'),
    ((12, 1), (12, 1), 'one row per class'),
  ],
)
def test_rows_agree_with_their_caption(shape, rows, layout):
  images, said = _results._rows(np.zeros([*shape, 4, 5, 1]))
  assert images.shape == (*rows, 4, 5, 1)
  assert said == layout


def test_full_disk_leaves_no_part_of_a_page(tmp_path, monkeypatch):
  picture = np.zeros([4, 4], np.uint8)
  writers = {
    'report.html': lambda: report.write_report(tmp_path, config={}, results={}),
    'images.png': lambda: pictures.save_png(tmp_path / 'images.png', picture),
  }

  def fail(*arguments):
    raise OSError(errno.ENOSPC, 'No space left on device')

  for name, write_file in writers.items():
    for before in ({}, {name: b'earlier'}):
      for file, content in before.items():
        (tmp_path / file).write_bytes(content)
      for function in ('fsync', 'replace'):
        with monkeypatch.context() as patch:
          patch.setattr(os, function, fail)
          with pytest.raises(OSError, match=f'No space left.*{name}'):
            write_file()
        left = {f.name: f.read_bytes() for f in tmp_path.iterdir()}
        assert left == before
    write_file()
    assert [f.name for f in tmp_path.iterdir()] == [name]
    (tmp_path / name).unlink()


def test_report_suits_dark_and_narrow_screens(write, tmp_path):
  page = write()
  source = (tmp_path / 'report.html').read_text(encoding='utf-8')
  assert 'color-scheme: light dark' in source
  assert ('name', 'viewport') in page.attributes
  assert 'currentColor' in source
  assert '#010203' not in source


def test_report_escapes_all_text(write):
  evil = '<script>alert("x")</script> & co'
  page = write(
    config={'ke<y': evil, 'deep': {'list': [evil]}},
    results=fake_results(
      method=evil,
      dataset='<b>',
      formation={'name': evil, 'factor': '<i>'},
      command=[evil],
      fair={evil: {'mean': 0.5, 'std': 0.0}},
      artefact='a<b.npz',
      environment={'<u>': evil},
      evaluations={
        'condensed': evaluation(0.5, label_regime=evil, network=evil),
        '<em>': evaluation(0.4),
      },
      seconds={'<s>': 1.0},
    ),
    pictures={'"><x>': fake_pictures()['real']},
  )
  assert not {'script', 'u', 'x', 'em', 'i', 's'} & set(page.tags)
  assert f'{evil} on <b>' in page.text
  assert 'a<b.npz' in page.text


@pytest.mark.parametrize(
  ('results', 'metrics'),
  [
    ({}, []),
    ({'method': 'dm', 'evaluations': {'condensed': {}}}, [{'loss': 1.0}]),
    (
      {
        'evaluations': {'random': {'last_mean': 0.5}},
        'checkpoints': [{'outer': 1, 'accuracy_mean': 0.5}],
      },
      [{'step': 1, 'loss': float('nan')}, {'step': 2, 'loss': -1.0}],
    ),
    ({'storage': {'images': {'numbers': 4}}, 'checkpoints': None}, []),
  ],
)
def test_report_leaves_out_what_is_missing(write, results, metrics):
  page = write(config={}, results=results, metrics=metrics, pictures=None)
  assert 'artefact.load(' in page.text
  assert 'None' not in page.text
  assert 'nan' not in page.text
  assert 'img' not in page.tags
  assert 'Settings' not in page.text
  assert ('Curves' in page.text) == bool(metrics)


def test_nothing_ends_a_cell_of_markdown():
  names = ['dm:augment.evaluate=crop|flip', 'a\nb', '<b>']
  text = report.markdown(['set', 'x'], [[name, 1] for name in names])
  assert text.splitlines()[2:] == [
    '| dm:augment.evaluate=crop\\|flip | 1 |',
    '| a b | 1 |',
    '| &lt;b> | 1 |',
  ]


def test_names_in_a_plot_are_no_formulas(tmp_path):
  lines = {name: ([1, 2], [1.0, 2.0]) for name in ('$x^$', '_run')}
  figure = pictures.curve(
    lines, x_label='steps', y_label='loss', levels={r'$\none$': 1.5}
  )
  figure.savefig(tmp_path / 'plot.png')
  labels = figure.axes[0].get_legend().get_texts()
  assert len(labels) == 3


def test_grid_has_one_row_per_class():
  images = np.zeros([2, 3, 4, 5, 3], np.float32)
  images[1, 2] = 1
  grid = pictures.image_grid(images, gap=1)
  assert (grid.dtype, grid.shape) == (np.uint8, (9, 17, 3))
  assert (grid[5:, 12:] == 255).all()
  assert not grid[:4, :5].any()
  assert (grid[4] == 127).all()
  assert (grid[:, 5] == 127).all()
  assert pictures.image_grid(images, max_columns=2).shape == (10, 12, 3)


def test_grid_scales_values():
  images = np.array([-2.0, 0.0, 2.0]).reshape(1, 3, 1, 1, 1)
  for value_range, expected in (
    ((0.0, 1.0), [0, 0, 255]),
    ((None, None), [0, 128, 255]),
    ((-4.0, None), [85, 170, 255]),
  ):
    grid = pictures.image_grid(images, value_range=value_range, gap=0)
    assert grid.ravel().tolist() == expected
  constant = pictures.image_grid(images * 0, value_range=(None, None))
  assert constant.shape == (1, 7, 1)
  raw = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3, 1)
  np.testing.assert_array_equal(pictures.image_grid(raw), raw[0, 0])


def test_grid_refuses_other_ranks():
  with pytest.raises(
    ValueError, match=r'\[C, N, H, W, D\], got \(3, 4, 4, 1\)'
  ):
    pictures.image_grid(np.zeros([3, 4, 4, 1]))


@pytest.mark.parametrize(
  ('shape', 'scale', 'size'),
  [
    ((4, 6, 3), 3, (18, 12)),
    ((4, 6, 1), None, (48, 32)),
    ((400, 300), None, (600, 800)),
    ((1200, 1100, 3), None, (1100, 1200)),
  ],
)
def test_png_is_enlarged_pixel_by_pixel(tmp_path, shape, scale, size):
  array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
  pictures.save_png(tmp_path / 'picture.png', array, scale)
  image = Image.open(tmp_path / 'picture.png')
  assert image.size == size
  step = size[1] // shape[0]
  np.testing.assert_array_equal(
    np.asarray(image)[step - 1 :: step, ::step],
    array.reshape(np.squeeze(array).shape),
  )


def test_large_pictures_are_shrunk_on_request():
  content = pictures.encode_png(np.zeros([50, 100], np.uint8), 1, max_side=20)
  assert Image.open(io.BytesIO(content)).size == (20, 10)


def test_png_refuses_what_is_no_picture(tmp_path):
  for array in (np.zeros([4, 4]), np.zeros([4, 4, 2], np.uint8)):
    with pytest.raises(ValueError, match='a picture must be uint8'):
      pictures.save_png(tmp_path / 'picture.png', array)
  with pytest.raises(ValueError, match='scale must be at least 1, got 0'):
    pictures.save_png(tmp_path / 'x.png', np.zeros([4, 4], np.uint8), 0)
  assert not list(tmp_path.iterdir())


def test_curve_draws_lines_bands_and_levels():
  figure = pictures.curve(
    {'a': ([1, 2, 3], [1.0, 2.0, 4.0]), 'b': ([1, 2], [3.0, 3.0])},
    bands={'a': [0.1, 0.1, 0.1]},
    levels={'random': 2.5},
    x_label='steps',
    y_label='loss',
    log=True,
  )
  (axes,) = figure.axes
  assert [line.get_label() for line in axes.lines] == ['a', 'b', 'random']
  assert axes.lines[0].get_ydata().tolist() == [1.0, 2.0, 4.0]
  assert len(axes.collections) == 1
  assert (axes.get_xlabel(), axes.get_ylabel()) == ('steps', 'loss')
  assert axes.get_yscale() == 'log'


def test_long_curves_are_averaged(write):
  page = write(metrics=fake_metrics(100_000))
  assert len(max((v for n, v in page.attributes if n == 'd'), key=len)) < 20_000


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run of data whose names are markup: its folder, and how to go on."""
  place = tmp_path_factory.mktemp('marked <i>')
  file = runner.write_npz(
    place / '<u> &amp.npz',
    class_names=np.array(['<b>a', '&lt;b', '"c', '<script>d']),
  )
  plain = 'augment.family=none,evaluation.baselines=random'
  words = (
    *('python', '-m', 'dcjax'),
    f'--config=idc:npz,smoke,network=mlp,{plain}',
    f'--config.data_dir={file}',
  )
  runner.run(
    place / 'run',
    f'npz,smoke,network=mlp,{plain}',
    given={'command': (*words, f'--workdir={place / "run"}')},
    data_dir=str(file),
  )
  source = (place / 'run/report.html').read_text(encoding='utf-8')
  commands = re.findall(r'^(?:<pre><code>)?(python -m .*)$', source, re.M)
  return place / 'run', [html.unescape(c.split('<')[0]) for c in commands]


def _page(folder):
  return Page((folder / 'report.html').read_text(encoding='utf-8'))


def test_names_of_data_and_folders_are_text(run):
  page = _page(run[0])
  assert not {'i', 'u', 'script'} & set(page.tags)
  assert 'idc on <u> &amp' in page.text
  assert str(run[0] / 'condensed.npz') in page.text


def _go_on(command):
  _, *rest = shlex.split(command)
  subprocess.run([sys.executable, *rest], check=True, capture_output=True)


def test_what_to_try_next_works_as_printed(run):
  folder, commands = run
  again, others, fair, seed, more = commands
  condensed = (folder / 'condensed.npz').read_bytes()
  before = runner.stages(folder)
  _go_on(fair)
  assert (folder / 'condensed.npz').read_bytes() == condensed
  after = runner.stages(folder)
  assert before.items() <= after.items()
  assert after['fair']['value'].keys() == {'HLR', 'IOR', 'LRS', 'ARS'}
  page = _page(folder)
  assert any(row[:1] == ['LRS'] for row in page.rows)
  assert 'random real images, no augmentation' in page.text

  _go_on(seed)
  second = folder.with_name('run-seed1')
  assert (second / 'condensed.npz').read_bytes() != condensed
  assert _page(second).open == []
  assert more.endswith(f"--config.ipc=5 '--workdir={folder}-ipc5'")
  assert again.endswith(f"'--workdir={folder}'")
  # The networks fit the smallest images.
  for word in others.partition('networks=')[2].split()[0].split('+'):
    networks.build(networks.complete('networks', word), (8, 8, 1), 4)
