"""Measurements of finished runs: each is made once and recorded at once."""

import functools
import hashlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import builder
import evaluations
import experiment
import whole_set
from ml_collections import ConfigDict
from workdir import Interrupted, Stop, Workdir

from dcjax import artefact
from dcjax.base import Batch
from dcjax.utils import check_at_least, check_choice

SETS = ('condensed', 'initial', 'whole', *builder.BASELINES)


class FinishedRun:
  """A run's folder once there is a condensed set; data are loaded when needed.

  Attributes:
    config: the run's settings, with the seeds and epochs asked for.
    folder: where results are read and written.
    seeds: networks trained for each measurement.
    epochs: of the run's protocol.
  """

  def __init__(
    self,
    run_dir: str | pathlib.Path,
    *,
    seeds: int | None = None,
    epochs: int | None = None,
    data_dir: str | None = None,
  ):
    """Opens the folder and checks the options.

    Args:
      run_dir: the `--workdir` of a run.
      seeds: networks for each measurement; None: as the run.
      epochs: as `--config.evaluation.epochs`; None: as the run.
      data_dir: where the data lie now; None: where the run found them.

    Raises:
      FileNotFoundError: if `config.json` or `condensed.npz` is not there.
      ValueError: if the settings are damaged, or seeds or epochs below 1.
    """
    path = pathlib.Path(run_dir).expanduser()
    for name in ('config.json', 'condensed.npz'):
      if not (path / name).is_file():
        raise FileNotFoundError(
          f'{path / name}: is not there; this needs the folder of a finished '
          'run'
        )
    self.config = _read_config(path / 'config.json')
    self.folder = Workdir(str(path), self.config, [])
    evaluation = self.config.evaluation
    self._as_the_run = seeds in (None, evaluation.seeds) and epochs in (
      None,
      evaluation.epochs,
    )
    for name, value in (('seeds', seeds), ('epochs', epochs)):
      if value is not None:
        check_at_least(name, value, 1)
        evaluation[name] = value
    if data_dir:
      self.config.data.dir = data_dir
    # A pool serves condensation only, and may be gone by now.
    if 'pool' in self.config.get('inner', {}):
      self.config.inner.pool = ''
    self.seeds, self.epochs = evaluation.seeds, evaluation.epochs
    self._selected: dict[str, Batch] = {}

  @functools.cached_property
  def parts(self) -> builder.Run:
    """The parts of the run, with its data."""
    experiment.use_compilation_cache()
    return builder.build(self.config)

  @functools.cached_property
  def artefact(self) -> artefact.Artefact:
    """The condensed set."""
    return artefact.load(self.folder.path / 'condensed.npz')

  @functools.cached_property
  def digest(self) -> str:
    """What tells this condensed set from any other."""
    content = (self.folder.path / 'condensed.npz').read_bytes()
    return hashlib.sha256(content).hexdigest()

  @functools.cached_property
  def keys(self) -> dict[str, Any]:
    """The keys of the run: selections and networks are drawn as there."""
    return experiment.run_keys(self.config.seed)

  def images(self, name: str) -> Batch:
    """A set: images `[C, M, H, W, D]` in [0, 1], labels `[C, M, K]`.

    Args:
      name: one of `SETS`; the condensed one comes from the artefact, `'whole'`
        is the real set (see `whole_set.images`), the others are drawn as the
        run drew them.

    Raises:
      ValueError: if the name is unknown.
    """
    check_choice('sets', name, SETS)
    if name == 'condensed':
      return self.artefact.batch()
    if name == 'whole':
      return whole_set.images(self.parts.dataset)
    if name not in self._selected:
      self._selected[name] = evaluations.training_images(
        self.parts, self.keys, None, name
      )
    return self._selected[name]

  def default_whole_epochs(self) -> int:
    """Passes over the whole set; see `whole_set.default_epochs`."""
    classes, images = self.images('condensed').images.shape[:2]
    return whole_set.default_epochs(
      classes * images,
      len(self.parts.dataset.labels),
      epochs=self.epochs,
      batch_size=self.parts.protocol.batch_size,
    )

  def own_evaluation(self, name: str) -> dict[str, Any] | None:
    """The run's own evaluation of a set if it is under the same settings."""
    return self.folder.evaluations().get(name) if self._as_the_run else None


class Cells:
  """Measurements by name, in a JSON file of the run's folder."""

  def __init__(self, run: FinishedRun, file: str, stop: Stop | None = None):
    """Opens the record.

    Args:
      run: whose measurements these are.
      file: name of the JSON file.
      stop: asked between measurements whether to go on.

    Raises:
      ValueError: if the record is damaged, or of another condensed set.
    """
    self._run, self._file, self._stop = run, file, stop
    path = run.folder.path / file
    record = run.folder.read_json(file)
    if record is None:
      record = {'artefact': run.digest, 'cells': {}}
    if not isinstance(record, dict) or 'cells' not in record:
      raise ValueError(f'{path}: is damaged (it holds no measurements)')
    if record.get('artefact') != run.digest:
      raise ValueError(
        f'{path}: holds measurements of another condensed set; delete it to '
        'measure this one'
      )
    self._record = record

  def __contains__(self, cell: str) -> bool:
    """Whether a measurement is recorded."""
    return cell in self._record['cells']

  def measure(
    self, cell: str, make: Callable[[], dict[str, Any]]
  ) -> dict[str, Any]:
    """Returns a measurement; makes and records it if there is none yet.

    Raises:
      Interrupted: if a stop was asked for; what was finished is recorded.
    """
    if cell not in self:
      self.add(cell, make())
      if self._stop is not None and self._stop.agreed():
        raise Interrupted(
          f'stopped after {cell}; the same command goes on from here'
        )
    return self._record['cells'][cell]

  def add(self, cell: str, entry: dict[str, Any]) -> None:
    """Records a measurement."""
    self._record['cells'][cell] = entry
    self._run.folder.write_json(self._file, self._record)

  def conclude(self, **values: Any) -> None:
    """Records what follows from the measurements."""
    self._record |= values
    self._run.folder.write_json(self._file, self._record)


def _read_config(path):
  try:
    settings = json.loads(path.read_text(encoding='utf-8'))
  except ValueError as error:
    raise ValueError(f'{path}: is damaged ({error})') from error
  if not isinstance(settings, dict) or 'evaluation' not in settings:
    raise ValueError(f'{path}: is damaged (it holds no settings)')
  return ConfigDict(settings)


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """Returns a Markdown table."""
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines)


def percent(mean: float, std: float) -> str:
  """Returns fractions as percent: `84.2 ± 0.1`."""
  return f'{100 * mean:.1f} ± {100 * std:.1f}'


def accuracy(entry: dict[str, Any], which: str = 'last') -> str:
  """Returns the `last` or `best` accuracy of an evaluation in percent."""
  return percent(entry[f'{which}_mean'], entry[f'{which}_std'])


def write(path: pathlib.Path, text: str) -> None:
  """Writes a text file whole or not at all."""
  with artefact.replacing(path) as stream:
    stream.write(text.encode())


def command(work: Callable[[], None]) -> None:
  """Runs a program; what is wrong is said in one sentence.

  Args:
    work: the program.

  Raises:
    SystemExit: with 130 after a stop, 2 after an error.
  """
  try:
    work()
  except Interrupted as stop:
    sys.stderr.write(f'{stop}\n')
    sys.exit(130)
  except KeyboardInterrupt:
    sys.stderr.write('stopped at once; the same command goes on\n')
    sys.exit(130)
  except (ValueError, OSError, ImportError) as error:
    sys.stderr.write(f'error: {error}\n')
    sys.exit(2)
