"""Folders as users have them: every part is used, named, or refused."""

import os
import struct
import zlib

import numpy as np
import pytest
import runner
from PIL import Image
from published import write_words

from dcjax import _npz, data, specs
from dcjax.runs import _build, settings

_CLASSES = ('cat', 'dog')
_RNG = np.random.default_rng(0)


def _picture(path, size=(8, 8)):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = _RNG.integers(0, 256, (*size, 3), dtype=np.uint8)
  Image.fromarray(pixels).save(path)


def _folder(root, classes=_CLASSES, count=5, below=''):
  for name in classes:
    for i in range(count):
      _picture(root / name / below / f'{i}.png')


def _load(root, **options):
  return data.load('image_folder', root, **options)


@pytest.mark.parametrize(
  ('train', 'test'),
  [
    ('train', 'valid'),
    ('Train', 'Test'),
    ('TRAINING', 'VALIDATION'),
    ('training', 'testing'),
    ('train', 'dev'),
    ('trainval', 'test'),
    ('train_set', 'test-set'),
    ('Training Data', 'Validation Data'),
    ('TrainSet', 'TestSet'),
    ('train2017', 'val2017'),
    ('images_train', 'images_val'),
    ('01_train', '02_eval'),
    ('train', 'tests'),
    ('train', 'Validate'),
    ('train', 'hold-out'),
  ],
)
def test_parts_are_found_in_any_spelling(tmp_path, train, test):
  _folder(tmp_path / train)
  _folder(tmp_path / test, count=2)
  dataset = _load(tmp_path)
  assert dataset.class_names == _CLASSES
  assert (len(dataset.images), len(dataset.test_images)) == (10, 4)
  assert dataset.notes == ()


@pytest.mark.parametrize(
  ('train', 'test'),
  [
    ('seg_train', 'seg_test'),
    ('myTrain', 'myTest'),
    ('train', 'public_test'),
    ('train', 'VAL.X'),
  ],
)
def test_names_that_only_hint_at_parts_are_refused(tmp_path, train, test):
  _folder(tmp_path / train)
  _folder(tmp_path / test)
  with pytest.raises(ValueError, match='looks like a part of a set'):
    _load(tmp_path)


@pytest.mark.parametrize('other', ['cafe\u0301', 'Caf\u00e9'])
def test_names_that_only_look_alike_are_said(tmp_path, other):
  _folder(tmp_path / 'train', ('caf\u00e9', 'the'))
  _folder(tmp_path / 'test', (other, 'the'))
  with pytest.raises(ValueError, match='look alike, but case or accents'):
    _load(tmp_path)


def test_of_two_parts_the_one_for_testing_is_used_and_the_other_named(tmp_path):
  _folder(tmp_path / 'train')
  _folder(tmp_path / 'val', count=3)
  _folder(tmp_path / 'test', count=2)
  with pytest.warns(data.DataWarning, match=r'val: is not used \(6 pictures'):
    dataset = _load(tmp_path)
  assert len(dataset.test_images) == 4
  assert len(dataset.notes) == 1


def test_an_unsorted_test_part_is_named_or_refused(tmp_path):
  _folder(tmp_path / 'train')
  for i in range(3):
    _picture(tmp_path / 'Test' / f'{i}.png')
  with pytest.raises(ValueError, match=r'Test/<class>.*or move the folder'):
    _load(tmp_path)
  _folder(tmp_path / 'valid', count=2)
  dataset = _load(tmp_path)
  assert len(dataset.test_images) == 4
  assert '3 pictures without class folders' in dataset.notes[0]


