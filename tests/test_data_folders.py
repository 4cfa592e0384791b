"""Folders of images and of wav files: small generated ones, good and bad."""

import numpy as np
import pytest
from published import tone, write_wav, write_words

from dcjax import data

# Image folders.


def _write_image(path, shape, value):
  from PIL import Image

  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full((*shape, 3), value, np.uint8)).save(path)


def _write_folder(root, count=5, shape=(8, 6)):
  for c, name in enumerate(('ant', 'bee', 'cat')):
    for i in range(count):
      suffix = ('png', 'JPEG')[i % 2]
      _write_image(root / name / f'{i}.{suffix}', shape, 80 * c + i)


def test_image_folder_without_test_part_is_split(tmp_path):
  _write_folder(tmp_path)
  dataset = data.load('image_folder', tmp_path)
  assert dataset.class_names == ('ant', 'bee', 'cat')
  assert dataset.images.shape == (12, 8, 6, 3)
  assert len(dataset.test_images) == 3
  brightness = dataset.images.mean((1, 2, 3))
  assert (brightness // 80).astype(int).tolist() == dataset.labels.tolist()


@pytest.mark.parametrize('test_name', ['test', 'val'])
def test_image_folder_with_test_part(tmp_path, test_name):
  _write_folder(tmp_path / 'train')
  _write_folder(tmp_path / test_name, count=2)
  dataset = data.load(
    'image_folder',
    tmp_path,
    size=4,
    classes=('cat', 'ant'),
    grayscale=True,
    stats='mnist',
  )
  assert dataset.class_names == ('cat', 'ant')
  assert dataset.images.shape == (10, 4, 4, 1)
  assert dataset.test_images.shape == (4, 4, 4, 1)
  assert dataset.class_images(0).mean() > 150
  assert dataset.mean == (0.1307,)


def test_resizing_keeps_the_centre(tmp_path):
  from PIL import Image

  pixels = np.zeros((8, 24, 3), np.uint8)
  pixels[:, 8:16] = 255
  pixels[0, 8] = 0
  for i in range(2):
    path = tmp_path / 'a' / f'{i}.png'
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
  options = {'classes': ['a'], 'size': 8, 'stats': 'imagenet'}
  images = data.load('image_folder', tmp_path, **options).images
  np.testing.assert_array_equal(images[0], pixels[:, 8:16])


def test_imagenet_subset_takes_the_listed_synsets(tmp_path):
  for part in ('train', 'val'):
    for c, synset in enumerate((*data.IMAGENET_10, 'n99999999')):
      _write_image(tmp_path / part / synset / 'a.JPEG', (9, 12), 20 * c)
  dataset = data.load('imagenet10', tmp_path, size=8)
  assert dataset.class_names == data.IMAGENET_10
  assert dataset.images[3].mean() == 60
  assert (dataset.mean, dataset.std) == data.NORMALIZATIONS['imagenet']


def test_bad_image_folders_are_refused(tmp_path):
  _write_folder(tmp_path)
  with pytest.raises(ValueError, match=r"classes \['dog'\] .*'ant', 'bee'"):
    data.load('image_folder', tmp_path, classes=['ant', 'dog'])
  with pytest.raises(ValueError, match='none twice'):
    data.load('image_folder', tmp_path, classes=['ant', 'ant'])
  _write_image(tmp_path / 'bee' / '9.png', (5, 5), 0)
  with pytest.raises(ValueError, match=r'9\.png is 5x5 .*give size'):
    data.load('image_folder', tmp_path)
  path = tmp_path / 'bee' / '9.png'
  path.write_bytes((tmp_path / 'bee' / '1.JPEG').read_bytes()[:400])
  with pytest.raises(ValueError, match=r'9\.png is not .*image'):
    data.load('image_folder', tmp_path)
  (tmp_path / 'dog').mkdir()
  with pytest.raises(ValueError, match='dog holds no file'):
    data.load('image_folder', tmp_path)


# Speech.


def test_spectrogram_has_the_checked_values():
  n = np.arange(16000)
  tones = 0.5 * np.sin(2 * np.pi * 440 * n / 16000)
  tones += 0.25 * np.cos(2 * np.pi * 1000 * n / 16000)
  clip = np.where(n < 12000, tones, 0).astype(np.float32)
  magnitude = data.magnitude_spectrogram(clip)
  assert magnitude.shape == (128, 125)
  np.testing.assert_allclose(magnitude.sum(dtype=float), 9192.578, rtol=1e-6)
  np.testing.assert_allclose(magnitude.max(), magnitude[7, 15], rtol=1e-6)
  np.testing.assert_allclose(
    [magnitude[7, 15], magnitude[7, 10], magnitude[16, 50], magnitude[0, 0]],
    [31.8731, 31.8703, 15.8975, 3.01139],
    rtol=1e-5,
  )
  logs = data.log_spectrogram(np.stack([clip, clip]))
  assert logs.shape == (2, 64, 64)
  halved = np.exp(logs[0].astype(float)) - 1e-3
  np.testing.assert_allclose(halved.sum(), 2298.1446, rtol=1e-5)
  log = logs[1]
  np.testing.assert_allclose(
    [
      log.mean(dtype=float),
      log.std(dtype=float, ddof=1),
      log[3, 10],
      log[8, 25],
      log[63, 63],
    ],
    [-6.06282, 2.17428, 3.16785, 2.44779, -6.90776],
    rtol=2e-5,
  )
  reflected = data.magnitude_spectrogram(clip, pad='reflect')
  assert not np.allclose(reflected[:, 0], magnitude[:, 0])
  np.testing.assert_allclose(reflected[:, 1:124], magnitude[:, 1:124])


@pytest.mark.parametrize(
  ('waves', 'pad', 'message'),
  [
    (np.zeros(15000), 'zeros', r'waves have shape \(15000,\)'),
    (np.zeros(16000), 'wrap', "pad is 'wrap'"),
  ],
)
def test_spectrogram_refuses(waves, pad, message):
  with pytest.raises(ValueError, match=message):
    data.log_spectrogram(waves, pad=pad)


@pytest.mark.parametrize(
  'convert',
  [
    lambda w: np.round(w * 127 + 128).astype(np.uint8),
    lambda w: np.round(w * 32767).astype(np.int16),
    lambda w: np.round(w * (2**31 - 1)).astype(np.int32),
    lambda w: w.astype(np.float32),
    lambda w: np.stack([w * 2, w * 0], -1).astype(np.float64),
  ],
)
@pytest.mark.parametrize(
  ('rate', 'seconds'), [(16000, 1.2), (16000, 0.5), (44100, 0.5), (8000, 1)]
)
def test_wav_of_any_kind_becomes_one_second(tmp_path, convert, rate, seconds):
  from scipy.io import wavfile

  path = tmp_path / 'a.wav'
  wavfile.write(path, rate, convert(tone(rate, seconds)))
  clip = data.read_wav(path)
  assert clip.shape == (16000,)
  assert clip.dtype == np.float32
  middle = slice(1000, 7000)  # The resampling filter rings at the ends.
  np.testing.assert_allclose(clip[middle], tone(16000, 1)[middle], atol=0.012)
  if seconds == 0.5:
    assert not clip[8100:].any()


def test_wav_folder_is_normalised_and_split_by_every_eighth(tmp_path):
  write_words(tmp_path, ('hi', 'bye'))
  dataset = data.load('wav_folder', tmp_path)
  assert dataset.class_names == ('bye', 'hi')
  assert dataset.images.shape == (16, 64, 64, 1)
  assert dataset.images.dtype == np.float32
  assert dataset.counts.tolist() == [8, 8]
  assert dataset.test_labels.tolist() == [0, 0, 1, 1]
  np.testing.assert_allclose(dataset.images.mean(), 0, atol=1e-4)
  np.testing.assert_allclose(dataset.images.std(ddof=1), 1, atol=1e-4)
  assert (dataset.mean, dataset.std, dataset.scale) == ((0.0,), (1.0,), 1.0)
  assert dataset.value_range == (dataset.images.min(), None)
  recipe = dataset.extra['spectrogram']
  first = data.log_spectrogram(data.read_wav(tmp_path / 'bye' / '08.wav'))
  np.testing.assert_allclose(
    dataset.test_images[1, ..., 0] * recipe['std'] + recipe['mean'],
    first,
    atol=1e-4,
  )
  assert (recipe['rate'], recipe['n_fft'], recipe['hop']) == (16000, 255, 128)


def test_speech_commands_come_in_the_published_order(tmp_path):
  words = data.SPEECH_COMMANDS
  write_words(tmp_path / 'mini_speech_commands', words, count=2)
  dataset = data.load('speech', tmp_path)
  assert dataset.class_names == words
  assert dataset.name == 'speech'
  chosen = data.load('speech', tmp_path, classes=['up', 'go'], pad='reflect')
  assert chosen.class_names == ('up', 'go')
  assert chosen.extra['spectrogram']['pad'] == 'reflect'


def test_bad_wav_folders_are_refused(tmp_path):
  write_words(tmp_path, ('hi', 'bye'), count=3)
  path = tmp_path / 'hi' / '01.wav'
  good = path.read_bytes()
  for content in (good[:200], good[:20], b'', b'RIFFxxxxWAVE', b'garbage' * 9):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'01\.wav is not .*wav'):
      data.load('wav_folder', tmp_path)
  write_wav(path, np.zeros(0))
  with pytest.raises(ValueError, match=r'01\.wav is not .*'):
    data.load('wav_folder', tmp_path)
  with pytest.raises(ValueError, match=r"classes \['no'\]"):
    data.load('wav_folder', tmp_path, classes=['no'])
  write_words(tmp_path, ('one',), count=1)
  with pytest.raises(ValueError, match='one holds 1 file'):
    data.load('wav_folder', tmp_path, classes=['one'])
  (tmp_path / 'none').mkdir()
  with pytest.raises(ValueError, match='none holds no file'):
    data.load('wav_folder', tmp_path, classes=['none'])


def test_silent_clips_cannot_be_normalised(tmp_path):
  for i in range(3):
    write_wav(tmp_path / 'hush' / f'{i}.wav', np.zeros(100))
  with pytest.raises(ValueError, match='have std 0'):
    data.load('wav_folder', tmp_path, classes=['hush'])
