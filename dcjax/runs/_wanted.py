"""Which evaluations a run makes, and under what protocol."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dcjax import augment, evaluation, formations, networks, protocols, specs
from dcjax.evaluation import Protocol
from dcjax.runs import _build
from dcjax.runs._build import Built

# Fewer passes leave a network on the whole set far from trained.
_LEAST_PASSES = 20
# DC's epochs, by whether the evaluation augments.
_DC_EPOCHS = {False: 300, True: 1000}


class Wanted(NamedTuple):
  """An evaluation of a run.

  Attributes:
    name: as reports call it.
    images: of which set: `'condensed'`, `'initial'`, `'random'`, `'whole'` ...
    word: the test network; '' is the run's own.
    hard: whether its images have hard labels, whatever the condensed ones have.
    plain: whether nothing is augmented.
    updates: whether its networks get as many updates as those of the condensed
      set, not as many epochs.
  """

  name: str
  images: str
  word: str = ''
  hard: bool = False
  plain: bool = False
  updates: bool = False


def wanted(config: Any) -> list[Wanted]:
  """The evaluations that a config asks for, the condensed set first."""
  section = config.evaluation
  unchanged = _start_is_pointless(config)
  names = ['condensed', *section.baselines]
  found = {
    name: Wanted(name, *_set_of(name))
    for name in names
    if not (unchanged and name == 'initial')
  }
  for word in section.networks:
    for name in ('condensed', *(n for n in names if n == 'random')):
      found[f'{name}, {word}'] = Wanted(f'{name}, {word}', name, word)
  if section.get('fair'):
    for name in FAIR:
      if name != 'condensed_hard' or _may_be_soft(config):
        found.setdefault(name, Wanted(name, *_set_of(name)))
  if section.get('fresh'):
    found['fresh'] = Wanted('fresh', 'fresh')
  return list(found.values())


# What fair scores are made of; see `dcjax.fairness`.
FAIR = ('random', 'whole', 'condensed_hard', 'condensed_plain', 'random_plain')


def _set_of(name):
  """Set, network, hard labels, no augmentation, equal updates."""
  images, _, how = name.partition('_')
  known = how in ('hard', 'plain', 'updates')
  images = images if known else name
  hard = how == 'hard' or images == 'whole'
  return images, '', hard, how == 'plain', how == 'updates'


def _may_be_soft(config):
  """Whether the condensed set may have other labels than its classes."""
  if 'method' not in config or config.get('stored_labels'):
    return True
  return config.labels.regime != 'hard'


def _start_is_pointless(config):
  """Whether the start is what is condensed, or noise."""
  section = config.get('method', {})
  start = specs.parse('start', config.get('start', 'random'))['name']
  noise = start == 'normal' and 'iterations' in section
  return section.get('name') == 'rded' or noise


def expected_images(built: Built, asked: Wanted) -> int:
  """How many images an evaluation trains on."""
  if asked.images == 'whole':
    return len(built.dataset.labels)
  if asked.images in ('condensed', 'initial', 'fresh'):
    return longest(built)
  return built.dataset.num_classes * built.config.ipc


def longest(built: Built) -> int:
  """Images of the largest small set: all are padded to it, for one program."""
  formation = _build.evaluation_formation(built)
  decoded = formations.decoded_count(formation, built.config.ipc)
  return built.dataset.num_classes * max(decoded, built.config.ipc)


def protocol(built: Built, asked: Wanted) -> Protocol:
  """How the networks of an evaluation are trained."""
  config, own = built.config, built.protocol
  if asked.word:
    epochs = published_epochs(config, networks.complete('', asked.word))
    made = evaluation.PROTOCOLS[config.evaluation.protocol](epochs)
    own = own._replace(epochs=made.epochs, drops=made.drops)
  if asked.images == 'whole':
    epochs = config.evaluation.whole_epochs or default_epochs(
      longest(built),
      len(built.dataset.labels),
      epochs=own.epochs,
      batch_size=own.batch_size,
    )
    made = evaluation.PROTOCOLS[config.evaluation.protocol](epochs)
    own = own._replace(epochs=made.epochs, drops=made.drops)
  if asked.updates:
    count = expected_images(built, asked)
    own = protocols.with_equal_updates(own, count, longest(built))
  return own


def default_epochs(
  small: int, all_images: int, *, epochs: int, batch_size: int
) -> int:
  """Passes over the whole set that make as many updates as a small one.

  But at least 20, as a few images make few updates, and never more passes than
  the small set gets.

  Args:
    small: images of the small set.
    all_images: images of the whole set.
    epochs: passes over the small set.
    batch_size: of both.

  Example:
    >>> default_epochs(40, 1433, epochs=1000, batch_size=64)
    43
  """

  def updates(count):
    return -(-count // min(count, batch_size))

  alike = round(epochs * updates(small) / updates(all_images))
  return min(epochs, max(_LEAST_PASSES, alike))


def published_epochs(config: Any, spec: Mapping[str, Any]) -> int:
  """Epochs that the papers' code gives a test network of a run.

  Those of the run, but where the published code tells networks apart:

  * IDC: 400, not 1000, for DenseNet on at least 50 images a class that
    multi-formation multiplies;
  * DC: 1000 for a network that is tested with augmentation, such as a ConvNet
    with BatchNorm, and 300 for one that is not.

  Where the run has other epochs than its own published ones, they stay.

  Args:
    config: of the run.
    spec: the test network with all options (see `networks.complete`).
  """
  name, epochs = config.evaluation.protocol, config.evaluation.epochs
  if name == 'idc' and spec['name'] == 'densenet121':
    many = config.ipc >= 50 and config.factor > 1
    return 400 if many and epochs == 1000 else epochs
  if name == 'dc' and config.augment.get('evaluate', 'auto') == 'auto':
    own = networks.complete('', config.network)
    before, after = _augments(config, own), _augments(config, spec)
    if before != after and epochs == _DC_EPOCHS[before]:
      return _DC_EPOCHS[after]
  return epochs


def _augments(config, network):
  """Whether a network is tested with augmentation under DC's strategies."""
  family = config.evaluation.family
  if family == 'auto':
    family = config.augment.get('family', 'none')
  chosen = augment.STRATEGIES[family](
    config.like, batch_norm=augment.is_batch_norm_convnet(network)
  )
  return chosen['evaluate'] != 'none'
