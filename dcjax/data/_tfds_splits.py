"""Which records of a TFDS set a run trains and tests on."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class _Slice(NamedTuple):
  """Records `start` to `stop` of a split."""

  split: str
  start: int
  stop: int


def check(
  builder: Any, name: str, train_split: str, test: Any
) -> tuple[str, ...]:
  """Returns notes about splits that are not used.

  Args:
    builder: of the set.
    name: of the set, for messages.
    train_split: as TFDS spells it.
    test: what `as_data_source` returned for testing, or None.

  Raises:
    ValueError: a record is in both parts.
  """
  if not builder.info.splits:
    return ()
  train = _slices(builder, train_split)
  tested = [] if test is None else _slices(builder, str(test.split))
  for one in train:
    for other in tested:
      start = max(one.start, other.start)
      stop = min(one.stop, other.stop)
      if one.split == other.split and start < stop:
        raise ValueError(
          f'TFDS set {name!r}: train_split {train_split!r} and test_split '
          f'{str(test.split)!r} both hold {one.split}[{start}:{stop}]; allowed '
          'are splits that share nothing.'
        )
  used = {s.split for s in (*train, *tested)}
  left = [
    f'{split} ({info.num_examples})'
    for split, info in builder.info.splits.items()
    if split not in used and info.num_examples
  ]
  if not left:
    return ()
  return (f'TFDS set {name!r}: splits not used: {", ".join(left)}',)


def _slices(builder: Any, split: str) -> Sequence[_Slice]:
  import tensorflow_datasets as tfds

  sizes = {n: i.num_examples for n, i in builder.info.splits.items()}
  instruction = tfds.core.ReadInstruction.from_spec(split)
  found = instruction.to_absolute(builder.info.splits)
  return [
    _Slice(
      s.splitname,
      0 if s.from_ is None else s.from_,
      sizes[s.splitname] if s.to is None else s.to,
    )
    for s in found
  ]
