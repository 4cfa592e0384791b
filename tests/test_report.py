"""The report page and the pictures in it."""

import base64
import errno
import html
import html.parser
import io
import os
import re
import shlex
import types
from xml.etree import ElementTree

import numpy as np
import pages
import pytest
import runner
from PIL import Image

from dcjax import data, networks
from dcjax.runs import _by_class, _variants, report
from dcjax.runs.report import _figure, _headline, _pictures as pictures, _svg


class Page(html.parser.HTMLParser):
  """Collects tags, attributes and text; notes tags that do not match."""

  VOID = ('meta', 'img', 'br', 'link', 'input')

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
      'config': pages.CONFIG,
      'results': pages.results(),
      'metrics': pages.metrics(),
      'variants': pages.variants(),
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
    '+17.8 points over its start',
    'Over random real images: +16.6 ± 3.7 points',
    'over herding: a tie (+0.3 ± 3.6 points)',
    '± 1.2 over 3 networks; ± 2.5 by the 360 test images; trained on 400',
    'trained on 40 images',
    'condensed, as stored',
    'nearest real image',
    'labels: hard',
    'test accuracy, %',
    'minutes of condensation',
    'artefact.load(',
    str(tmp_path / 'condensed.npz'),
    '--config.seed=1',
    'dcjax --config=idc:digits',
    'won over random real images',
    '2 h 2 min',
    '1/3 of the training set in numbers and in float32',
  ):
    assert part in page.text, part
  assert page.tags.count('svg') == 2
  assert ['optimiser.learning_rate', '0.005'] in page.rows
  assert ['jax', '0.10.2'] in page.rows
  for row in (
    ['images', '30,720', '122.9 kB', '30.7 kB'],
    ['all 1,433 real training images', '91,712', '366.8 kB', '91.7 kB'],
  ):
    assert row in page.rows


def test_report_tabulates_baselines_after_the_headline(write):
  rows = write().rows
  header = next(i for i, row in enumerate(rows) if 'last epoch' in row)
  first, *others = rows[header + 1 : header + 6]
  assert first[:6] == [
    'condensed set',
    '67.8 ± 1.2 %',
    '± 2.5',
    '–',
    '400',
    'hard',
  ]
  assert first[-1] == '69.8 ± 0.4 %'
  assert [row[0] for row in others] == [
    'start of the condensation',
    'random real images',
    'herding (chosen real images)',
    'all real images',
  ]
  assert [row[3] for row in others] == [
    '+17.8 ± 3.7 points',
    '+16.6 ± 3.7 points',
    'a tie (+0.3 ± 3.6 points)',
    '-26.2 ± 2.9 points',
  ]


@pytest.mark.parametrize(
  ('ours', 'theirs', 'expected'),
  [
    # Two networks on 64 test images: 54.7 against 56.2 says nothing.
    ((0.547, 0.0, 2, 64), (0.562, 0.022, 2, 64), (-1.5, 8.9, True)),
    ((0.678, 0.01, 4, 10000), (0.5, 0.01, 4, 10000), (17.8, 1.0, False)),
    ((0.5, None, 0, None), (0.5, None, 0, None), (0.0, 0.0, True)),
  ],
)
def test_a_difference_within_two_standard_errors_is_a_tie(
  ours, theirs, expected
):
  def record(mean, std, networks, tests):
    seeds = [mean] * networks
    return {
      'last_mean': mean,
      'last_std': std,
      'per_seed_last': seeds,
      'tests': tests,
    }

  found = _headline.difference(record(*ours), record(*theirs))
  np.testing.assert_allclose(found[:2], expected[:2], atol=0.05)
  assert found.tie == expected[2]


