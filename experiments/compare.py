"""Sets finished runs side by side: a Markdown table and a plot.

python experiments/compare.py runs/fashion runs/fashion_reference
  --plot=docs/images/schedules.png
"""

import json
import pathlib
import sys

import pictures
from absl import app, flags

_PLOT = flags.DEFINE_string(
  'plot', '', 'PNG to write: accuracy against seconds of condensation.'
)
_SETS = ('condensed', 'initial', 'random', 'herding')


def read(folder: str) -> dict:
  """Reads the results of a finished run.

  Raises:
    ValueError: if the run is not finished or its results are damaged.
  """
  file = pathlib.Path(folder) / 'results.json'
  if not file.is_file():
    raise ValueError(f'{file}: is not there; finish the run first')
  try:
    return json.loads(file.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{file}: is damaged ({error})') from error


def table(runs: dict[str, dict]) -> str:
  """Returns a Markdown table, one row a run: last accuracies in percent."""
  rows = [
    '| run | data | ipc | formation | condense | ' + ' | '.join(_SETS) + ' |',
    '| --- ' * (5 + len(_SETS)) + '|',
  ]
  for name, results in runs.items():
    spec = results['formation']
    cells = [
      name,
      results['dataset'],
      results['ipc'],
      f'{spec["name"]} {spec.get("factor", "")}'.strip(),
      f'{results["seconds"]["condense"]:.0f} s',
      *(_accuracy(results['evaluations'].get(s)) for s in _SETS),
    ]
    rows.append('| ' + ' | '.join(str(cell) for cell in cells) + ' |')
  return '\n'.join(rows)


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


def main(argv: list[str]) -> None:
  """Prints the table and draws the plot of the runs named."""
  if len(argv) < 2:
    sys.exit('error: name at least one finished run folder')
  try:
    runs = {pathlib.Path(folder).name: read(folder) for folder in argv[1:]}
    print(table(runs))
    if _PLOT.value:
      plot(runs, _PLOT.value)
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  app.run(main)
