"""What a table is made of: runs, what is measured on them, and cells."""

from collections.abc import Mapping
from typing import Any, NamedTuple

OWN = 'dcjax'  # source of tables that no paper has
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
    images: 'condensed', 'initial', a coreset such as 'random', 'herding', or
      'whole': all real images.
    network: description of the network in its reference size (see
      `networks.build`); None: the one that condensed.
    epochs_divisor: the protocol's epochs are divided by it, for every network;
      1 leaves each network its published epochs.
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

  @property
  def key(self) -> str:
    """The name under which it is recorded."""
    return f'matching loss at {self.percent} %'


class RecordedLoss(NamedTuple):
  """Matching loss that a condensation recorded while it ran.

  Attributes:
    percent: of the outer iterations that were done.
  """

  percent: int

  @property
  def key(self) -> str:
    """The name under which it is recorded."""
    return f'recorded loss at {self.percent} %'


class GradientNorm(NamedTuple):
  """L1 norm of the gradient of a network that learns from condensed images.

  Attributes:
    data: 'real' or 'synthetic', what the gradient is of.
    epochs: passes over the condensed images before.
  """

  data: str
  epochs: int

  @property
  def key(self) -> str:
    """The name under which it is recorded."""
    return f'gradient norm of {self.data} images after {self.epochs} epochs'


class ClassGradient(NamedTuple):
  """Gradients of real images of one class, in a run's pretrained networks.

  Attributes:
    what: 'norm' (L1, of a batch) or 'similarity' (mean cosine of the gradients
      of two images).
  """

  what: str

  @property
  def key(self) -> str:
    """The name under which it is recorded."""
    return f'class gradient {self.what}'


class OwnTest(NamedTuple):
  """Test accuracy of what a method condensed for, where that is no network.

  A kernel regression on the set (KIP), or the training that was differentiated
  (DD, RaT-BPTT).
  """

  @property
  def key(self) -> str:
    """The name under which it is recorded."""
    return "test of the method's own"


Measure = (
  Accuracy
  | OwnTest
  | MatchingLoss
  | RecordedLoss
  | GradientNorm
  | ClassGradient
)


class Cell(NamedTuple):
  """One number of a table: what is measured on which run."""

  run: Run
  measure: Measure = Accuracy()


class Plot(NamedTuple):
  """How a table is drawn.

  Attributes:
    kind: 'lines', 'panels' (lines, each in a panel of its own, for numbers in
      different units) or 'heat'.
    along: for lines, what lies on the x axis: 'rows' or 'columns', at the
      number in their label; labels without a number are left out.
    x_label: of the x axis.
    y_label: of the y axis; panels take the names of their lines.
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