@pytest.mark.parametrize(
  ('folders', 'said'),
  [
    (('train/cat', 'training/cat', 'test/cat'), '2 folders for one part'),
    (('val/cat', 'val/dog', 'test/cat', 'test/dog'), 'no folder train'),
    (('cat', 'dog', 'test'), 'looks like a part for testing'),
    (('train', 'test'), 'no folder train with class folders'),
    (('train',), 'train/<class>'),
    (('cat/train', 'cat/test', 'dog/train'), "'test' looks like a part"),
    (('a/cat', 'a/dog', 'b/cat', 'b/dog'), 'each holds the same folders'),
    (('photos/cat', 'photos/dog'), 'did you mean .*photos'),
    (('a/b/cat', 'a/b/dog'), 'did you mean .*a'),
    (('cat',), 'found 1 class'),
    (('train/cat', 'test/cat'), 'found 1 class'),
    (('train/cat', 'train/dog', 'train/cow', 'test/cat'), r"classes \['cow'"),
    ((), 'one folder per class'),
  ],
)
def test_layouts_that_say_nothing_certain_are_refused(tmp_path, folders, said):
  root = tmp_path / 'set'
  root.mkdir()
  for folder in folders:
    for i in range(4):
      _picture(root / folder / f'{i}.png')
  with pytest.raises(ValueError, match=said) as raised:
    _load(root)
  assert '\n' not in str(raised.value)


def test_named_classes_are_classes_whatever_they_look_like(tmp_path):
  _folder(tmp_path, ('cat', 'train', 'test'))
  dataset = _load(tmp_path, classes=('train', 'cat'))
  assert dataset.class_names == ('train', 'cat')
  assert any('test: is not used' in note for note in dataset.notes)
  assert _load(tmp_path, classes=('cat',)).num_classes == 1


@pytest.mark.parametrize(
  ('said', 'names'),
  [
    ('10,2', ('10', '2')),
    ('(10, 2)', ('10', '2')),
    ('[10+2]', ('10', '2')),
    ('cat,dog', ('cat', 'dog')),
    ("('cat', 'dog')", ('cat', 'dog')),
    ('"a b",True', ('a b', 'True')),
    ("('007',)", ('007',)),
  ],
)
def test_classes_are_names_however_a_flag_spells_them(tmp_path, said, names):
  _folder(tmp_path, ('10', '2', 'cat', 'dog', 'a b', 'ab', 'True', '007'), 2)
  word = f'image_folder:size=8:classes={said}'
  config = runner.config('npz,smoke', data=word, data_dir=str(tmp_path))
  chosen = settings.resolve(config).config
  assert _build.load(chosen).class_names == names


@pytest.mark.parametrize('option', ['seed=-1', 'seed=x', 'grayscale=maybe'])
def test_options_of_another_kind_are_refused(tmp_path, option):
  name, _, value = option.partition('=')
  with pytest.raises(ValueError, match=rf'{name}.*{value}.*must be'):
    _load(tmp_path, **{name: specs.literal(value)})


def test_what_is_left_out_is_counted(tmp_path):
  _folder(tmp_path / 'train', ('cat', 'dog'))
  _folder(tmp_path / 'test', ('cat', 'dog', 'cow'), 2)
  _folder(tmp_path, ('unlabeled',))
  (tmp_path / 'train' / 'cat' / 'boxes.txt').write_text('x')
  (tmp_path / 'train' / 'dog' / 'raw.nef').write_text('x')
  (tmp_path / 'testing_list.txt').write_text('x')
  (tmp_path / 'README.md').write_text('x')
  _picture(tmp_path / 'loose.png')
  notes = ' '.join(_load(tmp_path).notes)
  for part in (
    'left out unlabeled',
    'left out cow',
    'left out 2 files in class folders',
    '1 .txt',
    '1 .nef',
    '2 files outside of class folders (loose.png, testing_list.txt)',
  ):
    assert part in notes


@pytest.mark.parametrize(
  'name',
  ['.ipynb_checkpoints', '@eaDir', '__MACOSX', 'lost+found', '#recycle'],
)
@pytest.mark.parametrize('where', ['', 'cat', 'cat/more', 'train', 'train/cat'])
def test_litter_is_passed_over_at_all_depths(tmp_path, name, where):
  root = tmp_path / 'train' if where.startswith('train') else tmp_path
  _folder(root, count=3)
  for i in range(3):
    _picture(tmp_path / where / name / f'{i}.png')
  _picture(root / 'cat' / '._0.png')
  if where == 'cat/more':
    _picture(root / 'cat' / 'more' / 'one.png')
  dataset = _load(tmp_path)
  found = len(dataset.images) + len(dataset.test_images)
  assert found == 6 + (where == 'cat/more')
  assert dataset.notes == ()


