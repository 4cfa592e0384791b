"""Finished runs side by side: a Markdown table and a plot."""

import pathlib
from typing import Any

from dcjax import records
from dcjax.runs.report import _pictures as pictures
from dcjax.runs.report._html import markdown

_SETS = ('condensed', 'initial', 'random', 'herding')


def read(folder: str) -> dict[str, Any]:
  """Reads the results of a finished run.

  Raises:
    ValueError: if the run is not finished or its results are damaged.
  """
  file = pathlib.Path(folder) / 'results.json'
  if not file.is_file():
    raise ValueError(f'{file}: is not there; finish the run first')
  found = records.read(file)
  records.check_accuracies(found, str(file))
  return found


def table(runs: dict[str, dict]) -> str:
  """Returns a Markdown table, one row a run: last accuracies in percent."""
  rows = []
  for name, results in runs.items():
    spec = results['formation']
    rows.append(
      [
        name,
        results['dataset'],
        results['ipc'],
        f'{spec["name"]} {spec.get("factor", "")}'.strip(),
        f'{results["seconds"]["condense"]:.0f} s',
        *(_accuracy(results['evaluations'].get(s)) for s in _SETS),
      ]
    )
  header = ['run', 'data', 'ipc', 'formation', 'condense', *_SETS]
  return markdown(header, rows)


def _accuracy(entry):
  if entry is None:
    return '–'
  return f'{100 * entry["last_mean"]:.1f} ± {100 * entry["last_std"]:.1f}'


def plot(runs: dict[str, dict], path: str) -> None:
  """Draws accuracy against seconds of condensation, one line a run."""
  lines, bands = {}, {}
  for name, results in runs.items():
    points = results['checkpoints']
    lines[name] = (
      [p['seconds'] for p in points],
      [100 * p['accuracy_mean'] for p in points],
    )
    bands[name] = [100 * p['accuracy_std'] for p in points]
  figure = pictures.curve(
    lines,
    bands=bands,
    x_label='seconds of condensation',
    y_label='test accuracy, %',
  )
  figure.patch.set_alpha(1)
  figure.savefig(path, dpi=150)
