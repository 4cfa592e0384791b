"""Sets in the layouts in which other codes publish theirs."""

import dataclasses
import sys

import flax
import numpy as np
import optax
import pytest
import runner

from dcjax import artefact

_MEAN, _STD = (0.5, 0.25, 0.1), (0.2, 0.5, 1.0)
_NAMES = ('a', 'b', 'c')


class _Tensor:
  """What is used of a PyTorch tensor, where PyTorch is not installed."""

  def __init__(self, values):
    self.values = np.asarray(values)

  def detach(self):
    return self

  def is_floating_point(self):
    return self.values.dtype.kind == 'f'

  def float(self):
    return _Tensor(self.values.astype(np.float32))

  def numpy(self):
    return self.values


@pytest.fixture
def save(monkeypatch):
  """Writes what `torch.save` would; without PyTorch the reading is replaced."""
  try:
    import torch
  except ImportError:
    written = {}

    def read(path):
      return written[str(path)]

    published = sys.modules['dcjax.artefact._published']
    monkeypatch.setattr(published._torch_files, 'read_torch', read)

    def keep(value, path):
      path.write_bytes(b'stands for a file')
      written[str(path)] = value

    return keep, _Tensor
  return torch.save, torch.tensor


@pytest.fixture
def images():
  """In [0, 1], `[6, H, W, D]`: two of each of three classes."""
  return np.random.default_rng(0).random((6, 4, 5, 3)).astype(np.float32)


def _normalised(images):
  return ((images - _MEAN) / _STD).astype(np.float32)


def _read(path, layout, names=_NAMES):
  return artefact.import_published(
    path, layout, mean=_MEAN, std=_STD, class_names=names
  )


def _check_images(made, images):
  decoded = made.batch()
  np.testing.assert_allclose(
    np.asarray(decoded.images).reshape(images.shape), images, atol=1e-6
  )
  return np.asarray(decoded.labels).reshape(len(images), -1)


def test_a_file_of_dc_dsa_and_dm(tmp_path, save, images):
  write, tensor = save
  path = tmp_path / 'res_DM_CIFAR10_ConvNet_2ipc.pt'
  flipped = _normalised(images[[4, 5, 0, 1, 2, 3]]).transpose(0, 3, 1, 2)
  labels = np.asarray([2, 2, 0, 0, 1, 1])
  data = [[tensor(flipped.copy()), tensor(labels)], [None, None]]
  write({'data': data[:1], 'accs_all_exps': {}}, path)
  labels = _check_images(_read(path, 'dc'), images)
  np.testing.assert_array_equal(labels.argmax(-1), [0, 0, 1, 1, 2, 2])
  write({'images': 1}, path)
  with pytest.raises(ValueError, match="layout 'dc' must be"):
    _read(path, 'dc')


def test_files_of_trajectories_have_labels_and_a_rate(tmp_path, save, images):
  write, tensor = save
  path = tmp_path / 'images_best.pt'
  write(tensor(_normalised(images).transpose(0, 3, 1, 2).copy()), path)
  with pytest.raises(ValueError, match='labels must lie beside it'):
    _read(path, 'mtt')
  write(tensor(np.repeat(np.arange(3), 2)), tmp_path / 'labels_best.pt')
  made = _read(path, 'mtt')
  assert made.step_size is None
  labels = _check_images(made, images)
  np.testing.assert_array_equal(labels.argmax(-1), [0, 0, 1, 1, 2, 2])

  logits = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
  write(tensor(logits), tmp_path / 'labels_best.pt')
  write(tensor(np.float32(0.03)), tmp_path / 'lr_best.pt')
  made = _read(path, 'mtt')
  np.testing.assert_allclose(made.step_size, 0.03, rtol=1e-6)
  expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  np.testing.assert_allclose(_check_images(made, images), expected, rtol=1e-5)
  write(tensor(expected), tmp_path / 'labels_best.pt')  # probabilities stay
  labels = _check_images(_read(path, 'mtt'), images)
  np.testing.assert_allclose(labels, expected, rtol=1e-6)


def _kernel_files(folder, images, labels):
  np.savez(folder / 'kip.npz', images=_normalised(images), labels=labels)
  tree = {'ema': {'x_proto': _normalised(images), 'y_proto': labels}}
  # A training state: the optimiser's moments have the same names.
  state = optax.lamb(1e-3).init(tree)
  saved = {'params': tree, 'opt_state': state, 'step': 3}
  content = flax.serialization.to_bytes(saved)
  (folder / 'frepo').write_bytes(content)
  return {'kip': folder / 'kip.npz', 'frepo': folder / 'frepo'}