def test_links_are_followed_but_not_in_circles(tmp_path):
  root = tmp_path / 'set'
  _folder(root)
  _folder(tmp_path / 'elsewhere', ('cow', 'more'))
  os.symlink(tmp_path / 'elsewhere' / 'cow', root / 'cow')
  os.symlink(tmp_path / 'elsewhere' / 'more', root / 'cat' / 'more')
  os.symlink(root, root / 'dog' / 'round')
  dataset = _load(root)
  assert dataset.class_names == ('cat', 'cow', 'dog')
  held = np.bincount(dataset.test_labels)
  assert (dataset.counts + held).tolist() == [10, 5, 5]
  assert 'left out dog/round' in dataset.notes[0]


def test_pipes_are_passed_over_and_dead_links_named(tmp_path):
  _folder(tmp_path)
  os.mkfifo(tmp_path / 'cat' / 'pipe.png')
  assert any('cat/pipe.png' in note for note in _load(tmp_path).notes)
  os.symlink(tmp_path / 'none.png', tmp_path / 'cat' / 'dead.png')
  with pytest.raises(FileNotFoundError, match=r'dead\.png'):
    _load(tmp_path)


def test_lost_links_and_names_that_cannot_be_shown_are_said(tmp_path):
  _folder(tmp_path)
  os.symlink(tmp_path / 'none', tmp_path / 'cow')
  os.mkdir(os.fsencode(tmp_path) + b'/dog/_a\n\xff')
  notes = _load(tmp_path).notes
  assert '(cow)' in notes[0]
  assert all(note.isprintable() and note.isascii() for note in notes)


def _tiny_imagenet(root):
  for c in ('n01', 'n02'):
    _folder(root / 'train', (c,), 4, 'images')
    (root / 'train' / c / f'{c}_boxes.txt').write_text('x')
  lines = []
  for i in range(6):
    _picture(root / 'val' / 'images' / f'val_{i}.JPEG')
    lines.append(f'val_{i}.JPEG\tn0{1 + i % 2}\t0\t0\t1\t1\n')
    _picture(root / 'test' / 'images' / f'test_{i}.JPEG')
  (root / 'val' / 'val_annotations.txt').write_text(''.join(lines))


def test_tiny_imagenet_is_read_as_published(tmp_path):
  _tiny_imagenet(tmp_path)
  dataset = _load(tmp_path)
  assert dataset.class_names == ('n01', 'n02')
  assert dataset.test_labels.tolist() == [0, 0, 0, 1, 1, 1]
  assert any('test: is not used' in note for note in dataset.notes)
  only = _load(tmp_path, classes=('n02', 'n01'))
  np.testing.assert_array_equal(only.test_images[:3], dataset.test_images[3:])


@pytest.mark.parametrize('damage', ['lost', 'unnamed', 'doubled', 'form'])
def test_annotations_that_do_not_fit_are_refused(tmp_path, damage):
  _tiny_imagenet(tmp_path)
  path = tmp_path / 'val' / 'val_annotations.txt'
  text = path.read_text()
  if damage == 'lost':
    (tmp_path / 'val' / 'images' / 'val_0.JPEG').unlink()
  if damage == 'unnamed':
    _picture(tmp_path / 'val' / 'images' / 'val_9.JPEG')
  if damage == 'doubled':
    path.write_text(text + text[:20] + '\n')
  if damage == 'form':
    path.write_text('no tabs\n')
  with pytest.raises(ValueError, match=r'val_annotations\.txt'):
    _load(tmp_path)


@pytest.mark.parametrize('val', ['flat', 'missing', 'other', 'empty'])
def test_published_sets_are_not_tested_on_training_images(tmp_path, val):
  for synset in data.IMAGENET_10:
    _picture(tmp_path / 'train' / synset / 'a.JPEG')
    _picture(tmp_path / 'train' / synset / 'b.JPEG')
    if val == 'other':
      _picture(tmp_path / 'val' / f'x{synset}' / 'a.JPEG')
  if val == 'flat':
    _picture(tmp_path / 'val' / 'ILSVRC2012_val_00000001.JPEG')
  if val == 'empty':
    (tmp_path / 'val').mkdir()
  with pytest.raises(ValueError, match=r'val.*<class>') as raised:
    data.load('imagenet10', tmp_path, size=8)
  assert str(tmp_path) in str(raised.value)


