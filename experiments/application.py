"""What the applications' commands share: flags, folder, pages, learners."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import _report_html
import cells
import experiment
import numpy as np
import recipes
from absl import app, logging
from ml_collections import ConfigDict
from progress import Progress, say
from workdir import Interrupted, Stop, Workdir

from dcjax import applications, artefact, augment, networks
from dcjax.base import Network
from dcjax.data import Dataset
from dcjax.protocols import Protocol
from dcjax.utils import check_choice

_COLOURS = (
  '#3d85c6',
  '#e07b39',
  '#6aa84f',
  '#a64d79',
  '#8e7cc3',
  '#777777',
)


def launch(work: Callable[[ConfigDict, str], Any]) -> None:
  """Runs `work(config, workdir)` with what `--config` and `--workdir` name."""
  # Importing it defines the flags, which only a program may have.
  import run

  def main(argv):
    del argv
    logging.set_verbosity(logging.WARNING)
    cells.command(lambda: work(run.CONFIG.value, run.WORKDIR.value))

  app.run(main, flags_parser=run.parse)


class _Owner(NamedTuple):
  """Whose measurements a record holds: the folder's own."""

  folder: Workdir
  digest: str = 'application'


class Folder(NamedTuple):
  """An application's folder at work.

  Attributes:
    path: of the folder.
    record: measurements, each made once.
    stop: whether the program was asked to stop.
  """

  path: Any
  record: cells.Cells
  stop: Stop

  def measure(
    self, cell: str, make: Callable[[], dict[str, Any]]
  ) -> dict[str, Any]:
    """Returns a measurement with its `seconds`; makes it if there is none."""

    def timed():
      began = time.monotonic()
      return {**make(), 'seconds': round(time.monotonic() - began, 3)}

    return self.record.measure(cell, timed)

  @contextlib.contextmanager
  def progress(self, title: str) -> Iterator[Callable[[float], None]]:
    """A function of the fraction done, which hears a stop.

    Raises:
      Interrupted: from that function; what it watches is then lost.
    """
    bar = Progress(title, 100, unit='%')

    def report(done):
      bar.update(round(100 * done))
      if self.stop.agreed() and done < 1:
        raise Interrupted(
          f'stopped in {title}; the same command goes on from here'
        )

    try:
      yield report
    finally:
      bar.close()


@contextlib.contextmanager
def opened(config: ConfigDict, workdir: str) -> Iterator[Folder]:
  """Claims the folder of an application for these settings.

  Args:
    config: the settings.
    workdir: the folder; it goes on there.

  Raises:
    ValueError: if it belongs to other settings.
  """
  place = Workdir(workdir, config, sys.argv)
  experiment.use_compilation_cache()
  place.claim()
  with place.graceful_stop() as stop:
    record = cells.Cells(_Owner(place), 'measured.json', stop)
    yield Folder(place.path, record, stop)


def network_of(config: ConfigDict, dataset: Dataset) -> Network:
  """Builds the network of the config's `network` section."""
  return networks.build(
    config.network.to_dict(), dataset.image_shape, dataset.num_classes
  )


def treatments(
  dataset: Dataset, family: str, cutmix: float | None = None
) -> dict[str, Any]:
  """How images are treated in training, as `learner` and `evaluator` take it.

  Args:
    dataset: whose normalisation and name decide.
    family: of augmentation, see `augment.STRATEGIES`.
    cutmix: probability; None: the family's.

  Returns:
    `normalise`, `scale`, `augment` and `mix`.

  Raises:
    ValueError: if the family is unknown.
  """
  check_choice('training.family', family, augment.STRATEGIES)
  chosen = augment.STRATEGIES[family](
    dataset.name, 1, 10, channels=dataset.image_shape[2]
  )
  strategies = {
    **chosen,
    'mesh': None,
    'evaluate_single': chosen['single'],
    'evaluate_per_image': chosen['per_image'],
  }
  probability = chosen['cutmix_probability'] if cutmix is None else cutmix
  return {
    'normalise': augment.normalise(dataset.mean, dataset.std),
    'scale': dataset.scale,
    'augment': recipes.treatment_of(dataset, strategies, 'evaluate', 'sample'),
    'mix': recipes.cutmix(probability),
  }


def protocol_of(section: ConfigDict) -> Protocol:
  """A protocol from a config section with the fields of `Protocol`."""
  known = {name: section[name] for name in section if name in Protocol._fields}
  return Protocol(**known)


def learner_of(
  network: Network,
  dataset: Dataset,
  section: ConfigDict,
  distillation: applications.Distillation | None = None,
  **options: Any,
) -> applications.Learner:
  """A learner from a config section: `Protocol` fields, `family`, `cutmix`."""
  cutmix = section.get('cutmix')
  return applications.learner(
    network,
    protocol=protocol_of(section),
    distillation=distillation,
    **treatments(dataset, section.family, cutmix),
    **options,
  )


