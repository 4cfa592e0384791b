"""Observers: networks that look at images or label them."""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import networks, optimizers, statistics, training
from dcjax.base import Network, Variables
from dcjax.inner import InnerLoop
from dcjax.runs import _augment, _build
from dcjax.runs._build import Built
from dcjax.runs._networks import TRAINING_FOLD, like_of, on_real, train
from dcjax.runs._progress import say
from dcjax.runs._stage import MEMORY, Stage, Work, tree

ROLES = ('matching', 'labelling')


class Observer(NamedTuple):
  """A network that a config asks for, to look at images or to label them.

  Attributes:
    stage: that makes it.
    word: as the config has it, without a file.
    network: the network.
    epochs: of its training; 0 if it is imported.
    roles: what it is for.
    file: state dict that it is imported from, or ''.
  """

  stage: str
  word: str
  network: Network
  epochs: int
  roles: tuple[str, ...]
  file: str


def observers(built: Built, roles: Sequence[str]) -> list[Observer]:
  """The observers that a config asks for, each once.

  Args:
    built: the objects of the run.
    roles: of `ROLES`, those that the run needs.

  Raises:
    ValueError: naming the field and the network that is unknown, or does not
      fit the data.
    FileNotFoundError: if there is no such state dict.
  """
  section = built.config.observers
  epochs = {'matching': section.epochs, 'labelling': section.labelling_epochs}
  found: dict[str, Observer] = {}
  for role in roles:
    seen: dict[str, int] = {}
    for whole in section[role]:
      word, _, file = whole.partition('@')
      number = seen.get(word, 0)
      seen[word] = number + 1
      passes = 0 if file else epochs[role]
      stage = f'observers/{word}'
      stage += f'@{pathlib.Path(file).name}' if file else f' {passes} epochs'
      stage += f' {number + 1}' if number else ''
      if stage in found:
        found[stage] = found[stage]._replace(roles=(*found[stage].roles, role))
        continue
      network = _build.build_network(f'observers.{role}', word, built.dataset)
      found[stage] = Observer(stage, word, network, passes, (role,), file)
  return list(found.values())


def observer_stage(built: Built, work: Work, observer: Observer) -> Stage:
  """Trains an observer, or imports it.

  Its output is `{'variables': Variables, 'accuracy': []}`, the accuracy on the
  test images as a fraction.
  """
  section = built.config.observers
  network = observer.network

  def like():
    return {'variables': like_of(network)(), 'accuracy': 0}

  if observer.file:
    return Stage(
      observer.stage,
      lambda _: _checked(built, network, _imported(built, observer)),
      ('data',),
      {'word': observer.word, 'file': _digest(observer)},
      MEMORY,
    )
  number = int(observer.stage.rpartition('epochs')[2] or 1) - 1

  def make(_):
    root = jax.random.fold_in(jax.random.key(section.seed), TRAINING_FOLD)
    key = jax.random.fold_in(root, number)
    variables = train(
      work,
      built,
      observer.stage,
      observer_loop(built, observer),
      key[None],
      observer.epochs * built.real.windows,
      section.images_per_class,
      'observers.learning_rate',
    )
    variables = jax.tree.map(lambda leaf: leaf[0], variables)
    made = _checked(built, network, variables)
    say(
      f'  {observer.word}: {100 * float(made["accuracy"]):.1f} % on test images'
    )
    return made

  kept = ('matching', 'labelling', 'epochs', 'labelling_epochs')
  settings = {n: v for n, v in section.items() if n not in kept} | {
    'number': number,
    'epochs': observer.epochs,
    'word': networks.complete('observers', observer.word),
    'flips': built.flips,
  }
  return Stage(
    observer.stage, make, ('data',), settings, tree(like), shared=True
  )


def observer_loop(built: Built, observer: Observer) -> InnerLoop:
  """How an observer is trained."""
  section = built.config.observers
  counts = built.dataset.counts
  if section.images_per_class:
    counts = np.minimum(counts, section.images_per_class)
  images = int(counts.sum())
  per_epoch = max(1, images // min(section.batch_size, images))
  rate: Any = section.learning_rate
  if section.zeta:
    epochs = observer.epochs * built.real.windows
    by_epoch = optimizers.smoothing_schedule(rate, epochs, section.zeta)

    def rate(step):
      return by_epoch(step // per_epoch)

  return on_real(
    built,
    observer.network,
    batch_size=section.batch_size,
    optimizer=optimizers.sgd(
      rate, momentum=section.momentum, weight_decay=section.weight_decay
    ),
    augment=_augment.observers_see(
      built.dataset, section, built.flips, built.placement
    ),
    images_per_class=section.images_per_class,
  )


def _imported(built, observer):
  dataset = built.dataset
  return networks.load_torch(
    pathlib.Path(observer.file).expanduser(),
    networks.complete('observers', observer.word),
    dataset.image_shape,
    dataset.num_classes,
  )


def _digest(observer):
  path = pathlib.Path(observer.file).expanduser()
  if not path.is_file():
    raise FileNotFoundError(
      f'observers: {observer.word!r} is to come from {path}, which is no file'
    )
  with path.open('rb') as stream:
    return hashlib.file_digest(stream, 'sha256').hexdigest()


def _checked(built, network, variables):
  dataset = built.dataset
  statistics.check_observer(
    network, variables, dataset.image_shape, dataset.num_classes
  )
  found = accuracy(built, network, variables)
  return {'variables': variables, 'accuracy': np.float32(found)}


def accuracy(built: Built, network: Network, variables: Variables) -> float:
  """Returns the accuracy of a network on the test images, a fraction."""
  dataset = built.dataset

  @jax.jit
  def correct(variables, images, answers):
    def predict(batch):
      batch = batch.astype(jnp.float32) / dataset.scale
      batch = built.normalise(jax.random.key(0), batch)
      outputs, _ = network.apply(variables, batch, False)
      return jnp.argmax(outputs.logits, axis=-1)

    return jnp.mean(training.in_batches(predict, images) == answers)

  tests = jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels)
  return float(correct(variables, *tests))
