"""What the applications share: the folder at work, learners, pages."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dcjax import applications, artefact, augment, data, sharding, specs
from dcjax.base import Network
from dcjax.data import Dataset
from dcjax.evaluation import Evaluator, Protocol, evaluator
from dcjax.feeds import Feed, labelled
from dcjax.runs import _augment, _build, _run, _stage, settings
from dcjax.runs._folder import Folder
from dcjax.runs._outlook import Outlook
from dcjax.runs._progress import Progress
from dcjax.runs._stage import RECORD, Kind, Made, Stage, Work
from dcjax.runs.applications import _sets
from dcjax.runs.settings import Settings
from dcjax.utils import check_choice


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
    # By its word: a file's name would decide what set it is like.
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
  making = at_work.making._replace(like=like_of(at_work.config, dataset))
  made = _sets.make(dataset, name, making, folder)
  return applications.Task(
    dataset.name,
    dataset.images.astype(np.float32) / dataset.scale,
    dataset.labels,
    (dataset.test_images, dataset.test_labels),
    made.batch(),
    dataset.class_names,
  )


def like_of(config: Any, dataset: Dataset) -> str:
  """The published set whose settings a set takes: its own unless said.

  Args:
    config: of the application.
    dataset: the one that its `data` names, or one of several, see `domains`.
  """
  first, *others = config.data.split('+')
  own = settings.plain_name(specs.parse('data', first)['name'])
  return dataset.name if others and config.like == own else config.like


def network_of(config: Any, dataset: Dataset) -> Network:
  """Builds the network of an application."""
  return _build.build_network('network', config.network, dataset)


def _protocol_of(section):
  """A protocol from a config section with the fields of `Protocol`."""
  # A section's loss is that of students of a teacher.
  fields = set(Protocol._fields) - {'loss'}
  known = {n: section[n] for n in section if n in fields}
  known['average_rate'] = known.get('average_rate') or None
  return Protocol(**known, test_points=(1.0,))


def learner_of(
  config: Any,
  network: Network,
  dataset: Dataset,
  section: Any,
  feed: Callable[..., Feed] = labelled,
  **options: Any,
) -> Evaluator:
  """What trains and tests networks, as a config section says.

  Args:
    config: of the application, see `like_of`.
    network: the network.
    dataset: whose images are asked about.
    section: fields of `Protocol`, `family` of augmentation (see
      `augment.STRATEGIES`) and `cutmix`, its probability.
    feed: makes what is trained on, of `batch_size`, `augment` and `mix`.
    **options: see `evaluation.evaluator`.

  Raises:
    ValueError: if the family is unknown, or see `evaluation.evaluator`.
  """
  check_choice('family', section.family, augment.STRATEGIES)
  chosen = augment.STRATEGIES[section.family](
    like_of(config, dataset), 1, 10, channels=dataset.image_shape[2]
  )
  strategies = {
    **chosen,
    'evaluate_single': chosen['single'],
    'evaluate_per_image': chosen['per_image'],
  }
  train = _augment.augment_of(
    dataset, strategies, 'evaluate', sharding.Placement()
  )
  mix = _augment.mixing('cutmix', 'auto', section.cutmix)
  protocol = _protocol_of(section)
  return evaluator(
    network,
    feed(batch_size=protocol.batch_size, augment=train, mix=mix),
    protocol=protocol,
    normalise=augment.normalise(dataset.mean, dataset.std),
    scale=dataset.scale,
    **options,
  )


def variables_kind(start: Any) -> Kind:
  """Keeps networks of the shapes of `start`."""
  return _stage.tree(lambda: jax.eval_shape(lambda: start))


def stored(made: artefact.Artefact) -> tuple[int, int]:
  """Numbers and float32 bytes that a set stores."""
  total = artefact.storage(made)['total']
  return total['numbers'], total['float32_bytes']


def network_spec(config: Any) -> specs.Spec:
  """The description of an application's network, with all options."""
  from dcjax import networks

  return networks.complete('network', config.network)
