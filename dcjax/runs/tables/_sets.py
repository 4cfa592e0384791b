"""Tables of one method: a row for each data set and number of images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Cell, Measure, Run, Table


def table(
  title: str,
  source: str,
  recipe: str,
  size: str,
  datasets: Sequence[str],
  columns: Mapping[str, Measure | None],
  numbers: Mapping[str, str],
  *,
  ipcs: Sequence[int] = (1, 10, 50),
  changes: Callable[[str, int], Mapping[str, Any]] = lambda dataset, ipc: {},
  words: Mapping[str, str] | None = None,
  note: str = '',
) -> Table:
  """Makes a table of one method.

  Args:
    title: see `Table`.
    source: see `Table`.
    recipe: config of the method.
    size: see `load`.
    datasets: rows, together with `ipcs`.
    columns: label -> what is measured; None is published only.
    numbers: data set -> published numbers, a line for each of `ipcs`.
    ipcs: stored images a class.
    changes: `(data set, ipc) -> ` changes of the run's settings.
    words: data set -> what a config calls it, where that is another word.
    note: see `Table`.
  """
  rows: dict[str, Run] = {}
  printed = {}
  for dataset in datasets:
    word = (words or {}).get(dataset, dataset)
    new = {
      f'{dataset}, ipc {ipc}': Run(recipe, word, ipc, 1, changes(dataset, ipc))
      for ipc in ipcs
    }
    text = numbers.get(dataset, '')
    if text:
      printed |= common.numbers(
        dataset, tuple(numbers), tuple(new), tuple(columns), text
      )
    rows |= dict(common.few(size, list(new.items()), 1))
  return Table(
    title,
    source,
    tuple(rows),
    tuple(columns),
    common.fill(
      rows, columns, lambda run, m: None if m is None else Cell(run, m)
    ),
    {place: text for place, text in printed.items() if place[0] in rows},
    note=note,
  )
