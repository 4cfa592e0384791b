"""Continual learning step by step: recorded, resumed, and judged."""

import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import application
import numpy as np
import small_sets
from flax import serialization
from progress import say

from dcjax import applications, artefact
from dcjax.applications import StepResult
from dcjax.base import Variables


def learn(
  folder: application.Folder,
  label: str,
  steps: Sequence[str],
  go_on: Callable[..., Iterator[StepResult]],
  like: Callable[[], Variables],
) -> list[Any]:
  """Learns what is not recorded yet; networks are kept after every step.

  Args:
    folder: of the application.
    label: of the whole walk, for records and file names.
    steps: `T` names.
    go_on: `(first, previous, progress) -> ` results from that step on, as
      `class_incremental` takes these options.
    like: makes networks with the same arrays, for reading what was kept.

  Returns:
    The accuracy matrices `[S, T, T]` as nested lists.

  Raises:
    FileNotFoundError: if networks of an earlier step are gone.
    Interrupted: if a stop was asked for; finished steps are recorded.
  """
  where = folder.path / 'networks' / small_sets.slug(label)
  cells = [f'{label}, {step}' for step in steps]
  done = sum(cell in folder.record for cell in cells)
  rows = [folder.measure(cell, dict)['accuracy'] for cell in cells[:done]]
  previous = None
  if 0 < done < len(cells):
    previous = load_networks(where / f'step{done - 1}.msgpack', like())
  for step in range(done, len(cells)):
    began = time.monotonic()
    with folder.progress(f'learning {cells[step]}') as report:
      result = next(
        go_on(
          first=step,
          previous=previous,
          progress=lambda _, fraction, report=report: report(fraction),
        )
      )
    # Kept before the step is recorded: what is recorded can be gone on from.
    save_networks(where / f'step{step}.msgpack', result.variables)
    previous = result.variables
    rows.append(result.accuracy[:, : step + 1].tolist())
    seconds = round(time.monotonic() - began, 3)
    entry = {'accuracy': rows[-1], 'seconds': seconds}
    folder.record.measure(cells[step], lambda entry=entry: entry)
    say(f'{cells[step]}: {application.percents(np.mean(rows[-1], 1))} %')
  return matrices_of(rows).tolist()


def matrices_of(rows: Sequence[Any]) -> np.ndarray:
  """`[S, T, T]` of rows `[S, i + 1]`, with NaN above the diagonal."""
  steps = len(rows)
  matrices = np.full((len(rows[0]), steps, steps), np.nan)
  for i, row in enumerate(rows):
    matrices[:, i, : i + 1] = row
  return matrices


def save_networks(file: pathlib.Path, variables: Variables) -> None:
  """Writes networks, leaves with a leading axis `S`."""
  file.parent.mkdir(parents=True, exist_ok=True)
  with artefact.replacing(file) as stream:
    stream.write(serialization.to_bytes(variables))


def load_networks(file: pathlib.Path, like: Variables) -> Variables:
  """Reads what `save_networks` wrote; `like` has the same arrays.

  Raises:
    FileNotFoundError: if the file is not there.
  """
  if not file.is_file():
    raise FileNotFoundError(
      f'{file}: is not there; the networks of an earlier step are needed to go '
      'on, so use another --workdir'
    )
  return serialization.from_bytes(like, file.read_bytes())


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
    [name, *(application.percents(f(matrix)) for f in metrics.values())]
    for name, matrix in matrices.items()
  ]
  return ['memory', *metrics], rows