def test_wav_folders_have_the_same_layouts(tmp_path):
  root = tmp_path / 'sounds' / 'words'
  write_words(root / 'Train', ('hi', 'no'), count=4)
  write_words(root / 'valid', ('hi', 'no'), count=2)
  (root / 'Train' / 'hi' / 'a.flac').write_bytes(b'x')
  dataset = data.load('wav_folder', root)
  assert dataset.class_names == ('hi', 'no')
  assert (len(dataset.images), len(dataset.test_images)) == (8, 4)
  assert any('1 .flac' in note for note in dataset.notes)
  with pytest.raises(ValueError, match='did you mean'):
    data.load('wav_folder', tmp_path / 'sounds')


# Modes.


def _gallery(root, **save):
  """A folder whose class 'a' holds pictures made by `save`, 'b' plain ones."""
  _folder(root, ('b',))
  (root / 'a').mkdir()
  for i in range(4):
    save['picture'].save(
      root / 'a' / f'{i}.{save["suffix"]}', **save.get('options', {})
    )
  dataset = _load(root)
  return dataset.images[dataset.labels == 0][0], dataset.notes


_RAMP = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)


@pytest.mark.parametrize('suffix', ['png', 'tif', 'pgm'])
def test_16_bits_are_scaled_to_8(tmp_path, suffix):
  pixels, notes = _gallery(
    tmp_path, picture=Image.fromarray(_RAMP), suffix=suffix
  )
  np.testing.assert_array_equal(pixels[..., 0], _RAMP >> 8)
  assert any('of 16 bits are scaled to 8' in note for note in notes)


@pytest.mark.parametrize(
  ('bits', 'white_is_zero', 'value'), [(12, 0, 255), (16, 1, 0), (8, 1, 0)]
)
def test_the_tags_of_grey_tiffs_count(tmp_path, bits, white_is_zero, value):
  raw = b'\xff' * (8 * bits)
  tags = ((256, 8), (257, 8), (258, bits), (259, 1))
  tags += ((262, 1 - white_is_zero), (273, 8), (278, 8), (279, len(raw)))
  entries = b''.join(struct.pack('<HHIHH', t, 3, 1, v, 0) for t, v in tags)
  content = b'II*\0' + struct.pack('<I', 8 + len(raw)) + raw
  content += struct.pack('<H', len(tags)) + entries + bytes(4)
  _folder(tmp_path, ('b',))
  (tmp_path / 'a').mkdir()
  for i in range(2):
    (tmp_path / 'a' / f'{i}.tif').write_bytes(content)
  dataset = _load(tmp_path)
  assert (dataset.images[0] == value).all()


def _chunk(kind, content):
  body = kind + content
  crc = struct.pack('>I', zlib.crc32(body))
  return struct.pack('>I', len(content)) + body + crc


def _png(colour, depth, pixels, clear):
  head = struct.pack('>IIBBBBB', 8, 8, depth, colour, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + _chunk(b'IHDR', head)
    + _chunk(b'tRNS', clear)
    + _chunk(b'IDAT', zlib.compress((b'\0' + pixels * 8) * 8))
    + _chunk(b'IEND', b'')
  )


@pytest.mark.parametrize('colour', [0, 2])
def test_transparent_colours_of_16_bits_are_laid_on_white(tmp_path, colour):
  pixel = b'\x0f\xff' * (1 + colour)
  _folder(tmp_path, count=2)
  (tmp_path / 'cat' / 'a.png').write_bytes(_png(colour, 16, pixel, pixel))
  dataset = _load(tmp_path)
  images = np.concatenate([dataset.images, dataset.test_images])
  assert (images == 255).all((1, 2, 3)).sum() == 1


@pytest.mark.parametrize(
  ('mode', 'dtype', 'value'),
  [('F', np.float32, 0.5), ('I', np.int32, 70000), ('I', np.int32, -1)],
)
def test_modes_without_meaning_in_8_bits_are_refused(
  tmp_path, mode, dtype, value
):
  picture = Image.fromarray(np.full((8, 8), value, dtype))
  assert picture.mode == mode
  with pytest.raises(ValueError, match=rf'0\.tif .*mode is {mode}'):
    _gallery(tmp_path, picture=picture, suffix='tif')


