"""Curves of `equal_seconds.py`: kept as files that can be committed, and drawn.

A file holds the methods of one data set and number of images a class. The page
follows from the files alone.
"""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dcjax.runs import report
from dcjax.runs.report import _figure, _svg

_HEAD = """# What methods reach in the same seconds

Accuracy of networks that learn the sets which methods have made after so many
minutes; mean ± standard deviation over networks. Drawn from the files in
`docs/seconds`, to which one command adds a curve:

```sh
python benchmarks/equal_seconds.py --data=cifar10 --ipc=1 --only=DM \\
  --data_dir=DATA --records=docs/seconds --page=docs/equal_seconds.md
```
"""


class Point(NamedTuple):
  """A set that was tested.

  Attributes:
    seconds: that went into it.
    mean: accuracy in percent, over networks.
    std: over networks.
  """

  seconds: float
  mean: float
  std: float


class Curve(NamedTuple):
  """What a method reached.

  Attributes:
    points: its sets, from the start on.
    settings: that another curve must share to be compared with.
    made: on which machine (with date and versions), at which commit.
  """

  points: Sequence[Point]
  settings: Mapping[str, Any]
  made: Mapping[str, str]


def read(path: str | os.PathLike[str]) -> dict[str, Curve]:
  """Returns method -> curve of a file; none if there is no file.

  Raises:
    ValueError: it is damaged.
  """
  path = pathlib.Path(path)
  if not path.exists():
    return {}
  try:
    found = json.loads(path.read_text(encoding='utf-8'))
    return {
      name: Curve(
        [Point(*point) for point in curve['points']],
        curve['settings'],
        curve['made'],
      )
      for name, curve in found.items()
    }
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(f'{path}: is no file of curves ({error!r})') from error


def add(path: str | os.PathLike[str], name: str, curve: Curve) -> None:
  """Puts a method's curve into a file, in the place of an earlier one."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  curves = {**read(path), name: curve}
  text = json.dumps(
    {n: c._asdict() for n, c in sorted(curves.items())}, indent=1
  )
  path.write_text(f'{text}\n', encoding='utf-8')


def table(found: Mapping[str, Sequence[Point]], minutes: Sequence[int]) -> str:
  """A row a method: its start, and the last set before each mark."""
  header = ['method', 'start', *(f'{m} min' for m in minutes)]
  rows = []
  for name, points in found.items():
    cells = [f'{points[0].mean:.1f}']
    for mark in minutes:
      # Speeds vary: what was tested for a mark may be a little late.
      within = [p for p in points if p.seconds <= 60 * mark * 1.1]
      cells.append(f'{within[-1].mean:.1f} ± {within[-1].std:.1f}')
    rows.append([name, *cells])
  return report.markdown(header, rows)


def plot(found: Mapping[str, Sequence[Point]], title: str) -> _svg.Plot:
  """Accuracy against seconds, a line a method."""
  series = []
  for name, points in found.items():
    x, y, spread = zip(*points[1:], strict=True)
    series.append(_svg.Series(name, x, y, spread))
  return _svg.Plot(title, series, 'seconds', 'test accuracy, %', log_x=True)


def draw(folder: str | os.PathLike[str], page: str | os.PathLike[str]) -> None:
  """Writes the page of all files, and beside each file its plot.

  Raises:
    ValueError: a file is damaged.
  """
  page = pathlib.Path(page)
  parts = [_HEAD]
  for path in sorted(pathlib.Path(folder).glob('*.json')):
    curves = read(path)
    data, _, ipc = path.stem.rpartition('-')
    title = f'{data}, {ipc} stored image{"s" * (ipc != "1")} a class'
    points = {name: curve.points for name, curve in curves.items()}
    picture = path.with_suffix('.svg')
    _figure.save([plot(points, title)], picture)
    link = os.path.relpath(picture, page.parent).replace(os.sep, '/')
    parts.append(f'## {title}\n\n![Accuracy against seconds]({link})\n')
    for settings in _distinct(c.settings for c in curves.values()):
      alike = {n: c for n, c in curves.items() if c.settings == settings}
      said = ', '.join(
        f'{k} {v}' for k, v in settings.items() if k != 'minutes'
      )
      numbers = table({n: points[n] for n in alike}, settings['minutes'])
      parts.append(f'{said}:\n\n{numbers}\n')
    parts += [
      f'- {name}: {c.made["machine"]}, commit {c.made["commit"]}\n'
      for name, c in curves.items()
    ]
  page.write_text('\n'.join(parts), encoding='utf-8')


def _distinct(items):
  found = []
  for item in items:
    if item not in found:
      found.append(item)
  return found
