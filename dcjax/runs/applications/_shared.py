"""What the applications share: the folder at work, learners, pages."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dcjax import applications, artefact, augment, data, sharding, specs
from dcjax.base import Network
from dcjax.data import Dataset
from dcjax.evaluation import Protocol
from dcjax.runs import _augment, _build, _run, _stage, report, settings
from dcjax.runs._folder import Folder, write_text
from dcjax.runs._outlook import Outlook
from dcjax.runs._progress import Progress, say
from dcjax.runs._stage import RECORD, Kind, Made, Stage, Work
from dcjax.runs.applications import _sets
from dcjax.runs.settings import Settings
from dcjax.utils import check_choice

_COLOURS = (
  '#3d85c6',
  '#e07b39',
  '#6aa84f',
  '#a64d79',
  '#8e7cc3',
  '#777777',
)


class AtWork(NamedTuple):
  """An application's folder at work.

  Attributes:
    config: its settings.
    work: folder, stop and store.
    made: stages so far.
    making: how its small sets are made.
  """

  config: Any
  work: Work
  made: Made
  making: _sets.Making

  @property
  def path(self) -> pathlib.Path:
    """The folder."""
    return self.work.folder.path

  def stage(
    self, name: str, make: Callable[..., Any], kind: Kind = RECORD
  ) -> Any:
    """The output of a stage that the settings alone decide; made once."""
    settings = {'config': _decisive(self.config)}
    stage = Stage(name, make, (), settings, kind)
    return _stage.run([stage], self.work, self.made)(name)

  def measure(
    self, cell: str, make: Callable[[], dict[str, Any]]
  ) -> dict[str, Any]:
    """Returns a measurement with its `seconds`; makes it if there is none."""
    name = f'measure/{cell}'
    found = self.stage(name, make)
    return {**found, 'seconds': self.made.seconds[name]}

  @contextlib.contextmanager
  def progress(self, title: str) -> Iterator[Callable[[float], None]]:
    """A function of the fraction done, which hears a stop.

    Raises:
      Interrupted: from that function; what it watches is then lost.
    """
    bar = Progress(title, 100, unit='%')

    def tell(done):
      bar.update(round(100 * done))
      if done < 1:
        self.work.stop.check(f'in {title}')

    try:
      yield tell
    finally:
      bar.close()


def _decisive(config):
  plain = config.to_dict()
  return {n: v for n, v in plain.items() if n not in ('data_dir', 'execution')}


@contextlib.contextmanager
def opened(
  chosen: Settings, workdir: Any, store: Any = None, command: Sequence[str] = ()
) -> Iterator[AtWork]:
  """Makes the folder of an application its own, as long as it is open.

  Raises:
    ValueError: if it belongs to other settings, or another process is in it.
  """
  folder = Folder(workdir, chosen.plain(), tuple(command))
  _run.use_compilation_cache()
  with folder.owned() as stop:
    try:
      shared = pathlib.Path(store).expanduser() if store else None
      work = Work(folder, stop, Outlook(), shared)
      place = shared or folder.path / 'shared'
      making = _sets.Making(chosen.config, chosen.like, stop, place)
      yield AtWork(chosen.config, work, Made({}, {}, {}), making)
    except Exception:
      folder.release()
      raise


def load(config: Any, dataset: Dataset | None = None) -> Dataset:
  """The data set of an application, at most `most_images` of a class."""
  found = _build.load(config) if dataset is None else dataset
  return data.at_most(found, config.get('most_images', 0))


def domains(config: Any) -> list[Dataset]:
  """Data sets of the same classes, brought to `size` and `channels`.

  Args:
    config: `data` names them between plus signs; at most `most_images` of a
      class for training and `test_images` for testing, 0 for all.

  Raises:
    ValueError: if fewer than two are named, one twice, or classes differ.
    FileNotFoundError: if one's data are not there.
  """
  names = config.data.split('+')
  if len(names) < 2 or len(set(names)) < len(names):
    raise ValueError(
      f'data {config.data!r}: must be two or more different sets'
    )
  loaded = []
  for name in names:
    one = config.copy_and_resolve_references()
    one.data = name
    found = data.at_most(
      _build.load(one), config.most_images, config.test_images
    )
    # A file's name would decide what sets it is taken to be like.
    plain = settings.plain_name(specs.parse('data', name)['name'])
    loaded.append(dataclasses.replace(found, name=plain))
  first = loaded[0]
  for dataset in loaded[1:]:
    if dataset.class_names != first.class_names:
      raise ValueError(
        f'{dataset.name} has classes {list(dataset.class_names)} and '
        f'{first.name} {list(first.class_names)}: must be the same'
      )
  return [data.in_shape(d, config.size, config.channels) for d in loaded]


def task(dataset: Dataset, name: str, at_work: AtWork) -> applications.Task:
  """A data set as a task whose memory is made in the named way."""
  folder = at_work.path / 'memories' / dataset.name / _sets.slug(name)
  making = at_work.making._replace(like=dataset.name)
  made = _sets.make(dataset, name, making, folder)
  return applications.Task(
    dataset.name,
    dataset.images.astype(np.float32) / dataset.scale,
    dataset.labels,
    (dataset.test_images, dataset.test_labels),
    made.batch(),
    dataset.class_names,
  )


def network_of(config: Any, dataset: Dataset) -> Network:
  """Builds the network of an application."""
  return _build.build_network('network', config.network, dataset)


def treatments(
  dataset: Dataset, family: str, mix: float, like: str
) -> dict[str, Any]:
  """How images are treated in training, as `learner` and `evaluator` take it.

  Args:
    dataset: whose normalisation decides.
    family: of augmentation, see `augment.STRATEGIES`.
    mix: probability of CutMix.
    like: published set whose strategies are taken.

  Returns:
    `normalise`, `scale`, `augment` and `mix`.

  Raises:
    ValueError: if the family is unknown.
  """
  check_choice('family', family, augment.STRATEGIES)
  chosen = augment.STRATEGIES[family](
    like, 1, 10, channels=dataset.image_shape[2]
  )
  strategies = {
    **chosen,
    'evaluate_single': chosen['single'],
    'evaluate_per_image': chosen['per_image'],
  }
  return {
    'normalise': augment.normalise(dataset.mean, dataset.std),
    'scale': dataset.scale,
    'augment': _augment.treatment(
      dataset, strategies, 'evaluate', sharding.Placement()
    ),
    'mix': _augment.mixing('cutmix', 'auto', mix),
  }


def protocol_of(section: Any) -> Protocol:
  """A protocol from a config section with the fields of `Protocol`."""
  known = {n: section[n] for n in section if n in Protocol._fields}
  known['average_rate'] = known.get('average_rate') or None
  return Protocol(**known)


def learner_of(
  network: Network,
  dataset: Dataset,
  like: str,
  section: Any,
  distillation: applications.Distillation | None = None,
  **options: Any,
) -> applications.Learner:
  """A learner from a config section: `Protocol` fields, `family`, `cutmix`.

  Args:
    network: that learns.
    dataset: whose normalisation decides.
    like: see `treatments`.
    section: of the config.
    distillation: see `applications.learner`.
    **options: of `applications.learner`.
  """
  return applications.learner(
    network,
    protocol=protocol_of(section),
    distillation=distillation,
    **treatments(dataset, section.family, section.cutmix, like),
    **options,
  )


def variables_kind(start: Any) -> Kind:
  """Keeps networks of the shapes of `start`."""
  return _stage.tree(lambda: jax.eval_shape(lambda: start))


def mean_std(values: Any, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Mean and std (n - 1; 0 for a single seed) over an axis of seeds."""
  values = np.asarray(values, float)
  spread = 1 if values.shape[axis] > 1 else 0
  return values.mean(axis), values.std(axis, ddof=spread)