def _drawing(mode):
  """Black on transparent, by the alpha channel or a transparent colour."""
  ink = np.zeros((8, 8, 4), np.uint8)
  ink[2:6, 2:4, 3] = 255
  if mode in ('RGBA', 'LA'):
    return Image.fromarray(ink).convert(mode), {}
  grey = Image.fromarray(np.where(ink[..., 3] > 0, 0, 7).astype(np.uint8))
  if mode == 'P':
    picture = grey.convert('P')
    return picture, {'transparency': picture.getpixel((0, 0))}
  if mode == 'L':
    return grey, {'transparency': 7}
  return grey.convert('RGB'), {'transparency': (7, 7, 7)}


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'P', 'L', 'RGB'])
def test_transparent_pictures_are_laid_on_white(tmp_path, mode):
  picture, options = _drawing(mode)
  pixels, notes = _gallery(
    tmp_path, picture=picture, suffix='png', options=options
  )
  assert (pixels[2:6, 2:4] == 0).all()
  assert (pixels[0] == 255).all()
  assert any('are laid on white' in note for note in notes)


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB', 'CMYK', 'YCbCr'])
def test_plain_modes_are_read_as_they_look(tmp_path, mode):
  colours = np.zeros((8, 8, 3), np.uint8)
  colours[:4] = 255
  picture = Image.fromarray(colours).convert(mode)
  pixels, notes = _gallery(tmp_path, picture=picture, suffix='tif')
  assert np.abs(pixels.astype(int) - colours).max() < 3
  assert len(notes) == 1 and 'training images too' in notes[0]


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png'])
def test_pictures_are_turned_upright(tmp_path, suffix, orientation):
  upright = np.zeros((8, 16, 3), np.uint8)
  upright[:4, :8] = 255
  # What a camera stores: the inverse of what its tag asks for.
  turns = Image.Transpose
  stored = Image.fromarray(upright)
  inverse = {
    2: turns.FLIP_LEFT_RIGHT,
    3: turns.ROTATE_180,
    4: turns.FLIP_TOP_BOTTOM,
    5: turns.TRANSPOSE,
    6: turns.ROTATE_90,
    7: turns.TRANSVERSE,
    8: turns.ROTATE_270,
  }
  if orientation in inverse:
    stored = stored.transpose(inverse[orientation])
  exif = Image.Exif()
  exif[0x0112] = orientation
  options = {'exif': exif}
  if suffix == 'jpg':
    options |= {'quality': 100, 'subsampling': 0}
  _folder(tmp_path, ('b',), 0)
  for i in range(4):
    _picture(tmp_path / 'b' / f'{i}.png', (8, 16))
  (tmp_path / 'a').mkdir()
  for i in range(4):
    stored.save(tmp_path / 'a' / f'{i}.{suffix}', **options)
  dataset = _load(tmp_path)
  pixels = dataset.images[dataset.labels == 0][0]
  assert np.abs(pixels.astype(int) - upright).max() < 8
  assert any('EXIF' in note for note in dataset.notes) == (orientation > 1)