def mean_std(values: Any, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Mean and std (n - 1; 0 for a single seed) over an axis of seeds."""
  values = np.asarray(values, float)
  spread = 1 if values.shape[axis] > 1 else 0
  return values.mean(axis), values.std(axis, ddof=spread)


def percents(values: Any) -> str:
  """Mean and std over seeds `[S]` in percent: `84.2 ± 0.1`."""
  return cells.percent(*mean_std(values))


def stored(made: artefact.Artefact) -> tuple[int, int]:
  """Numbers and float32 bytes that a set stores."""
  total = artefact.storage(made)['total']
  return total['numbers'], total['float32_bytes']


class Page(NamedTuple):
  """A report: what was done, tables, and perhaps a plot.

  Attributes:
    title: of the page.
    notes: sentences above the tables.
    tables: title -> (header, rows).
    plot: name of a file beside the page, or ''.
  """

  title: str
  notes: Sequence[str]
  tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]]
  plot: str = ''


def write(folder: Folder, page: Page, results: Mapping[str, Any]) -> None:
  """Writes `report.md`, `report.html`, and the results into the record."""
  folder.record.conclude(results=dict(results))
  picture = f'![{page.title}]({page.plot})\n\n' if page.plot else ''
  parts = [f'# {page.title}', *page.notes]
  for title, (header, rows) in page.tables.items():
    parts.append(f'## {title}\n\n{cells.markdown(header, rows)}')
  cells.write(folder.path / 'report.md', '\n\n'.join(parts) + '\n\n' + picture)
  cells.write(folder.path / 'report.html', _html(page))
  say(f'report: {folder.path / "report.html"}')


def _html(page):
  escape = _report_html.escape
  notes = ''.join(
    f'<p class="note">{escape(note)}</p>\n' for note in page.notes
  )
  tables = '\n'.join(
    _report_html.section(escape(title), _report_html.table(header, rows))
    for title, (header, rows) in page.tables.items()
  )
  plot = f'<figure><img src="{page.plot}" alt=""></figure>' if page.plot else ''
  return (
    '<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
    f'<title>{escape(page.title)}</title>\n'
    f'<style>{_report_html.STYLE}</style>\n'
    f'<h1>{escape(page.title)}</h1>\n{notes}{plot}\n{tables}\n</html>\n'
  )


def draw_curves(
  path: Any,
  x: Sequence[float],
  lines: Mapping[str, Any],
  x_label: str,
  y_label: str = 'test accuracy, %',
) -> None:
  """Draws a curve with error bars for each name, over the same points.

  Args:
    path: PNG file to write.
    x: `[T]`.
    lines: name -> `[S, T]` fractions of `S` seeds, drawn in percent.
    x_label: of the x axis.
    y_label: of the y axis.
  """
  with _axes(path, x_label, y_label) as axes:
    for i, (name, values) in enumerate(lines.items()):
      mean, std = mean_std(values)
      axes.errorbar(
        x,
        100 * mean,
        100 * std,
        color=_COLOURS[i % len(_COLOURS)],
        # A second round of colours is dashed.
        ls='-' if i < len(_COLOURS) else '--',
        label=name,
        marker='o',
        ms=4,
        capsize=3,
      )
    axes.set_xticks(x)


def draw_points(
  path: Any,
  points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
  x_label: str,
  y_label: str,
) -> None:
  """Draws a cloud of points `(x [A], y [A])` for each name, in percent."""
  with _axes(path, x_label, y_label) as axes:
    for i, (name, (x, y)) in enumerate(points.items()):
      axes.scatter(
        100 * np.asarray(x),
        100 * np.asarray(y),
        s=18,
        color=_COLOURS[i % len(_COLOURS)],
        label=name,
      )


def draw_bars(path: Any, values: Mapping[str, Sequence[float]]) -> None:
  """Draws mean and std of accuracies `[S]` as a bar for each name."""
  with _axes(path, '', 'test accuracy, %') as axes:
    means, stds = zip(*map(mean_std, values.values()), strict=True)
    axes.bar(
      list(values),
      100 * np.array(means),
      yerr=100 * np.array(stds),
      capsize=3,
      color=_COLOURS[0],
    )


@contextlib.contextmanager
def _axes(path, x_label, y_label):
  from matplotlib.figure import Figure

  figure = Figure(figsize=(6.4, 4.2), layout='constrained')
  axes = figure.subplots()
  yield axes
  axes.set_xlabel(x_label)
  axes.set_ylabel(y_label)
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  if axes.get_legend_handles_labels()[0]:
    axes.legend(frameon=False, fontsize='small')
  figure.savefig(path, dpi=130)
