"""Data sets: by name, from files, from arrays."""

from dcjax.data._channels import channel_statistics
from dcjax.data._dataset import (
  Dataset,
  DataWarning,
  check_dataset,
  from_arrays,
  stratified_split,
)
from dcjax.data._hub import load_hub
from dcjax.data._images import load_digits, load_image_folder
from dcjax.data._published import blank
from dcjax.data._sources import list_sources, load, load_npz
from dcjax.data._specs import (
  CLASS_NAMES,
  IMAGENET_10,
  IMAGENET_100,
  NORMALIZATIONS,
  SPEECH_COMMANDS,
  Normalization,
)
from dcjax.data._speech import (
  load_wav_folder,
  log_spectrogram,
  magnitude_spectrogram,
  read_wav,
)
from dcjax.data._stream import (
  ImageMemory,
  Windows,
  describe_memory,
  image_memory,
)
from dcjax.data._subsets import (
  at_most,
  chosen_images,
  halves,
  images_at,
  in_shape,
  only_classes,
)
from dcjax.data._tfds import load_tfds
from dcjax.data.sampling import DeviceData, fetch, shuffler, to_device

__all__ = [
  'CLASS_NAMES',
  'IMAGENET_10',
  'IMAGENET_100',
  'NORMALIZATIONS',
  'SPEECH_COMMANDS',
  'DataWarning',
  'Dataset',
  'DeviceData',
  'ImageMemory',
  'Normalization',
  'Windows',
  'at_most',
  'blank',
  'channel_statistics',
  'check_dataset',
  'chosen_images',
  'describe_memory',
  'fetch',
  'from_arrays',
  'halves',
  'image_memory',
  'images_at',
  'in_shape',
  'list_sources',
  'load',
  'load_digits',
  'load_hub',
  'load_image_folder',
  'load_npz',
  'load_tfds',
  'load_wav_folder',
  'log_spectrogram',
  'magnitude_spectrogram',
  'only_classes',
  'read_wav',
  'shuffler',
  'stratified_split',
  'to_device',
]
