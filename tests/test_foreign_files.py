"""Weights and batches that others wrote: read as numbers, or refused."""

import io
import json
import pickle

import jax
import numpy as np
import pytest
from published import write_cifar

from dcjax import artefact, data, networks
from dcjax.artefact import _idc
from dcjax.data import _pickles

_SPEC = {'name': 'convnet', 'depth': 1, 'width': 4, 'norm': 'batch'}
_SHAPE, _CLASSES = (4, 4, 3), 2


@pytest.fixture(scope='module')
def state():
  network = networks.build(_SPEC, _SHAPE, _CLASSES)
  variables = network.init(jax.random.key(0))
  return networks.to_torch(variables, _SPEC, _SHAPE, _CLASSES)


def _safetensors(state, **change):
  """The bytes of a safetensors file, with changes of its header."""
  header, content = {'__metadata__': {'format': 'pt'}}, b''
  for name, array in state.items():
    raw = np.ascontiguousarray(array, np.float32).tobytes()
    offsets = [len(content), len(content) + len(raw)]
    content += raw
    header[name] = {
      'dtype': 'F32',
      'shape': list(array.shape),
      'data_offsets': offsets,
    }
  header['classifier.bias'].update(change)
  text = json.dumps(header).encode()
  return len(text).to_bytes(8, 'little') + text + content


def _load(source):
  return networks.load_torch(source, _SPEC, _SHAPE, _CLASSES)


def test_safetensors_are_read_without_their_package(tmp_path, state):
  path = tmp_path / 'net.safetensors'
  path.write_bytes(_safetensors(state))
  read = networks.to_torch(_load(path), _SPEC, _SHAPE, _CLASSES)
  for name, array in state.items():
    np.testing.assert_array_equal(read[name], array)


def test_bfloat16_is_widened(tmp_path, state):
  bias = np.array([1.5, -2.0], np.float32)
  raw = (bias.view(np.uint32) >> 16).astype('<u2').tobytes()
  header = {'b': {'dtype': 'BF16', 'shape': [2], 'data_offsets': [0, 4]}}
  text = json.dumps(header).encode()
  path = tmp_path / 'b.safetensors'
  path.write_bytes(len(text).to_bytes(8, 'little') + text + raw)
  with pytest.raises(ValueError, match=r"1 not known \('b'\)"):
    _load(path)
  from dcjax import _torch_files

  np.testing.assert_array_equal(_torch_files.read_safetensors(path)['b'], bias)


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'dtype': 'F99'}, 'dtype F99'),
    ({'shape': [10**9]}, 'lies at'),
    ({'shape': [-2]}, r'shape \[-2\]'),
    ({'data_offsets': [0, 8]}, 'lies at'),
    ({'data_offsets': [10**12, 10**12 + 8]}, 'lies at'),
  ],
)
def test_a_lying_header_is_refused(tmp_path, state, change, said):
  path = tmp_path / 'net.safetensors'
  path.write_bytes(_safetensors(state, **change))
  with pytest.raises(ValueError, match=said) as raised:
    _load(path)
  assert 'net.safetensors' in str(raised.value)


def test_cut_and_flipped_safetensors_are_refused_or_right(tmp_path, state):
  path = tmp_path / 'net.safetensors'
  whole = _safetensors(state)
  header = int.from_bytes(whole[:8], 'little') + 8
  rng = np.random.default_rng(0)
  contents = [whole[:n] for n in (0, 4, 9, header - 1, header, len(whole) - 1)]
  for _ in range(200):
    damaged = bytearray(whole)
    damaged[rng.integers(header)] ^= 1 << rng.integers(8)
    contents.append(bytes(damaged))
  for content in contents:
    path.write_bytes(content)
    try:
      read = networks.to_torch(_load(path), _SPEC, _SHAPE, _CLASSES)
    except ValueError as error:
      assert '\n' not in str(error)
    else:  # only what is said in '__metadata__' changed
      jax.tree.map(np.testing.assert_array_equal, read, dict(state))


