"""`load`: data sets by name."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dcjax import _user_npz, files, specs
from dcjax.data import (
  _channels,
  _checks,
  _dataset,
  _files,
  _hub,
  _images,
  _listing,
  _raw,
  _specs,
  _speech,
  _splits,
  _tfds,
)
from dcjax.utils import check_at_least

Loader = Callable[..., _dataset.Dataset]
_CATALOGUES: dict[str, Loader] = {
  'hf': _hub.load_hub,
  'tfds': _tfds.load_tfds,
}
IMAGENETS = {
  'imagenet10': _specs.IMAGENET_10,
  'imagenet100': _specs.IMAGENET_100,
}
_IMAGENET_FILES = 'the ImageNet folders train/<synset> and val/<synset>'
IMAGENET_TFDS = 'imagenet2012'
_NPZ_KEYS = {
  'images': ('images', 'x_train'),
  'labels': ('labels', 'y_train'),
  'test_images': ('test_images', 'x_test'),
  'test_labels': ('test_labels', 'y_test'),
}


def load(
  name: str,
  data_dir: _files.AnyPath | None = None,
  *,
  stats: str | None = None,
  **options: Any,
) -> _dataset.Dataset:
  """Returns a data set by name. Nothing is downloaded, but for `hf:`.

  Examples:

    load('cifar10', '~/data')                # published files, or TFDS's

  Names, what `data_dir` is for them, and their options:

  - digits: `data_dir` is not used; option `size`.
  - cifar10, cifar100, fashion_mnist, mnist, svhn, usps: `data_dir` or its
    subfolder of that name holds the published files (idx raw or gzip; CIFAR
    unpacked or as the published archive).
  - imagenet10, imagenet100: `data_dir` or its subfolder `imagenet` holds
    `train/<synset>` and `val/<synset>`, for which TFDS's `imagenet2012` can
    stand in; options `size` (224), `grayscale`, `window`, `seed`.
  - image_folder: as `load_image_folder`; options `size`, `classes`,
    `grayscale`, `test_fraction`, `seed`, `window`.
  - wav_folder, or speech: as `load_wav_folder`; options `classes`, `pad`.
  - npz: the file, as `load_npz`; options `test_fraction`, `seed`.
  - tfds:NAME: TFDS's data_dir, as `load_tfds`; options `size`, `classes`,
    `grayscale`, `image_key`, `label_key`, `train_split`, `test_split`,
    `test_fraction`, `seed`, `window`.
  - hf:NAME: the cache of `datasets`, options as `load_hub`.

  Sets with the option `window` need not fit into memory: only that many
  training images of each class are held, see `Dataset.stream`.

  Where the published files are missing, the set of that name is read from a
  prepared TFDS folder in `data_dir` (or TFDS's default folder).

  Args:
    name: one of the above.
    data_dir: a folder or file; `~` is expanded.
    stats: a name in `NORMALIZATIONS` to take mean and std from, or 'data' for
      the training images' own. By default the set's published constants, or
      'data' where there are none.
    **options: as listed above.

  Raises:
    ValueError: unknown name, `stats` or option; bad content of a file.
    FileNotFoundError: files are missing; says which, where they were looked
      for and how to get them.
    ImportError: a library is missing; says how to install it.
  """
  kind, _, rest = name.partition(':')
  if rest and kind in _CATALOGUES:
    loader = functools.partial(_CATALOGUES[kind], rest)
  elif name in _LOADERS:
    loader = _LOADERS[name]
  else:
    raise ValueError(
      f'name is {name!r}; allowed are {", ".join(sorted(list_sources()))}; of '
      'your own files image_folder, wav_folder or npz, with data_dir=PATH.'
    )
  if stats not in (None, 'data', *_specs.NORMALIZATIONS):
    raise ValueError(
      f'stats is {stats!r}; allowed are data, '
      f'{", ".join(sorted(_specs.NORMALIZATIONS))}.'
    )
  _check_options(name, loader, options)
  files.check_local('data_dir', data_dir)
  path = None if data_dir is None else pathlib.Path(data_dir).expanduser()
  return _with_statistics(loader(path, **options), stats)


def list_sources() -> dict[str, str]:
  """Returns what each name that `load` takes needs, by name."""
  return {
    'digits': 'nothing: 1,797 digits of 8x8 in scikit-learn',
    **{n: s.files for n, s in _raw.PUBLISHED_SETS.items()},
    'image_folder': 'a folder of images per class, with or without train/test',
    **dict.fromkeys(IMAGENETS, _IMAGENET_FILES),
    'hf:NAME': 'a set of the Hugging Face Hub; downloads what is not cached',
    'npz': 'an .npz file with images, labels and perhaps test_images, ...',
    'speech': 'mini_speech_commands, unpacked',
    'tfds:NAME': 'a TFDS set prepared as array_record',
    'wav_folder': 'a folder of wav files per class',
  }


def load_npz(
  data_dir: _files.AnyPath | None,
  *,
  test_fraction: float = 0.2,
  seed: int = 0,
  name: str | None = None,
) -> _dataset.Dataset:
  """Returns the data set of an .npz file.

  Keys: `images`, `labels` and perhaps `test_images`, `test_labels`
  (or `x_train`, `y_train`, `x_test`, `y_test`), as for `from_arrays`, and
  perhaps `class_names` `[C]`.

  Args:
    data_dir: the file, or a folder that holds exactly one .npz file.
    test_fraction: held-out part of every class if there is no test part.
    seed: of the held-out draw.
    name: of the data set; the file's name by default.

  Raises:
    FileNotFoundError: no such file.
    ValueError: the file is corrupt, holds pickled objects, or lacks keys.
  """
  path = _npz_path(data_dir)
  content = _user_npz.read(path)
  arrays = {
    field: next((content[k] for k in keys if k in content), None)
    for field, keys in _NPZ_KEYS.items()
  }
  missing = [k for k in ('images', 'labels') if arrays[k] is None]
  if missing:
    raise ValueError(
      f'{path} lacks {missing} and holds {sorted(content)}; allowed are '
      f'{[" or ".join(keys) for keys in _NPZ_KEYS.values()]}.'
    )
  # Keras writes labels of CIFAR as [M, 1].
  for field in ('labels', 'test_labels'):
    if arrays[field] is not None and arrays[field].shape[1:] == (1,):
      arrays[field] = arrays[field][:, 0]
  known = {k for keys in _NPZ_KEYS.values() for k in keys} | {'class_names'}
  extra = sorted(set(content) - known)
  notes = [f'{path}: left out the arrays {extra}'] if extra else []
  if arrays['test_images'] is not None:
    notes += _checks.shared_images(arrays['images'], arrays['test_images'])
  if len(np.unique(arrays['labels'])) == 1:
    raise ValueError(
      f'{path}: labels hold one class only, {arrays["labels"].flat[0]}; at '
      'least 2 are needed.'
    )
  return _dataset.from_arrays(
    **arrays,
    name=name or path.stem,
    class_names=content.get('class_names'),
    test_fraction=test_fraction,
    seed=seed,
    notes=notes,
  )


def _npz_path(data_dir: _files.AnyPath | None) -> pathlib.Path:
  if data_dir is None:
    raise ValueError('data_dir is None; npz needs the file as data_dir.')
  data_dir = pathlib.Path(data_dir).expanduser()
  if not data_dir.is_dir():
    if not data_dir.is_file():
      raise FileNotFoundError(f'there is no file {data_dir}.')
    return data_dir
  paths = sorted(data_dir.glob('*.npz'))
  if not paths:
    raise FileNotFoundError(f'there is no .npz file in {data_dir}.')
  if len(paths) > 1:
    raise ValueError(
      f'data_dir {data_dir} holds {[p.name for p in paths]}; give the path of '
      'one .npz file.'
    )
  return paths[0]


def _load_published(
  name: str, data_dir: pathlib.Path | None
) -> _dataset.Dataset:
  published = _raw.PUBLISHED_SETS[name]
  try:
    if data_dir is None:
      raise FileNotFoundError('data_dir is None, so no folder was searched')
    arrays = published.read(data_dir)
  except FileNotFoundError as error:
    return _load_from_tfds(
      name, published.files, published.tfds_name, data_dir, error
    )
  return _dataset.from_arrays(
    *arrays,
    name=name,
    class_names=_specs.CLASS_NAMES[name],
    **_specs.NORMALIZATIONS[name]._asdict(),
  )


def _load_from_tfds(
  name: str,
  files: str,
  tfds_name: str | None,
  data_dir: pathlib.Path | None,
  missing: FileNotFoundError,
  **options: Any,
) -> _dataset.Dataset:
  """Returns the set as TFDS prepared it, or raises an error of both ways."""
  advice = f'{name}: {missing}. Put into data_dir {files}'
  if tfds_name is None:
    raise FileNotFoundError(f'{advice}.') from missing
  try:
    dataset = _tfds.load_tfds(
      tfds_name, data_dir, test_fraction=None, **options
    )
  except (_tfds.NotPreparedError, ImportError) as error:
    # Where TFDS is there, what is missing is another library.
    if isinstance(error, ImportError) and _tfds.installed():
      raise
    command = _tfds.prepare_command(name, data_dir)
    raise FileNotFoundError(
      f'{advice}; or prepare the TFDS set {tfds_name} once: '
      f"pip install 'dcjax[prepare]', then {command}."
    ) from missing
  return dataclasses.replace(dataset, name=name)


def _load_imagenet(
  name: str,
  data_dir: pathlib.Path | None,
  *,
  size: int = 224,
  grayscale: bool = False,
  seed: int = 0,
  window: int | None = None,
) -> _dataset.Dataset:
  options = dict(
    size=size,
    grayscale=grayscale,
    classes=IMAGENETS[name],
    seed=seed,
    window=window,
  )
  try:
    root = _imagenet_root(data_dir, IMAGENETS[name])
  except FileNotFoundError as error:
    dataset = _load_from_tfds(
      name, _IMAGENET_FILES, IMAGENET_TFDS, data_dir, error, **options
    )
  else:
    dataset = _images.load_published_folder(root, name=name, **options)
  return _with_statistics(dataset, None if grayscale else 'imagenet')


def _imagenet_root(
  data_dir: pathlib.Path | None, classes: Sequence[str]
) -> pathlib.Path:
  """Returns the folder that holds `train`, with at least one of the classes.

  Raises:
    FileNotFoundError: there is none.
  """
  if data_dir is None:
    raise FileNotFoundError('data_dir is None, so no folder was searched')
  for root in (data_dir, data_dir / 'imagenet'):
    names = _listing.listed(root).folders if root.is_dir() else ()
    trains = [root / n for n in names if _splits.role_of(n) == 'train']
    if any((train / c).is_dir() for train in trains for c in classes):
      return root
  raise FileNotFoundError(
    f'no folder train/{classes[0]} or the like in {data_dir}'
  )


def _load_digits(
  data_dir: pathlib.Path | None, *, size: int = 8
) -> _dataset.Dataset:
  del data_dir  # The digits come with scikit-learn.
  return _images.load_digits(size=size)


def _with_statistics(
  dataset: _dataset.Dataset, stats: str | None
) -> _dataset.Dataset:
  if stats is None:
    return dataset
  if stats == 'data':
    mean, std = _channels.channel_statistics(dataset.images)
    std, more = _channels.usable_deviations(std)
  else:
    mean, std = _specs.NORMALIZATIONS[stats]
    more = []
  notes = tuple(dict.fromkeys((*dataset.notes, *more)))
  return dataclasses.replace(dataset, mean=mean, std=std, notes=notes)


def _check_options(name: str, loader: Loader, options: dict) -> None:
  known = specs.options_of(loader, 1)
  known.pop('name', None)
  specs.check(
    'data', {**options, 'name': name}, known, offered=('stats', *known)
  )
  check_at_least('seed', options.get('seed', 0), 0)


_LOADERS: dict[str, Loader] = {
  'digits': _load_digits,
  **{n: functools.partial(_load_published, n) for n in _raw.PUBLISHED_SETS},
  'image_folder': _images.load_image_folder,
  'imagenet10': functools.partial(_load_imagenet, 'imagenet10'),
  'imagenet100': functools.partial(_load_imagenet, 'imagenet100'),
  'npz': load_npz,
  'speech': functools.partial(_speech.load_wav_folder, name='speech'),
  'wav_folder': _speech.load_wav_folder,
}
