"""Data sets of the Hugging Face Hub, read from a folder in its form."""

import importlib.util

import numpy as np
import pytest
from test_artefact import make

from dcjax import artefact, data
from dcjax.data import _hub
from dcjax.runs import settings


def test_without_the_library_it_says_how_to_get_it(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ImportError, match=r"pip install 'dcjax\[hf\]'"):
    data.load('hf:user/set')


def test_a_name_of_the_hub_is_that_of_its_published_set():
  settings.check_data('hf:user/set:config')
  for name in ('hf:ylecun/mnist', 'hf:mnist:plain', 'tfds:mnist:3.0.1'):
    assert settings.plain_name(name) == 'mnist'


class _Rows(dict):
  """A split as `datasets` gives it: columns with features, and rows."""

  def __init__(self, columns, **features):
    super().__init__(columns)
    self.features = {
      name: type(kind, (), {'names': names})()
      for name, (kind, names) in features.items()
    }

  def __getitem__(self, key):
    if isinstance(key, int):
      return {name: values[key] for name, values in self.items()}
    return super().__getitem__(key)


def _splits(**features):
  from PIL import Image

  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (8, 6, 5), dtype=np.uint8)
  columns = {
    'picture': [Image.fromarray(p) for p in pixels],
    'fine': [0, 1] * 4,
  }
  kinds = {'picture': ('Image', None), 'fine': ('ClassLabel', ['cat', 'dog'])}
  return pixels, {'train': _Rows(columns, **kinds | features)}


def test_columns_are_found_by_their_kind(monkeypatch):
  pixels, splits = _splits()
  monkeypatch.setattr(_hub, '_splits', lambda name, place: splits)
  found = data.load('hf:user/set', test_split='train')
  assert found.class_names == ('cat', 'dog')
  np.testing.assert_array_equal(found.images, pixels[..., None])
  np.testing.assert_array_equal(found.labels, [0, 1] * 4)
  held_out = data.load('hf:user/set', size=4, test_fraction=0.25)
  assert held_out.images.shape == (6, 4, 4, 1)
  for options, message in (
    ({'train_split': 'all'}, "^train_split is 'all'"),
    ({'image_key': 'none'}, "^image_key is 'none' .* of that kind"),
    ({'colour': 1}, 'has no option'),
  ):
    with pytest.raises(ValueError, match=message):
      data.load('hf:user/set', **options)


def test_what_was_exported_is_a_data_set(tmp_path, monkeypatch):
  pytest.importorskip('datasets')
  monkeypatch.setenv('HF_HUB_OFFLINE', '1')
  made = make()
  folder = artefact.export_hub(tmp_path / 'out', made)
  found = data.load(f'hf:{folder}', tmp_path / 'cache', test_split='train')
  wanted = np.round(255 * made.params['images']).reshape(-1, 7, 8, 3)
  np.testing.assert_array_equal(found.images, wanted)
  np.testing.assert_array_equal(found.labels, [0, 0, 0, 1, 1, 1])
