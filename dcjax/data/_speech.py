"""Speech: log spectrograms of one-second clips, from folders of wav files.

The pipeline of IDC's speech experiment (Kim et al., 2022, section 5.2).
"""

import io
import math
import pathlib
import warnings
from collections.abc import Sequence

import numpy as np

from dcjax.data import _checks, _dataset, _files, _layout, _specs
from dcjax.data._listing import Kind

SAMPLE_RATE = 16_000
_N_FFT = 255
_HOP = 128
_EPSILON = 1e-3
# Zero frames before and after the 125, which make the spectrogram square.
_FRAME_PADDING = (1, 2)
_SIDE = 64
_TEST_EVERY = 8
_KIND = Kind('wav files', frozenset(('.wav', '.wave')))
_MOST_BYTES = 2**29
# Hz of recordings; a damaged header asks for filters without end.
_RATES = (1_000, 768_000)
# Float samples are in [-1, 1] but for clipping; whole numbers are far above.
_LOUDEST = 8.0
_PAD_MODES = {'zeros': 'constant', 'reflect': 'reflect'}


def magnitude_spectrogram(
  waves: np.ndarray, *, pad: str = 'zeros'
) -> np.ndarray:
  """Returns short-time Fourier magnitudes of one-second clips.

  Frames of 255 samples every 128 under a periodic Hann window, the first one
  centred on sample 0.

  Args:
    waves: `[..., 16000]` samples at 16 kHz in [-1, 1].
    pad: 'zeros' or 'reflect': what lies beyond the clip's ends. IDC's result
      depends on its librosa: reflected before 0.9, zeros since.

  Returns:
    `[..., 128, 125]` float32: frequency bins, lowest first, by frames.

  Raises:
    ValueError: wrong clip length or unknown `pad`.
  """
  waves = np.asarray(waves, np.float64)
  if waves.shape[-1:] != (SAMPLE_RATE,):
    raise ValueError(
      f'waves have shape {waves.shape}; allowed is [..., {SAMPLE_RATE}].'
    )
  if pad not in _PAD_MODES:
    raise ValueError(f'pad is {pad!r}; allowed are {sorted(_PAD_MODES)}.')
  ends = [(0, 0)] * (waves.ndim - 1) + [(_N_FFT // 2, _N_FFT // 2)]
  padded = np.pad(waves, ends, mode=_PAD_MODES[pad])
  frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT, axis=-1)
  window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_N_FFT) / _N_FFT)
  spectrum = np.fft.rfft(frames[..., ::_HOP, :] * window)
  return np.abs(spectrum).swapaxes(-1, -2).astype(np.float32)


def log_spectrogram(waves: np.ndarray, *, pad: str = 'zeros') -> np.ndarray:
  """Returns what IDC's networks see of one-second clips, not normalised.

  Magnitudes `[128, 125]` padded to 128 frames, halved by bilinear resizing
  (which at this ratio is the mean of 2 x 2 values), then ln(x + 0.001).

  Args:
    waves: `[..., 16000]` samples at 16 kHz in [-1, 1].
    pad: as in `magnitude_spectrogram`.

  Returns:
    `[..., 64, 64]` float32: frequency, lowest first, by time.

  Raises:
    ValueError: as `magnitude_spectrogram`.
  """
  magnitude = magnitude_spectrogram(waves, pad=pad)
  ends = [(0, 0)] * (magnitude.ndim - 1) + [_FRAME_PADDING]
  square = np.pad(magnitude, ends)
  halves = square.reshape(*square.shape[:-2], _SIDE, 2, _SIDE, 2)
  return np.log(halves.mean((-3, -1)) + np.float32(_EPSILON))


def read_wav(path: _files.AnyPath) -> np.ndarray:
  """Returns one second of a wav file at 16 kHz.

  Channels are averaged, other rates resampled by a polyphase filter, longer
  clips cut and shorter ones padded with zeros at the end.

  Returns:
    `[16000]` float32 in about [-1, 1].

  Raises:
    ValueError: the file is no complete PCM or float wav file, is empty, or
      holds NaN or infinite samples.
  """
  import scipy.signal

  with _files.reading(path, 'wav'):
    rate, samples = _read_samples(path)
    wave = _to_float(samples)
    if not wave.size:
      raise ValueError('it holds no sample')
    if not np.isfinite(wave).all():
      raise ValueError('it holds NaN or infinite samples')
    if np.abs(wave).max() > _LOUDEST:
      raise ValueError(
        f'its float samples go up to {np.abs(wave).max():g}; allowed are '
        'samples in about -1..1: divide by the largest whole number'
      )
    if not _RATES[0] <= rate <= _RATES[1]:
      raise ValueError(f'its rate is {rate} Hz; allowed is {_RATES}')
    wave = wave.mean(-1) if wave.ndim == 2 else wave
    if rate != SAMPLE_RATE:
      shared = math.gcd(rate, SAMPLE_RATE)
      wave = scipy.signal.resample_poly(
        wave, SAMPLE_RATE // shared, rate // shared
      )
  wave = wave[:SAMPLE_RATE].astype(np.float32)
  return np.pad(wave, (0, SAMPLE_RATE - len(wave)))


