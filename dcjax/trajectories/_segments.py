"""Where trajectory matching takes its targets from."""

import jax
import jax.numpy as jnp

from dcjax.condensing import Source
from dcjax.objectives import Segment
from dcjax.utils import check_at_least


def segments(
  *,
  last: int,
  length: int = 2,
  first: int = 0,
  grow_from: int | None = None,
  grow_steps: int = 1,
) -> Source:
  """Pieces of experts' ways: a random expert from a random epoch on.

  The start is uniform in `first .. last - 1`. Guo et al. (DATM, ICLR 2024) let
  the window's end grow linearly from `grow_from` to `last`, over the first
  `grow_steps` targets. The experts are those of `InnerData.experts`.

  Args:
    last: starts are below it.
    length: epochs from start to end, `M`.
    first: earliest start.
    grow_from: bound on the start at first; None for `last` at once.
    grow_steps: targets until the bound is `last`.

  Returns:
    A source of `Segment`s.

  Raises:
    ValueError: if a number is out of range; when drawing, if the data hold no
      experts, or too few epochs of them.
  """
  check_at_least('first', first, 0)
  check_at_least('last', last, first + 1)
  check_at_least('length', length, 1)
  check_at_least('grow_steps', grow_steps, 1)
  bound = last if grow_from is None else grow_from
  if not first < bound <= last:
    raise ValueError(f'grow_from {grow_from!r}: must be in {first + 1}..{last}')

  def init(key):
    del key
    return jnp.zeros((), jnp.int32)

  def next_fn(key, count, data):
    vectors = _vectors(data, last + length)
    expert_key, epoch_key = jax.random.split(key)
    expert = jax.random.randint(expert_key, (), 0, vectors.shape[0])
    share = jnp.minimum(count / grow_steps, 1)
    upper = jnp.int32(bound + (last - bound) * share)
    start = jax.random.randint(epoch_key, (), first, upper)
    segment = Segment(vectors[expert, start], vectors[expert, start + length])
    return count + 1, segment

  return Source(init, next_fn)


def _vectors(data, epochs):
  if data.experts is None:
    raise ValueError(
      'data.experts None: train some, trajectories.train_experts'
    )
  vectors = data.experts.vectors
  # The last start is one below the bound.
  if vectors.shape[1] < epochs:
    raise ValueError(
      f'data.experts: keep {vectors.shape[1] - 1} epochs: must be at least '
      f'{epochs - 1} for these starts and this length'
    )
  return vectors
