"""What a run with observers will do, and how much work that is."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import plan
import statistics_data
from ml_collections import ConfigDict
from observer_training import group_name
from observers import ROLES, Plan, missing
from outlook import Outlook, Work
from statistics_parts import REGIMES, Parts
from workdir import Workdir

from dcjax.base import Network

_BACKWARD = 2  # costs about as much as two passes forward


def expected(
  parts: Parts, wanted: dict[str, tuple[Plan, ...]], folder: Workdir
) -> Outlook:
  """Counts the work that is left of a run.

  Args:
    parts: of the run.
    wanted: observers by role; see `observers.plans`.
    folder: of the run; what lies there is done.

  Raises:
    FileNotFoundError: if a state dict is not there.
  """
  count = _Costs(parts)
  work = {
    **_observers(parts, missing(parts, wanted, folder.path), count),
    **_images(parts, wanted, count),
    **_students(parts, wanted, folder, count),
  }
  for stage in ('start', 'statistics', 'labels'):
    if (folder.path / f'{stage}.npz').exists():
      work = {key: value for key, value in work.items() if key[0] != stage}
  left = Outlook(work, plan.machine_speed() if count.known else None)
  records = folder.metrics()
  if records:
    share = records[-1]['outer'] / _periods(parts.config, parts.dataset)
    left.update('synthesis', '', share, 0, 0)
  return left


def _periods(config, dataset):
  """Of all image batches together."""
  section, total = config.synthesis, dataset.num_classes * config.ipc
  batches = -(-total // (section.batch_size or total))
  return batches * (section.iterations // section.image_steps)


class _Costs:
  """Operations of a network's pass forward of one image, counted once."""

  def __init__(self, parts):
    self._shape, self._found = parts.dataset.image_shape, {}
    self.known = True

  def __call__(self, word: str, network: Network) -> float:
    if word not in self._found:
      counted = _forward(network, self._shape)
      # Where nothing is counted, all networks are equal.
      self.known = self.known and counted is not None
      self._found[word] = counted or 1.0
    return self._found[word]


def _forward(network, image_shape):
  """Operations of a pass forward of one image; None: unknown."""
  variables = jax.eval_shape(network.init, jax.random.key(0))
  image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  lowered = jax.jit(lambda v, x: network.apply(v, x, False)[0].logits).lower(
    variables, image
  )
  operations = (lowered.cost_analysis() or {}).get('flops', 0)
  return operations if operations > 0 else None


def _seen_images(parts, images_per_class):
  """Real images of one pass, all windows together."""
  counts = parts.dataset.counts
  if images_per_class:
    counts = np.minimum(counts, images_per_class)
  return int(counts.sum()) * statistics_data.windows(parts)


def _observers(parts, missing, count):
  images = _seen_images(parts, parts.config.observers.images_per_class)
  work: Work = {}
  for p in missing:
    key = ('observers', group_name(p))
    passes = (1 + _BACKWARD) * p.epochs * images
    work[key] = work.get(key, 0.0) + passes * count(p.word, p.network)
  return work


def _images(parts, wanted, count):
  """Start, statistics, synthesis and stored labels."""
  config = parts.config
  total = parts.dataset.num_classes * config.ipc
  matching = [count(p.word, p.network) for p in wanted['matching']]
  work: Work = {}
  if config.start.mode == 'rded':
    crops = parts.dataset.num_classes * config.start.candidates
    work['start', ''] = crops * config.start.crops * sum(matching)
  if config.method != 'rded':
    real = _seen_images(parts, config.statistics.images_per_class)
    for position, cost in enumerate(matching):
      work['statistics', str(position)] = real * cost
    calm = 1 if config.synthesis.get('flatness') else 0
    steps = config.synthesis.iterations * total
    passes = (1 + _BACKWARD + calm) * steps
    work['synthesis', ''] = passes * float(np.mean(matching))
  if config.labels.regime == 'stored':
    views = config.evaluation.epochs * total
    work['labels', ''] = views * _teaching(wanted, count)
  return work


def _teaching(wanted, count):
  """Operations of all teachers for one image."""
  return sum(count(p.word, p.network) for p in wanted['labelling'])


def _students(parts, wanted, folder, count):
  config = parts.config
  images = parts.dataset.num_classes * config.ipc * config.evaluation.epochs
  tests = len(parts.protocol.test_points) * len(parts.dataset.test_labels)
  online = config.labels.regime == 'online'
  work: Work = {}
  done = folder.evaluations()
  for name, of, word in evaluations(config):
    if name in done:
      continue
    student = parts.students[word] if word else parts.network
    own = count(word, student)
    taught = (
      _teaching(wanted, count) if online and not of.endswith('_hard') else 0.0
    )
    each = images * ((1 + _BACKWARD) * own + taught) + tests * own
    work['students', name] = _networks(parts, config) * each
  return work


def _networks(parts, config):
  """Students, counting the places that they leave empty on a mesh."""
  devices = 1 if parts.mesh is None else parts.mesh.size
  return -(-config.evaluation.seeds // devices) * devices


def evaluations(config: ConfigDict) -> Iterator[tuple[str, str, str]]:
  """Names of evaluations, the set of each, and the word of its student."""
  unchanged = config.method == 'rded' or config.start.mode == 'noise'
  baselines = [
    b for b in config.evaluation.baselines if not (unchanged and b == 'initial')
  ]
  for name in ('condensed', *baselines):
    yield name, name, ''
  for word in config.evaluation.students:
    for name in ('condensed', 'random'):
      yield f'{name}, {word}', name, word


def describe(
  parts: Parts,
  wanted: dict[str, tuple[Plan, ...]],
  folder: Workdir,
  left: Outlook,
) -> str:
  """Returns a few lines: what a run will do, how long, and where.

  Args:
    parts: of the run.
    wanted: see `observers.plans`.
    folder: of the run.
    left: see `expected`.
  """
  config, dataset = parts.config, parts.dataset
  counts = dataset.counts
  total = dataset.num_classes * config.ipc
  h, w, d = dataset.image_shape
  words = {role: ', '.join(p.word for p in wanted[role]) for role in ROLES}
  lines = [
    f'{config.method} on {dataset.name}: {dataset.num_classes} classes of '
    f'{counts.min()} to {counts.max()} images {h}x{w}x{d}',
    f'  observers, matching: {words["matching"]}',
    f'  observers, labelling: {words["labelling"]}',
    f'  {total} images from {config.start.mode} starts, '
    + _steps(config, total),
    f'  labels: {REGIMES[config.labels.regime]}',
    f'  students: {config.evaluation.seeds} x {parts.network.name}, '
    f'{parts.protocol.epochs} epochs in batches of '
    f'{min(parts.protocol.batch_size, total)}, for each of: '
    + '; '.join(name for name, _, _ in evaluations(config)),
    f'  {left.describe()}',
    *plan.particulars(parts),
    *_shares(parts, total),
    f'  in {folder.path}',
  ]
  return '\n'.join(lines)


def _steps(config, total):
  if config.method == 'rded':
    return 'not optimised'
  section = config.synthesis
  size = min(section.batch_size or total, total)
  return f'{section.iterations} steps in batches of {size}'


def _shares(parts, total):
  """How several devices share an image batch."""
  if parts.mesh is None or parts.config.method == 'rded':
    return
  size, devices = parts.config.synthesis.batch_size or total, parts.mesh.size
  size = min(size, total)
  if size < devices:
    yield (
      f'  image batches of {size} are fewer than the devices: each of these '
      'computes all of them'
    )
  else:
    yield f'  {-(-size // devices)} images of a batch on each device'
