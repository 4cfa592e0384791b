"""What a table is made of: runs, what is measured on them, and cells."""

from collections.abc import Mapping
from typing import Any, NamedTuple

SIZES = ('reference', 'short', 'smoke')
Place = tuple[str, str]  # (row, column)


class Run(NamedTuple):
  """One condensation; cells that name the same one share it.

  Attributes:
    recipe: file under `configs`, without its ending.
    dataset: data-set name.
    ipc: stored images per class.
    factor: multi-formation factor.
    changes: dotted config field -> value; a mapping replaces a whole section.
  """

  recipe: str
  dataset: str
  ipc: int
  factor: int = 1
  changes: Mapping[str, Any] = {}


class Accuracy(NamedTuple):
  """Test accuracy, after the last epoch, of networks trained on a set.

  Attributes:
    images: 'condensed', 'initial' or a coreset such as 'random', 'herding'.
    network: description of the network in its reference size (see
      `networks.build`); None: the one that condensed.
    epochs_divisor: the protocol's epochs are divided by it.
    changes: as `Run.changes`, for the evaluation of the same images only.
    pack: factor by which condensed images are shrunk afterwards; see
      `post_downsample`.
  """

  images: str = 'condensed'
  network: Mapping[str, Any] | None = None
  epochs_divisor: int = 1
  changes: Mapping[str, Any] = {}
  pack: int = 1


class MatchingLoss(NamedTuple):
  """Matching loss of the condensed images after a loss of resolution.

  Attributes:
    percent: share of rows and columns that the images keep, in percent.
  """

  percent: int


class Cell(NamedTuple):
  """One number of a table: what is measured on which run."""

  run: Run
  measure: Accuracy | MatchingLoss = Accuracy()


class Plot(NamedTuple):
  """How a table is drawn.

  Attributes:
    kind: 'lines' or 'heat'.
    along: for lines, what lies on the x axis: 'rows' or 'columns'; their
      labels must then hold a number.
    x_label: of the x axis.
    y_label: of the y axis of a heat map.
    log: whether x is logarithmic.
  """

  kind: str
  along: str
  x_label: str
  y_label: str = 'test accuracy, %'
  log: bool = False


class Table(NamedTuple):
  """A table or figure of a paper.

  Attributes:
    title: what it shows.
    source: where it was published.
    rows: labels, from top to bottom.
    columns: labels, from left to right.
    cells: (row, column) -> what is measured there; absent: only published.
    published: (row, column) -> the published number as it is printed.
    note: what a reader must know to compare, in sentences.
    plot: None if the paper has no plot.
  """

  title: str
  source: str
  rows: tuple[str, ...]
  columns: tuple[str, ...]
  cells: Mapping[Place, Cell]
  published: Mapping[Place, str]
  note: str = ''
  plot: Plot | None = None


def published(
  rows: tuple[str, ...], columns: tuple[str, ...], text: str
) -> dict[Place, str]:
  """Reads published numbers: a line a row, `-` where there is none.

  Raises:
    ValueError: if lines or words do not fit the labels.

  Example:
    >>> published(('CN',), ('DSA', 'KIP', 'IDC'), '52.1 - 67.5±0.5')
    {('CN', 'DSA'): '52.1', ('CN', 'IDC'): '67.5 ± 0.5'}
  """
  lines = [line.split() for line in text.strip().splitlines()]
  if len(lines) != len(rows) or any(len(w) != len(columns) for w in lines):
    raise ValueError(
      f'published numbers {[len(words) for words in lines]}: must be '
      f'{len(rows)} lines of {len(columns)}'
    )
  return {
    (row, column): word.replace('±', ' ± ')
    for row, words in zip(rows, lines, strict=True)
    for column, word in zip(columns, words, strict=True)
    if word != '-'
  }
