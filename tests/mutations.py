"""Damage to files: seeded, of bytes and of what is packed in them."""

import bz2
import gzip
import io
import json
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

# What nobody writes into a field on purpose.
_VALUES = (
  *(None, True, -1, 0, 0.5, 1e308, float('nan'), float('inf'), -(2**63)),
  *(2**64, 10**30, '9999', '', 'x', 'é\0', '../x', [], {}, [[]], [-1]),
  *([10**9] * 4, {'name': 'x'}, [None], 'NaN', '<f8', '|O'),
)
_MOST = 64  # bytes that one piece of damage covers


class Mutation(NamedTuple):
  """A damaged file.

  Attributes:
    content: its bytes.
    what: was done, for messages.
    crafted: whether checksums were made anew, as an attacker does.
  """

  content: bytes
  what: str
  crafted: bool


def mutate(rng: np.random.Generator, content: bytes) -> Mutation:
  """Returns damage of a file, drawn at random; the bytes always differ."""
  while True:
    if rng.random() < 0.4 and (made := _repacked(rng, content)) is not None:
      mutation = Mutation(*made, True)
    else:
      mutation = Mutation(*_damaged(rng, content), False)
    if mutation.content != content:
      return mutation


def _damaged(rng, content):
  """Bytes flipped, lost, doubled, zeroed, added, exchanged."""
  size = len(content)
  what = rng.choice(list(_DAMAGE))
  # Half of it hits the start or the end, where headers and indices are.
  where = int(rng.integers(max(size, 1)))
  if rng.random() < 0.5:
    near = int(rng.integers(min(size, 256) + 1))
    where = max(0, near if rng.random() < 0.7 else size - near)
  length = int(rng.integers(1, _MOST))
  return _DAMAGE[what](rng, content, where, length), f'{what} {where}+{length}'


def _flip(rng, content, where, length):
  damaged = bytearray(content)
  for place in range(where, min(where + 1 + length // 32, len(content))):
    damaged[place] ^= 1 << int(rng.integers(8))
  return bytes(damaged)


def _noise(rng, content, where, length):
  return content[:where] + rng.bytes(length) + content[where + length :]


def _exchange(rng, content, where, length):
  other = int(rng.integers(len(content) + 1))
  piece = content[other : other + length]
  return content[:where] + piece + content[where + len(piece) :]


_DAMAGE = {
  'flip': _flip,
  'noise': _noise,
  'exchange': _exchange,
  'cut off at': lambda rng, c, where, n: c[:where],
  'lose': lambda rng, c, where, n: c[:where] + c[where + n :],
  'double': lambda rng, c, where, n: c[: where + n] + c[where:],
  'zero': lambda rng, c, where, n: c[:where] + bytes(n) + c[where + n :],
  'ones': lambda rng, c, where, n: c[:where] + b'\xff' * n + c[where + n :],
  'insert': lambda rng, c, where, n: c[:where] + rng.bytes(n) + c[where:],
  'twice': lambda rng, c, where, n: c + c,
}


def _repacked(rng, content):
  """Damage within archives and JSON, around which all is made to fit."""
  if content.startswith(b'PK\x03\x04'):
    return _rezipped(rng, content)
  for start, module in ((b'\x1f\x8b', gzip), (b'BZh', bz2)):
    if content.startswith(start):
      inside, what = _damaged(rng, module.decompress(content))
      return module.compress(inside), f'packed: {what}'
  if content[:1] in (b'{', b'['):
    return _changed(rng, content)
  if content[126:128] == b'IM' and content[128:129] == b'\x0f':  # MAT
    size = int.from_bytes(content[132:136], 'little')
    inside, what = _damaged(rng, zlib.decompress(content[136 : 136 + size]))
    inside = zlib.compress(inside)
    start = content[:132] + len(inside).to_bytes(4, 'little')
    return start + inside + content[136 + size :], f'packed: {what}'
  length = int.from_bytes(content[:8], 'little')
  if content[8:9] == b'{' and 8 + length <= len(content):  # safetensors
    header, what = _changed(rng, content[8 : 8 + length])
    start = len(header).to_bytes(8, 'little')
    return start + header + content[8 + length :], what
  return None


def _rezipped(rng, content):
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    entries = {i.filename: archive.read(i) for i in archive.infolist()}
    kind = archive.infolist()[0].compress_type
  name = str(rng.choice(list(entries)))
  inside = entries[name]
  _, brace, text = inside.partition(b'\n{')  # JSON as uint8
  if brace and inside.startswith(b'\x93NUMPY'):
    text, what = _changed(rng, b'{' + text)
    with io.BytesIO() as stream:
      np.save(stream, np.frombuffer(text, np.uint8))
      entries[name] = stream.getvalue()
  elif rng.random() < 0.1:
    del entries[name]
    what = 'without'
  else:
    entries[name], what = _damaged(rng, inside)
  with io.BytesIO() as stream:
    with zipfile.ZipFile(stream, 'w', kind) as archive:
      for entry, bytes_ in entries.items():
        archive.writestr(zipfile.ZipInfo(entry), bytes_, kind)
    return stream.getvalue(), f'{name}: {what}'


def _changed(rng, text):
  """JSON with one field replaced, removed, or named otherwise."""
  lines = text.splitlines()
  try:
    tree = json.loads(text)
  except ValueError:  # lines of JSON
    at = int(rng.integers(len(lines)))
    lines[at], what = _changed(rng, lines[at])
    return b'\n'.join(lines) + b'\n', f'line {at}: {what}'
  places = list(_places(tree))
  if not places:
    return json.dumps(_VALUES[0]).encode(), 'all'
  node, name = places[int(rng.integers(len(places)))]
  value = _VALUES[int(rng.integers(len(_VALUES)))]
  what = f'field {name!r}'
  if isinstance(node, dict) and rng.random() < 0.15:
    node[f'{name}x'] = node.pop(name)
    return json.dumps(tree).encode(), f'{what} renamed'
  node[name] = value
  # More digits than Python reads or writes.
  text = json.dumps(tree).replace('"9999"', '9' * 5000)
  return text.encode(), f'{what}: {value!r}'


def _places(tree):
  """Every (container, name or index) of a tree of JSON."""
  if isinstance(tree, dict | list):
    named = tree if isinstance(tree, dict) else range(len(tree))
    for name in list(named):
      yield tree, name
      yield from _places(tree[name])
