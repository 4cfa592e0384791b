"""Full-state checkpoints, verified when they are read."""

import hashlib
import json
import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from dcjax import sharding


class CheckpointError(ValueError):
  """A checkpoint that cannot be used; says which one and what to do."""


class Checkpoints:
  """The checkpoints of one run, newest last; two are kept."""

  def __init__(self, folder: str | pathlib.Path):
    """Opens (or creates) `folder`, an absolute path.

    Raises:
      OSError: if it cannot be made.
      CheckpointError: if what is said about a checkpoint in it is damaged.
    """
    self._folder = pathlib.Path(folder)
    try:
      self._manager = ocp.CheckpointManager(
        self._folder,
        options=ocp.CheckpointManagerOptions(
          max_to_keep=2, create=True, enable_async_checkpointing=False
        ),
      )
    except OSError:
      raise
    # Damaged metadata fail in many ways.
    except Exception as error:
      if sharding.is_peer_lost(error):
        raise
      raise CheckpointError(
        f'checkpoints {self._folder}: cannot be read ({_first_line(error)}); '
        'delete the newest folder in it to go on from the one before'
      ) from error

  def latest(self) -> int | None:
    """Returns the newest step that was saved whole, or None."""
    return self._manager.latest_step()

  def save(self, step: int, state: Any, progress: dict[str, Any]) -> None:
    """Saves a state and a JSON-able dict beside it.

    Raises:
      OSError: if it cannot be written; names the folder.
    """
    note = {**progress, 'digest': _digest_of(state, progress)}
    try:
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(note)
        ),
      )
      self._manager.wait_until_finished()
    except Exception as error:
      if sharding.is_peer_lost(error):
        raise
      raise OSError(
        f'checkpoint {step} could not be written to {self._folder}: '
        f'{_first_line(error)}; earlier checkpoints are untouched'
      ) from error

  def restore(self, step: int, like: Any) -> tuple[Any, dict[str, Any]]:
    """Reads a checkpoint back.

    Args:
      step: one of the saved steps.
      like: a tree of arrays or shapes with the structure of the state.

    Raises:
      CheckpointError: if it is damaged or does not fit.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
      restored = self._manager.restore(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardRestore(abstract),
          progress=ocp.args.JsonRestore(),
        ),
      )
      state, progress = restored['state'], dict(restored['progress'])
      recorded = progress.pop('digest')
    except Exception as error:
      raise CheckpointError(
        self._advice(step, f'cannot be read ({_first_line(error)})')
      ) from error
    if _digest_of(state, progress) != recorded:
      raise CheckpointError(
        self._advice(step, 'is damaged: its digest does not match')
      )
    return state, progress

  def _advice(self, step, problem):
    return (
      f'checkpoint {self._folder / str(step)} {problem}; delete that folder to '
      'go on from the checkpoint before it'
    )

  def close(self) -> None:
    """Waits for everything and releases the folder."""
    self._manager.close()


def digest(state: Any) -> str:
  """SHA-256 over the bytes of all leaves, in order, on whatever devices."""
  total = hashlib.sha256()
  for array in jax.tree.leaves(sharding.to_host(state)):
    total.update(f'{array.dtype}{array.shape}'.encode())
    total.update(array.tobytes())
  return total.hexdigest()


def _digest_of(state, progress):
  """Of all that a checkpoint holds."""
  text = f'{digest(state)} {json.dumps(progress, sort_keys=True)}'
  return hashlib.sha256(text.encode()).hexdigest()


def _first_line(error):
  lines = str(error).strip().splitlines()
  return lines[0][:200] if lines else type(error).__name__