def test_the_headline_names_the_most_telling_rival(write):
  entries = pages.results()['evaluations']
  for names, said in (
    (('condensed', 'initial', 'random'), '+17.8 points over its start'),
    (('condensed', 'herding', 'random'), '+16.6 points over random'),
    (('condensed',), '67.8 ± 1.2 %'),
  ):
    kept = {name: entries[name] for name in names}
    assert said in write(results=pages.results(evaluations=kept)).text
  worse = {'condensed': entries['initial'], 'initial': entries['condensed']}
  page = write(results=pages.results(evaluations=worse))
  assert '-17.8 points against its start' in page.text
  # What a method condensed for comes before networks.
  own = {'condensed': {'last_mean': 0.9, 'how': 'a regression', 'tests': 100}}
  own['initial'] = {**own['condensed'], 'last_mean': 0.7}
  page = write(results=pages.results(evaluations=worse, own=own))
  first, _, then = page.text.partition('What it was made for: a regression.')
  assert '+20.0 points over its start' in first
  assert 'Over its start: -17.8' in then


def test_a_run_that_is_not_finished_says_so(write):
  unmade = pages.results()
  del unmade['storage']
  state = report.State('running', 0.43, 723.0, 0.0)
  page = write(state=state, results=unmade)
  assert 'running, 43 %, 12 min left' in page.text
  assert ('data-running', '0') in page.attributes
  assert 'artefact.load(' not in page.text
  page = write(state=report.State('failed', None, 9.0, 0.0, 'the <loss>'))
  assert 'failed' in page.text and 'the <loss>' in page.text
  assert 'left' not in page.text.partition('IDC on')[0].partition('</style')[2]


def test_report_needs_nothing_else(write, tmp_path):
  page = write(frames=pages.frames())
  source = (tmp_path / 'report.html').read_text(encoding='utf-8')
  assert not {'link', 'iframe', 'object', 'a'} & set(page.tags)
  assert page.tags.count('script') == 1
  assert not re.search(r'https?:|//|@import', re.sub('data:[^")]*', '', source))
  for name, value in page.attributes:
    if name in ('src', 'href', 'srcset', 'xlink:href'):
      assert value.startswith('data:image/png;base64,'), value
  for target in re.findall(r'url\(([^)]*)\)', source):
    assert target.startswith('data:image/png;base64,')


def test_report_holds_the_images_of_every_class(write):
  expected, page = pages.variants(), write()
  strips = dict(_strips(page))
  assert len(strips) == 16
  for (name, c), shown in strips.items():
    wanted = expected[name][c].transpose(1, 0, 2, 3).reshape(8, -1, 3)
    np.testing.assert_array_equal(shown, wanted)