@pytest.mark.parametrize('layout', ['kip', 'frepo'])
def test_files_of_kernel_methods_have_labels_around_zero(
  tmp_path, images, layout
):
  labels = np.repeat(np.eye(3), 2, axis=0).astype(np.float32) - 1 / 3
  path = _kernel_files(tmp_path, images, labels)[layout]
  made = _read(path, layout)
  assert made.spec['labels'] == 'centred'
  np.testing.assert_allclose(_check_images(made, images), labels, rtol=1e-6)
  again = tmp_path / 'kept.npz'
  artefact.save(again, made)
  np.testing.assert_array_equal(artefact.load(again).labels, made.labels)


def test_what_is_wrong_is_named(tmp_path, images):
  labels = np.zeros((6, 3), np.float32)
  files = _kernel_files(tmp_path, images, labels)
  with pytest.raises(ValueError, match="layout 'x'"):
    _read(files['kip'], 'x')
  with pytest.raises(ValueError, match=r'labels \(6, 3\) must be .* K = C = 2'):
    _read(files['kip'], 'kip', ('a', 'b'))
  with pytest.raises(ValueError, match='no Flax checkpoint, or damaged'):
    _read(files['kip'], 'frepo')
  two = {n: {'x_proto': images, 'y_proto': labels} for n in ('now', 'ema')}
  (tmp_path / 'two').write_bytes(flax.serialization.to_bytes(two))
  with pytest.raises(ValueError, match='one x_proto and one y_proto, not more'):
    _read(tmp_path / 'two', 'frepo')
  (tmp_path / 'images_zca_best.pt').write_bytes(b'')
  with pytest.raises(ValueError, match=r'learn from is .*images_best\.pt'):
    _read(tmp_path / 'images_zca_best.pt', 'mtt')
  (tmp_path / 'cut').write_bytes(files['frepo'].read_bytes()[:-9])
  with pytest.raises(ValueError, match='no Flax checkpoint, or damaged'):
    _read(tmp_path / 'cut', 'frepo')
  np.savez(tmp_path / 'other.npz', images=_normalised(images))
  with pytest.raises(ValueError, match='labels is missing'):
    _read(tmp_path / 'other.npz', 'kip')
  np.savez(tmp_path / 'nan.npz', images=images, labels=labels + np.nan)
  with pytest.raises(ValueError, match='finite'):
    _read(tmp_path / 'nan.npz', 'kip')
  with pytest.raises(ValueError, match='has 3 channels, the data set 1'):
    artefact.import_published(
      files['kip'], 'kip', mean=(0.0,), std=(1.0,), class_names=_NAMES
    )


def test_a_published_set_is_evaluated_with_its_labels(tmp_path):
  """Around zero for a squared error, probabilities for cross-entropy."""
  made = np.random.default_rng(2).normal(size=(20, 8, 8, 1)).astype(np.float32)
  labels = 0.7 * np.eye(10) + 0.3 * np.roll(np.eye(10), 1, 0) - 0.1
  labels = np.repeat(labels, 2, axis=0).astype(np.float32)
  file = _kernel_files(tmp_path, np.repeat(made, 3, -1), labels)['kip']
  np.savez(file, images=made, labels=labels)
  run = f'digits:size=8,file={file},layout=kip,ipc={{}},smoke'
  plain = {'evaluation.baselines': '', 'evaluation.seeds': 1}
  with pytest.raises(
    ValueError, match='stores 2 images a class; leave ipc out'
  ):
    runner.run(tmp_path / 'wrong', run.format(1), 'given', **plain)
  large = run.replace(':size=8', '')
  with pytest.raises(
    ValueError, match=r'images \[8, 8, 1\] must be of the size'
  ):
    runner.run(tmp_path / 'large', large.format(2), 'given', **plain)
  results = runner.run(tmp_path / 'run', run.format(2), 'given', **plain)
  entry = results['evaluations']['condensed']
  assert entry['label_regime'] == 'one soft label per image'
  assert entry['images'] == 20
  kept = artefact.load(tmp_path / 'run' / 'condensed.npz')
  assert kept.spec['labels'] == 'centred'
  assert dataclasses.replace(kept).provenance['method'] == 'given (kip)'