@pytest.mark.parametrize(
  'prefix',
  ['module.', '_orig_mod.', 'module._orig_mod.', 'model.', 'a.b.backbone.'],
)
def test_a_prefix_that_all_names_share_is_stripped(state, prefix):
  read = _load({prefix + name: array for name, array in state.items()})
  back = networks.to_torch(read, _SPEC, _SHAPE, _CLASSES)
  jax.tree.map(np.testing.assert_array_equal, back, dict(state))


@pytest.mark.parametrize(
  'wrapper', ['state_dict', 'model_state_dict', 'model', 'net']
)
def test_a_checkpoint_is_unwrapped(state, wrapper):
  inside = {f'model.{name}': array for name, array in state.items()}
  read = _load({wrapper: inside, 'epoch': 3})
  back = networks.to_torch(read, _SPEC, _SHAPE, _CLASSES)
  jax.tree.map(np.testing.assert_array_equal, back, dict(state))


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    (lambda s: {**s, 'classifier.bias': np.array([1, np.nan])}, 'NaN'),
    (lambda s: {**s, 'classifier.bias': np.array([1, 1e300])}, 'infinite'),
    (lambda s: {**s, 'classifier.bias': np.ones(2, complex)}, 'complex'),
    (lambda s: {**s, 'epoch': 3}, "'epoch', a int"),
    (lambda s: {3: s['classifier.bias']}, 'holds 3'),
    (lambda s: {'model': s, 'net': s}, 'several state dicts'),
    (
      lambda s: {
        n: -np.abs(a) - 1 if n.endswith('running_var') else a
        for n, a in s.items()
      },
      'variances below 0',
    ),
  ],
)
def test_what_can_be_no_network_is_refused(state, change, said):
  with pytest.raises(ValueError, match=said):
    _load(change(state))