def percents(values: Any) -> str:
  """Mean and std over seeds `[S]` in percent: `84.2 ± 0.1`."""
  mean, std = mean_std(values)
  return f'{100 * mean:.1f} ± {100 * std:.1f}'


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


def write(at_work: AtWork, page: Page, results: Mapping[str, Any]) -> None:
  """Writes `report.md`, `report.html` and `results.json`."""
  at_work.work.folder.finish(results)
  picture = f'![{page.title}]({page.plot})\n\n' if page.plot else ''
  lines = [f'# {page.title}', *page.notes]
  for title, (header, rows) in page.tables.items():
    lines.append(f'## {title}\n\n{report.markdown(header, rows)}')
  text = '\n\n'.join(lines) + '\n\n' + picture
  write_text(at_work.path / 'report.md', text)
  write_text(at_work.path / 'report.html', _html(page))
  say(f'report: {at_work.path / "report.html"}')


def _html(page):
  notes = ''.join(
    f'<p class="note">{report.escape(note)}</p>\n' for note in page.notes
  )
  tables = '\n'.join(
    report.section(report.escape(title), report.html_table(header, rows))
    for title, (header, rows) in page.tables.items()
  )
  plot = ''
  if page.plot:
    plot = f'<figure><img src="{report.escape(page.plot)}" alt=""></figure>'
  title = report.escape(page.title)
  return report.PAGE.format(
    title=title,
    style=report.STYLE,
    body=f'<h1>{title}</h1>\n{notes}{plot}\n{tables}',
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
  if sharding.is_main():
    figure.savefig(path, dpi=130)


def network_spec(config: Any) -> specs.Spec:
  """The description of an application's network, with all options."""
  from dcjax import networks

  return networks.complete('network', config.network)