def load_wav_folder(
  data_dir: _files.AnyPath | None,
  *,
  classes: Sequence[str] | None = None,
  pad: str = 'zeros',
  name: str = 'wav_folder',
) -> _dataset.Dataset:
  """Returns normalised log spectrograms of one folder of wav files per class.

  For Mini Speech Commands this is IDC's set: of each class's sorted files every
  8th, starting with the first, is for testing (875 / 125 per class), and one
  scalar mean and std of the training spectrograms normalise both parts. Where
  there are folders train and test, as for `load_image_folder`, they are used.

  Args:
    data_dir: the folder that holds the class folders or the parts, or one that
      holds it as `mini_speech_commands`.
    classes: class folders in label order. By default all, sorted; the eight
      words of Mini Speech Commands come in IDC's order.
    pad: as in `magnitude_spectrogram`.
    name: of the data set.

  Returns:
    float32 images `[M, 64, 64, 1]` (frequency by time), mean 0 and std 1, with
    `value_range` from the lowest training value up, and the recipe in
    `extra['spectrogram']`.

  Raises:
    FileNotFoundError: `data_dir` is no folder.
    ValueError: an unreadable file, an empty or unknown class, a class of one
      file without a test part, or training clips that are all alike.
  """
  root = _files.require_folder(data_dir, name)
  if (root / 'mini_speech_commands').is_dir():
    root = root / 'mini_speech_commands'
  layout = _layout.read(root, _KIND, classes, known=_specs.SPEECH_COMMANDS)
  train, labels, test, test_labels = _read_classes(root, layout, pad)
  mean, std = _scalar_statistics(train)
  train, test = ((part - mean) / std for part in (train, test))
  return _dataset.from_arrays(
    train[..., None],
    labels,
    test[..., None],
    test_labels,
    name=name,
    class_names=layout.classes,
    mean=(0.0,),
    std=(1.0,),
    value_range=(float(train.min()), None),
    extra={'spectrogram': _recipe(pad, float(mean), float(std))},
    notes=(*layout.notes, *_checks.shared_images(train, test)),
  )


def _read_classes(
  root: pathlib.Path, layout: _layout.Layout, pad: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Returns (train `[M, 64, 64]`, labels, test `[M', 64, 64]`, labels)."""
  train, test = layout.train, layout.test
  if test is None:
    single = [
      c for c, p in zip(layout.classes, train, strict=True) if len(p) < 2
    ]
    if single:
      raise ValueError(
        f'class folder {root / single[0]} holds 1 file; at least 2 are needed, '
        'as the first is for testing.'
      )
    test = tuple(paths[::_TEST_EVERY] for paths in train)
    train = tuple(
      tuple(p for i, p in enumerate(paths) if i % _TEST_EVERY)
      for paths in train
    )
  found = []
  for part in (train, test):
    spectrograms = [
      log_spectrogram(read_wav(path), pad=pad)
      for of_class in part
      for path in of_class
    ]
    counts = [len(of_class) for of_class in part]
    found += [np.array(spectrograms), np.repeat(np.arange(len(part)), counts)]
  return tuple(found)


def _scalar_statistics(spectrograms: np.ndarray) -> tuple[np.float32, ...]:
  """Returns (mean, std) over everything; the std divides by n - 1, as torch."""
  mean = np.float32(spectrograms.mean(dtype=np.float64))
  std = np.float32(spectrograms.std(dtype=np.float64, ddof=1))
  if not std > 0:
    raise ValueError(
      f'the training spectrograms have std {std}; allowed is above 0, which '
      'clips that are not all silent give.'
    )
  return mean, std


def _recipe(pad: str, mean: float, std: float) -> dict:
  return {
    'rate': SAMPLE_RATE,
    'n_fft': _N_FFT,
    'hop': _HOP,
    'window': 'hann',
    'pad': pad,
    'frame_padding': list(_FRAME_PADDING),
    'eps': _EPSILON,
    'mean': mean,
    'std': std,
  }


def _read_samples(path: _files.AnyPath) -> tuple[int, np.ndarray]:
  import scipy.io.wavfile

  with warnings.catch_warnings():
    # Extra chunks are harmless, but a clip cut short is not the published one.
    warnings.simplefilter('ignore', scipy.io.wavfile.WavFileWarning)
    warnings.filterwarnings(
      'error', 'Reached EOF', scipy.io.wavfile.WavFileWarning
    )
    # Of bytes: of a file, it takes the memory that a header asks for.
    return scipy.io.wavfile.read(
      io.BytesIO(_files.read_bytes(path, _MOST_BYTES))
    )


def _to_float(samples: np.ndarray) -> np.ndarray:
  if samples.dtype == np.uint8:  # 8-bit wav is unsigned, with 128 as zero.
    return (samples.astype(np.float32) - 128) / 128
  if np.issubdtype(samples.dtype, np.signedinteger):
    return samples.astype(np.float64) / -float(np.iinfo(samples.dtype).min)
  return samples.astype(np.float32)