def test_damaged_torch_files_are_said_in_one_line(tmp_path, state):
  torch = pytest.importorskip('torch')
  tensors = {n: torch.from_numpy(a.copy()) for n, a in state.items()}
  stream = io.BytesIO()
  torch.save(tensors, stream)
  whole, module = stream.getvalue(), io.BytesIO()
  torch.save(torch.nn.Linear(2, 2), module)
  repeated = io.BytesIO()
  torch.save({'b': torch.zeros(1).expand(2**20, 2**20)}, repeated)
  contents = {
    'empty': b'',
    'page': b'<html>quota exceeded</html>',
    'pointer': b'version https://git-lfs.github.com/spec/v1\n',
    'cut': whole[: len(whole) // 2],
    'module': module.getvalue(),
    'repeated': repeated.getvalue(),
    'pickle': pickle.dumps(print),
  }
  for name, content in contents.items():
    path = tmp_path / f'{name}.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'{name}\.pth') as raised:
      _load(path)
    said = str(raised.value)
    assert '\n' not in said and 'weights_only' not in said
  path = tmp_path / 'module.pth'
  with pytest.raises(ValueError, match=r'pickled torch\.nn.*state_dict\(\)'):
    _load(path)


@pytest.mark.parametrize(
  ('scale', 'shift'), [(255, 0), (4, -2), (1, 0.5), (2, 0)]
)
def test_images_of_another_scale_are_refused(monkeypatch, scale, shift):
  rng = np.random.default_rng(0)
  images = rng.uniform(size=(4, 3, 8, 8)).astype('float32')
  labels = np.arange(4) // 2
  found = [images, labels]
  monkeypatch.setattr(_idc, '_tensors', lambda path: found)
  options = {'mean': (0.5,) * 3, 'std': (0.25,) * 3}
  artefact.import_idc('data.pt', {'name': 'identity'}, **options)
  found[0] = images * scale + shift
  with pytest.raises(ValueError, match=r'data\.pt: .*outside of value_range'):
    artefact.import_idc('data.pt', {'name': 'identity'}, **options)


# Pickles.


class _Calls:
  def __init__(self, *reduced):
    self.reduced = reduced

  def __reduce__(self):
    return self.reduced


def _rebuilt(dtype_args, dtype_state, shape, content):
  """A pickled array that is put together as NumPy does."""
  made = np.empty(0).__reduce__()
  dtype = _Calls(np.dtype, dtype_args, dtype_state)
  return _Calls(made[0], made[1], (1, shape, dtype, False, content))


_STATE = (3, '|', None, None, None, -1, -1, 0)


@pytest.mark.parametrize('protocol', range(6))
def test_pickles_of_arrays_and_containers_are_read(protocol):
  value = {
    b'data': np.arange(6, dtype=np.uint8).reshape(2, 3),
    'more': [1, -(2**40), 2.5, None, True, 'ä', (1,), (1, 2), (1, 2, 3, 4)],
    'columns': np.asfortranarray(np.arange(4.0).reshape(2, 2)),
  }
  if protocol < 3:  # Python 3 spells bytes as a call there
    value['data'] = value.pop(b'data')
  read = _pickles.loads(pickle.dumps(value, protocol))
  assert list(read) == list(value)
  assert read['more'] == value['more']
  np.testing.assert_array_equal(read['columns'], value['columns'])


def test_texts_of_python_2_are_bytes():
  assert _pickles.loads(b'\x80\x02}q\x00U\x04dataU\x02\xff\x00s.') == {
    b'data': b'\xff\x00'
  }


@pytest.mark.parametrize(
  'made',
  [
    _rebuilt(('O8', False, True), _STATE, (2,), b'A' * 16),
    _rebuilt(('O', False, True), _STATE, (1,), [1]),
    _rebuilt(('V8', False, True), _STATE, (1,), b'A' * 8),
    _rebuilt(('i8', False, True), _STATE, (2**40,), b'A' * 8),
    _rebuilt(('i8', False, True), _STATE, (-1,), b'A' * 8),
    _Calls(print, ('ran',)),
    _Calls(eval, ('1',)),
    _Calls(np.dtype, ('u1',), {'a': 1}),
    np.float64(1),
    np.array(['a'], object),
    {1, 2},
  ],
)
def test_everything_else_in_a_batch_is_refused(tmp_path, capsys, made):
  write_cifar(tmp_path, 'cifar10')
  batch = {b'data': np.zeros((10, 3072), np.uint8), b'labels': made}
  for protocol in (2, 4):
    content = pickle.dumps(batch, protocol)
    (tmp_path / 'data_batch_2').write_bytes(content)
    with pytest.raises(ValueError, match='data_batch_2 is not') as raised:
      data.load('cifar10', tmp_path)
    assert '\n' not in str(raised.value)
  assert 'ran' not in capsys.readouterr().out


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'.',
    b'\x80\x02.',
    b'\x80\x02]q\xff\xff\xff\x7f.',
    b'\x80\x02]r\xff\xff\xff\x7f',
    b'\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00a.',
    b'\x80\x04\x8b\xff\xff\xff\x7f1.',
    b'(' * 100,
    b']q\x00h\x00h\x00a.a.',
    b'}(K\x01u.',
    b'cos\nsystem\n(S"x"\ntR.',
    b'\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00utf8\x86R.',
  ],
)
def test_damaged_pickles_raise_and_take_no_memory(content):
  # The steps' own reader raises what it likes; `load` makes it one ValueError.
  with pytest.raises((ValueError, IndexError, KeyError, EOFError)):
    _pickles.loads(content)


def test_a_pickle_cannot_multiply_its_bytes():
  text = b'X' + (1000).to_bytes(4, 'little') + b'a' * 1000
  code = b'X\x06\x00\x00\x00latin1'
  content = b'\x80\x02' + text + b'q\x00'
  step = b'c_codecs\nencode\nh\x00' + code + b'\x86R'
  with pytest.raises(ValueError, match='more bytes than it has'):
    _pickles.loads(content + step * 200 + b'.')
