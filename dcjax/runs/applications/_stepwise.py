"""Continual learning step by step: recorded, resumed, and judged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dcjax import applications
from dcjax.applications import StepResult
from dcjax.base import Variables
from dcjax.runs import _stage
from dcjax.runs._progress import say
from dcjax.runs.applications import _pages as pages, _shared as shared


def learn(
  at_work: shared.AtWork,
  label: str,
  steps: Sequence[str],
  go_on: Callable[..., Iterator[StepResult]],
  like: Callable[[], Variables],
) -> list[Any]:
  """Learns what is not recorded yet; networks are kept after every step.

  Args:
    at_work: the application.
    label: of the whole walk.
    steps: `T` names.
    go_on: `(first, previous, progress) -> ` results from that step on, as
      `class_incremental` takes these options.
    like: makes networks with the same arrays, for reading what was kept.

  Returns:
    The accuracy matrices `[S, T, T]` as nested lists.

  Raises:
    Interrupted: if a stop was asked for; finished steps are kept.
  """
  kind = _stage.tree(lambda: {'accuracy': 0, 'variables': jax.eval_shape(like)})
  rows, previous = [], None
  for step, name in enumerate(steps):
    cell = f'{label}, {name}'

    def make(step=step, cell=cell, previous=previous):
      with at_work.progress(f'learning {cell}') as tell:
        before = None if previous is None else previous['variables']
        result = next(
          go_on(
            first=step,
            previous=before,
            progress=lambda _, fraction: tell(fraction),
          )
        )
      found = np.asarray(result.accuracy[:, : step + 1])
      say(f'{cell}: {pages.percents(found.mean(1))} %')
      return {'accuracy': found, 'variables': result.variables}

    previous = at_work.stage(f'networks/{cell}', make, kind)
    rows.append(np.asarray(previous['accuracy']).tolist())
  return matrices_of(rows).tolist()


def matrices_of(rows: Sequence[Any]) -> np.ndarray:
  """`[S, T, T]` of rows `[S, i + 1]`, with NaN above the diagonal."""
  steps = len(rows)
  matrices = np.full((len(rows[0]), steps, steps), np.nan)
  for i, row in enumerate(rows):
    matrices[:, i, : i + 1] = row
  return matrices


def without_nan(matrices: Mapping[str, Any]) -> dict[str, Any]:
  """The matrices without NaN, which JSON does not know."""
  return {
    name: [
      [row[: i + 1] for i, row in enumerate(matrix)] for matrix in of_seeds
    ]
    for name, of_seeds in matrices.items()
  }


def metric_table(
  matrices: Mapping[str, Any],
) -> tuple[list[str], list[list[Any]]]:
  """Header and rows of the metrics of each `[S, T, T]`."""
  metrics = {
    'average': applications.average_incremental_accuracy,
    'final': applications.final_average_accuracy,
    'forgetting': applications.forgetting,
    'backward transfer': applications.backward_transfer,
  }
  rows = [
    [name, *(pages.percents(f(matrix)) for f in metrics.values())]
    for name, matrix in matrices.items()
  ]
  return ['memory', *metrics], rows