def test_published_pictures_are_read_as_their_references_do(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6
  half = np.zeros((8, 8, 3), np.uint8)
  half[:4] = 255
  for part in ('train', 'val'):
    for synset in data.IMAGENET_10:
      path = tmp_path / part / synset / 'a.JPEG'
      path.parent.mkdir(parents=True)
      Image.fromarray(half).save(path, 'JPEG', exif=exif, quality=100)
  pixels = data.load('imagenet10', tmp_path, size=8).images[0]
  assert pixels[:4].mean() > 250 and pixels[4:].mean() < 5


@pytest.mark.parametrize(
  'suffix', ['jfif', 'jpe', 'pgm', 'tga', 'jp2', 'webp', 'BMP', 'PNG']
)
def test_what_pillow_reads_is_a_picture(tmp_path, suffix):
  _folder(tmp_path, count=3)
  grey = Image.fromarray(_RNG.integers(0, 256, (8, 8), dtype=np.uint8))
  grey.save(tmp_path / 'cat' / f'x.{suffix}')
  dataset = _load(tmp_path)
  assert len(dataset.images) + len(dataset.test_images) == 7


def test_animations_and_giants_are_refused(tmp_path):
  _folder(tmp_path)
  frames = [Image.new('RGB', (8, 8), c) for c in ('red', 'blue')]
  path = tmp_path / 'cat' / 'x.gif'
  frames[0].save(path, save_all=True, append_images=frames[1:])
  with pytest.raises(ValueError, match=r'x\.gif .*2 frames'):
    _load(tmp_path)
  path.unlink()

  head = struct.pack('>IIBBBBB', 60_000, 60_000, 8, 0, 0, 0, 0)
  png = b'\x89PNG\r\n\x1a\n' + _chunk(b'IHDR', head)
  png += _chunk(b'IDAT', zlib.compress(b'')) + _chunk(b'IEND', b'')
  path = tmp_path / 'cat' / 'slide.png'
  path.write_bytes(png)
  with pytest.raises(ValueError, match=r'slide\.png is too large'):
    _load(tmp_path, size=8)
  Image.new('L', (1, 20_000)).save(path)
  with pytest.raises(ValueError, match=r'slide\.png .*would be resized'):
    _load(tmp_path, size=200)


# Arrays and sounds.


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_channels_first_is_refused(channels, dtype):
  images = _RNG.uniform(0, 1, (40, channels, 32, 28)).astype(dtype)
  with pytest.raises(ValueError, match=r'channels last, \[M, H, W, D\]'):
    data.from_arrays(images, np.arange(40) % 4)


def test_names_may_be_bytes_but_not_twice():
  images = _RNG.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
  labels = np.arange(40) % 3
  given = np.array(['a', 'ä', 'c'])
  for names in (given, np.char.encode(given, 'utf-8'), list(given)):
    made = data.from_arrays(images, labels, class_names=names)
    assert made.class_names == ('a', 'ä', 'c')
  for names, said in (
    (['a', 'b', 'a'], r"\['a'\] more than once"),
    (['a', 'b', b'a '], r"\['a', 'a '\] more than once"),
    (['e\u0301', 'b', '\u00e9'], 'look different'),
    (['a', 'b', ' '], 'can be printed'),
    ([b'\xff', b'b', b'c'], 'no UTF-8'),
    (['a', 'b', ''], 'can be printed'),
    (['a', 'b', 'c\nd'], 'can be printed'),
    (['a', 'b', '\udc80'], 'can be printed'),
    ('abc', 'one name per class'),
    ([['a'], ['b'], ['c']], 'one name per class'),
  ):
    with pytest.raises(ValueError, match=said):
      data.from_arrays(images, labels, class_names=names)


def test_constant_channels_are_centred_only_and_said(tmp_path):
  images = _RNG.integers(0, 256, (40, 8, 8, 4), dtype=np.uint8)
  images[..., 3] = 255
  path = tmp_path / 'own.npz'
  np.savez_compressed(path, images=images, labels=np.arange(40) % 2)
  for stats in (None, 'data'):
    dataset = data.load('npz', path, stats=stats)
    assert dataset.std[3] == 1.0 and dataset.mean[3] == 1.0
    assert sum('channels [3]' in note for note in dataset.notes) == 1
  with pytest.raises(ValueError, match='not all alike'):
    data.from_arrays(np.full_like(images, 9), np.arange(40) % 2)


@pytest.mark.parametrize(
  ('options', 'said'),
  [
    ({'value_range': (0, 1, 2)}, r'value_range is \(0, 1, 2\)'),
    ({'value_range': ('0', 1)}, "value_range is \\('0', 1\\)"),
    ({'value_range': (None, float('nan'))}, r'value_range is \(None, nan\)'),
    ({'mean': (125.0,), 'std': (60.0,)}, r'mean is \(125.0,\).*0..1'),
  ],
)
def test_constants_of_another_range_are_refused(options, said):
  images = _RNG.integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
  with pytest.raises(ValueError, match=said):
    data.from_arrays(images, np.arange(8) % 2, **options)


def test_classes_without_a_test_image_are_said():
  images = _RNG.integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
  labels = np.arange(8) % 2
  made = data.from_arrays(images, labels, 255 - images[:1], labels[:1])
  assert made.notes == ("no test image of 1 classes: ['1']",)


def test_doubtful_numbers_are_said():
  labels = np.arange(40) % 2
  binary = _RNG.integers(0, 2, (40, 8, 8, 1), dtype=np.uint8)
  made = data.from_arrays(binary, labels)
  assert 'nearly black' in made.notes[0]
  for images, said in (
    (binary.astype(np.float32) * 255, 'divided by 255'),
    (binary.astype(np.int64), 'astype'),
  ):
    with pytest.raises(ValueError, match=said):
      data.from_arrays(images, labels)


def test_test_images_that_are_training_images_are_counted(tmp_path):
  images = _RNG.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
  labels = np.arange(20) % 2
  np.savez(
    tmp_path / 'own.npz',
    images=images,
    labels=labels,
    test_images=np.concatenate([images[:3], 255 - images[:3]]),
    test_labels=np.concatenate([labels[:3]] * 2),
    extra=np.ones(3),
  )
  notes = ' '.join(data.load('npz', tmp_path).notes)
  assert '3 of 6 test images are training images' in notes
  assert "left out the arrays ['extra']" in notes


def test_arrays_that_no_memory_holds_are_refused(tmp_path, monkeypatch):
  images = np.zeros((20, 8, 8, 3), np.uint8)
  path = tmp_path / 'packed.npz'
  np.savez_compressed(path, images=images, labels=np.arange(20) % 2)
  monkeypatch.setattr(_npz, '_memory', lambda: 3000)
  with pytest.raises(ValueError, match=r'packed\.npz .* this machine has 3000'):
    data.load('npz', path)


def test_what_is_no_npz_is_said_without_blame(tmp_path):
  images = _RNG.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
  labels = np.arange(20) % 2
  np.save(tmp_path / 'a.npz.npy', images)
  os.rename(tmp_path / 'a.npz.npy', tmp_path / 'a.npz')
  np.savez(tmp_path / 'b.npz', images=images, labels=np.array([{}] * 20))
  (tmp_path / 'c.npz').write_bytes(b'<html>')
  (tmp_path / 'd.npz').write_bytes(b'')
  np.savez(tmp_path / 'e.npz', images=images, labels=np.zeros(20, int))
  for name, said in (
    ('a', 'is a .npy file'),
    ('b', 'pickled objects, which are never read'),
    ('c', 'page of text'),
    ('d', 'no .npz file, or damaged'),
    ('e', 'one class only'),
  ):
    with pytest.raises(ValueError, match=said) as raised:
      data.load('npz', tmp_path / f'{name}.npz')
    assert f'{name}.npz' in str(raised.value)
    assert '\n' not in str(raised.value)
  np.savez(tmp_path / 'f.npz', images=np.asfortranarray(images), labels=labels)
  dataset = data.load('npz', tmp_path / 'f.npz')
  assert dataset.image_shape == (8, 8, 3)


@pytest.mark.parametrize('largest', [127, 32767, 2**31 - 1])
def test_float_sounds_of_whole_numbers_are_refused(tmp_path, largest):
  from scipy.io import wavfile

  wave = np.sin(np.arange(16000) / 5).astype(np.float32)
  path = tmp_path / 'a.wav'
  wavfile.write(path, 16000, wave * 1.5)  # clipped recordings are taken
  assert data.read_wav(path).max() > 1.4
  wavfile.write(path, 16000, wave * largest)
  with pytest.raises(ValueError, match=r'a\.wav .*divide by'):
    data.read_wav(path)


@pytest.mark.parametrize('rate', [1, 2**31 - 1, 2**32 - 1])
def test_rates_of_no_recording_are_refused(tmp_path, rate):
  from scipy.io import wavfile

  path = tmp_path / 'a.wav'
  wavfile.write(path, 16000, np.ones(100, np.uint8))
  content = bytearray(path.read_bytes())
  content[24:32] = struct.pack('<II', rate, rate)
  path.write_bytes(content)
  with pytest.raises(ValueError, match=rf'a\.wav .*rate is {rate}'):
    data.read_wav(path)
