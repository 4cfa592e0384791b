"""NumPy source that decodes a codebook, for the text inside an artefact."""

import inspect
from collections.abc import Mapping
from typing import Any

TEXT = (
  "The entries 'params/codes' [N, codes], 'params/embeddings' [C, F],"
  " 'params/generator/...' and 'params/statistics/...' are a generator that"
  ' makes image n of class c from code n and embedding c. Run the text'
  ' decode_code of this file (NumPy only): its decode(file) returns the'
  ' training images [C, N, H, W, D]: M = N. Their bytes (float32,'
  ' little-endian) are the same on every machine: their SHA-256 is'
  ' decoded_sha256 of this text.'
)

_CALL = """

def decode(file):
  # Images [C, N, H, W, D] of every class and code.
  return generate(file, {height!r}, {width!r}, {low!r}, {high!r})
"""


def decode_code(spec: Mapping[str, Any]) -> str:
  """Returns NumPy source of `decode(file)` for the spec of a codebook.

  It is the source that decodes artefacts in this package, so that a reader
  without the package gets the same bytes.
  """
  from dcjax.formations import _codebook_numpy

  height, width, _ = spec['image_shape']
  low, high = spec['value_range']
  call = _CALL.format(height=height, width=width, low=low, high=high)
  return inspect.getsource(_codebook_numpy) + call