def _strips(page):
  """(variant, class) and pixels of the pictures that tiles are cut from."""
  found = [value for name, value in page.attributes if name == 'style']
  found = [value for value in found if '--strip' in value]
  for place, value in enumerate(found):
    content = base64.b64decode(value.partition('base64,')[2].rstrip(')'))
    picture = np.asarray(Image.open(io.BytesIO(content)))
    yield (tuple(pages.variants())[place % 4], place // 4), picture


def test_worst_classes_and_pairs_are_named(write):
  entry = pages.evaluation(0.5, classes=3)
  entry['by_class'] = [0.25, None, 1.0]
  entry['confusion'] = [[1, 3, 0], [0, 0, 0], [0, 0, 4]]
  facts = {'classes': ['cat', 'dog', 'car'], 'images': 3}
  page = write(
    results=pages.results(evaluations={'condensed': entry}, data=facts)
  )
  assert ['cat', 'dog', '75 %'] in page.rows
  assert 'no test image' in page.text
  assert ['cat', '25', '75', ''] in page.rows


@pytest.mark.parametrize(
  ('shape', 'rows'),
  [((20, 1), (2, 10)), ((20, 3), (20, 3)), ((12, 1), (12, 1))],
)
def test_single_images_share_a_row(shape, rows):
  images = _variants.rows(np.zeros([*shape, 4, 5, 1]))
  assert images.shape == (*rows, 4, 5, 1)


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


def test_report_escapes_all_text(write):
  evil = '<script>alert("x")</script> & co'
  page = write(
    config={'ke<y': evil, 'deep': {'list': [evil]}},
    results=pages.results(
      method=evil,
      dataset='<b>',
      formation={'name': evil, 'factor': '<i>'},
      command=[evil],
      fair={evil: {'mean': 0.5, 'std': 0.0}},
      artefact='a<b.npz',
      environment={'<u>': evil},
      evaluations={
        'condensed': pages.evaluation(0.5, label_regime=evil, network=evil),
        '<em>': pages.evaluation(0.4),
      },
      seconds={'<s>': 1.0},
    ),
    pictures={'"><x>': (np.zeros((4, 4, 3), np.uint8), '<x>')},
  )
  assert not {'u', 'x', 'em', 's'} & set(page.tags)
  assert page.tags.count('script') == 1
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
  page = write(config={}, results=results, metrics=metrics, variants=None)
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
  names = ('$x^$', '_run', '<b>&')
  series = [_svg.Series(name, (0, 1), (1.0, 2.0)) for name in names]
  plots = [_svg.Plot('title', series, 'steps', ticks=('$a', '_'))]
  _figure.save(plots, tmp_path / 'plot.png')
  _figure.save(plots, tmp_path / 'plot.svg')
  text = (tmp_path / 'plot.svg').read_text()
  ElementTree.fromstring(text)
  assert '&lt;b&gt;&amp;' in text


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


def test_tall_pictures_are_shrunk_on_request():
  content = pictures.encode_png(np.zeros([100, 50], np.uint8), 1, tallest=20)
  assert Image.open(io.BytesIO(content)).size == (10, 20)


def test_png_refuses_what_is_no_picture(tmp_path):
  for array in (np.zeros([4, 4]), np.zeros([4, 4, 2], np.uint8)):
    with pytest.raises(ValueError, match='a picture must be uint8'):
      pictures.save_png(tmp_path / 'picture.png', array)
  with pytest.raises(ValueError, match='scale must be at least 1, got 0'):
    pictures.save_png(tmp_path / 'x.png', np.zeros([4, 4], np.uint8), 0)
  assert not list(tmp_path.iterdir())


def test_plots_hold_points_bands_levels_and_frontiers():
  plot = report.Plot(
    'all <kinds>',
    [
      report.Series('a', [1, 10, 100], [1.0, 2.0, 4.0], [0.1, 0.1, 0.1]),
      report.Series('b', [1, 10], [3.0, 3.5], [0.5, 0.5], 'dots'),
      report.Series('c', [1, 100], [1.5, 3.0], kind='steps'),
      report.Series('level', (), [2.5], kind='level', dashed=True),
      report.Series('d', [1], [2.0], kind='rings', labels=['<said>']),
    ],
    'steps',
    log_x=True,
  )
  text = report.figure(plot)
  found = Page(text)
  assert found.open == []
  assert found.tags.count('circle') == 3 + 2 + 1 + 2  # two of the legend
  assert 'all <kinds>' in found.text and '<said>' in found.text
  ends = [v for n, v in found.attributes if n == 'd' and v.endswith('H406')]
  assert len(ends) == 3 + 4  # the frontier, the level, the axis; and the grid
  # Decades are as far from one another.
  places = [float(v) for n, v in found.attributes if n == 'cx'][:3]
  np.testing.assert_allclose(np.diff(places, 2), 0, atol=0.11)
  alone = report.document([plot, plot])
  assert Page(alone).open == []
  assert 'prefers-color-scheme' in alone


def test_long_curves_are_averaged(write):
  page = write(metrics=pages.metrics(100_000))
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
  commands = re.findall(r'<pre><code>(python -m [^<]*)<', source)
  return place / 'run', list(map(html.unescape, commands))


def _page(folder):
  return Page((folder / 'report.html').read_text(encoding='utf-8'))


def test_names_of_data_and_folders_are_text(run):
  page = _page(run[0])
  assert not {'i', 'u'} & set(page.tags)
  assert page.tags.count('script') == 1
  assert 'idc on <u> &amp' in page.text
  assert str(run[0] / 'condensed.npz') in page.text


def test_what_to_try_next_works_as_printed(run, called):
  folder, commands = run

  def go_on(command):
    _, module, name, *words = shlex.split(command)
    assert (module, name) == ('-m', 'dcjax')
    assert called(*words)[0] == 0

  again, others, fair, seed, more, around = commands
  condensed = (folder / 'condensed.npz').read_bytes()
  before = runner.stages(folder)
  go_on(fair)
  assert (folder / 'condensed.npz').read_bytes() == condensed
  after = runner.stages(folder)
  assert before.items() <= after.items()
  assert after['fair']['value'].keys() == {'HLR', 'IOR', 'LRS', 'ARS'}
  page = _page(folder)
  assert any(row[:1] == ['LRS'] for row in page.rows)
  assert 'random real images, no augmentation' in page.text
  classes = [row[0] for row in page.rows if row[2:] and row[0][:1] == '<']
  assert '<b>a' in classes

  go_on(seed)
  second = folder.with_name('run-seed1')
  assert (second / 'condensed.npz').read_bytes() != condensed
  assert _page(second).open == []
  assert more.endswith(f"--config.ipc=5 '--workdir={folder}-ipc5'")
  assert again.endswith(f"'--workdir={folder}'")
  go_on(around)
  gallery = (folder.parent / 'gallery.html').read_text(encoding='utf-8')
  assert {'run/report.html', 'run-seed1/report.html'} == {
    value for name, value in Page(gallery).attributes if name == 'href'
  }
  # The networks fit the smallest images.
  for word in others.partition('networks=')[2].split()[0].split('+'):
    networks.build(networks.complete('networks', word), (8, 8, 1), 4)


@pytest.mark.parametrize(('fewest', 'said'), [(4, False), (5, True)])
def test_what_is_printed_to_try_next_is_possible(write, fewest, said):
  command = ['dcjax', '--config=dm:digits', '--config.evaluation.networks=mlp']
  facts = {**pages.results()['data'], 'fewest': fewest}
  page = write(
    config={'ipc': 1}, results=pages.results(command=command, data=facts)
  )
  assert ('--config.ipc=5' in page.text) == said
  assert 'networks=mlp --' in page.text
  assert 'networks=mlp --config.evaluation.networks' not in page.text


def test_classes_are_told_apart_over_all_networks():
  dataset = types.SimpleNamespace(
    test_labels=np.array([0, 0, 2]), num_classes=3
  )
  predicted = np.array([[0, 2, 2], [0, 0, 1]])
  found = _by_class.told_apart(predicted, dataset, 'condensed')
  assert found['by_class'] == [0.75, None, 0.5]
  assert found['confusion'] == [[3, 0, 1], [0, 0, 0], [0, 1, 1]]
  assert 'confusion' not in _by_class.told_apart(predicted, dataset, 'random')


def test_the_nearest_real_image_is_one_of_the_class():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (12, 40, 40, 1)).astype(np.uint8)
  dataset = data.from_arrays(
    images, np.arange(12) % 2, images[:2], np.arange(2), name='mine'
  )
  order, offsets, _ = dataset.class_index()
  own = images[order[offsets[1] :]] / 255
  wanted = np.stack([images[:2] / 255, own[[3, 1]] + 0.01])
  found = _variants.nearest(dataset, wanted.astype(np.float32))
  np.testing.assert_allclose(found[1], own[[3, 1]], rtol=1e-6)


def test_decoded_images_stand_beside_their_stored_one():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (4, 4, 4, 1)).astype(np.uint8)
  dataset = data.from_arrays(
    images, np.arange(4) % 2, images[:2], np.arange(2), name='mine'
  )
  built = types.SimpleNamespace(dataset=dataset)
  stored = np.zeros((2, 3, 4, 4, 1), np.float32)
  # Decoded image k * 3 + n is cell k of stored image n.
  decoded = np.broadcast_to(
    np.arange(6).reshape(1, 6, 1, 1, 1) / 255, (2, 6, 4, 4, 1)
  )
  found = _variants.variants(built, _variants.Looks(stored, decoded))
  assert list(found) == ['stored', 'decoded', 'nearest']
  assert found['decoded'][0, :, 0, 0, 0].tolist() == [0, 3, 1, 4, 2, 5]
  alone = _variants.variants(built, _variants.Looks(None, decoded))
  assert alone['decoded'][0, :, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
