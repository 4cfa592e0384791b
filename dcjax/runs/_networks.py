"""Networks trained on the real images: pools, observers, for embeddings."""

import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import inner, networks, optimizers, sharding, statistics, training
from dcjax.base import Augment, Network, Variables
from dcjax.inner import InnerData, InnerLoop
from dcjax.runs import _augment, _build
from dcjax.runs._build import Parts
from dcjax.runs._loop import Task, compiled, loop
from dcjax.runs._progress import say
from dcjax.runs._stage import MEMORY, Stage, Work, tree

ROLES = ('matching', 'labelling')
# Folds of a run's key: no other draw of a run has them.
_TRAINING_FOLD, _EMBEDDING_FOLD = 77, 78


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


def train(
  work: Work,
  parts: Parts,
  stage: str,
  made: InnerLoop,
  keys: jax.Array,
  rounds: int,
  images_per_class: int = 0,
  field: str = 'learning rate of these networks',
) -> Variables:
  """Trains networks of one shape, all of them in every round.

  Args:
    work: of the run.
    parts: of the run.
    stage: whose output they are.
    made: whose `update` is one round; see `inner.train_on_real`.
    keys: `[E]`, one for each network.
    rounds: how many there are in all; each sees the images of its number.
    images_per_class: the first ones of every class; 0: all.
    field: what drives them, for messages.

  Returns:
    `Variables` in host memory with leaves `[E, ...]`.

  Raises:
    Interrupted: if a stop was asked for; finished rounds are kept.
  """
  keys = parts.placement.everywhere(keys)
  begin, once = rounds_of(made)
  shapes = jax.eval_shape(begin, keys)
  places = parts.placement.copies(shapes)
  like = sharding.placed(shapes, places)
  programs: list[Callable[..., Any]] = []

  def prepare(states, number):
    data = parts.real.at(number, images_per_class)
    if not programs:
      programs.append(compiled(once, keys, like, data))
    return lambda states: programs[0](keys, states, data)

  task = Task(
    stage,
    f'training {stage.partition("/")[2] or stage}',
    'epoch',
    rounds,
    lambda done: like,
    lambda: jax.jit(begin, out_shardings=places)(keys),
    prepare,
    numbers=lambda states: states.variables,
    advice=f'try a smaller {field}',
  )
  states, _ = loop(work, task, stage)
  return sharding.to_host(states.variables)


def rounds_of(made: InnerLoop) -> tuple[Callable, Callable]:
  """What `train` compiles: `keys [E] -> states`, and a round of all of them."""

  def begin(keys):
    return jax.lax.map(lambda key: made.init(key, None), keys)

  def once(keys, states, data):
    def one(pair):
      state, metrics = made.update(*pair, InnerData(data), None)
      return state, metrics['loss']

    states, losses = jax.lax.map(one, (keys, states))
    return states, {'loss': losses}

  return begin, once


def _on_real(
  parts: Parts,
  network: Network,
  *,
  batch_size: int,
  optimizer: Any,
  augment: Augment,
  mix: Any = None,
  images_per_class: int = 0,
  num_batches: int | None = None,
) -> InnerLoop:
  """Passes over the images, or over the window, that are in memory."""
  counts = parts.dataset.counts
  if images_per_class:
    counts = np.minimum(counts, images_per_class)
  images = int(counts.sum())
  size = min(batch_size, images)
  return inner.train_on_real(
    network,
    optimizer,
    num_images=images,
    num_classes=len(counts),
    batch_size=size,
    num_batches=num_batches or max(1, images // size),
    augment=augment,
    mix=mix,
  )


def pool_loop(parts: Parts) -> InnerLoop:
  """How the networks of a pool are trained: as those of a run."""
  config, section = parts.config, parts.config.method
  return _on_real(
    parts,
    parts.network,
    batch_size=section.network_batch_size,
    optimizer=optimizers.sgd(
      section.network_learning_rate,
      momentum=0.9,
      weight_decay=section.network_weight_decay,
    ),
    augment=_augment.treatment(
      parts.dataset, parts.strategies, 'train', parts.placement
    ),
    mix=_augment.mixing(
      'augment.train_mix',
      config.augment.train_mix,
      parts.strategies['train_cutmix_probability'],
    ),
  )


def pool_stage(parts: Parts, work: Work) -> Stage:
  """Networks that IDC draws from where training them anew takes too long.

  They are trained as a run's networks are, with its augmentation and CutMix.
  """
  config, section = parts.config, parts.config.method

  def make(_):
    made = pool_loop(parts)
    key = jax.random.fold_in(jax.random.key(config.seed), _TRAINING_FOLD)
    numbers = jnp.arange(section.pool_networks)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)
    rounds = section.pool_epochs * parts.real.windows
    return train(work, parts, 'pool', made, keys, rounds)

  settings = {
    'network': config.network,
    'seed': config.seed,
    'augment': [config.augment.train, config.augment.train_mix],
    'strategies': dict(parts.strategies),
    **{
      n: section[n]
      for n in section
      if n.startswith(('pool_', 'network_')) and n != 'network_batches'
    },
  }
  return Stage(
    'pool', make, ('data',), settings, tree(_like(parts.network)), shared=True
  )


def _like(network):
  return lambda: jax.eval_shape(network.init, jax.random.key(0))


def observers(parts: Parts, roles: Sequence[str]) -> list[Observer]:
  """The observers that a config asks for, each once.

  Args:
    parts: of the run.
    roles: of `ROLES`, those that the run needs.

  Raises:
    ValueError: naming the field and the network that is unknown, or does not
      fit the data.
    FileNotFoundError: if there is no such state dict.
  """
  section = parts.config.observers
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
      network = _build.build_network(f'observers.{role}', word, parts.dataset)
      found[stage] = Observer(stage, word, network, passes, (role,), file)
  return list(found.values())


def observer_stage(parts: Parts, work: Work, observer: Observer) -> Stage:
  """Trains an observer, or imports it.

  Its output is `{'variables': Variables, 'accuracy': []}`, the accuracy on the
  test images as a fraction.
  """
  section = parts.config.observers
  network = observer.network

  def like():
    return {'variables': _like(network)(), 'accuracy': 0}

  if observer.file:
    return Stage(
      observer.stage,
      lambda _: _checked(parts, network, _imported(parts, observer)),
      ('data',),
      {'word': observer.word, 'file': _digest(observer)},
      MEMORY,
    )
  number = int(observer.stage.rpartition('epochs')[2] or 1) - 1

  def make(_):
    root = jax.random.fold_in(jax.random.key(section.seed), _TRAINING_FOLD)
    key = jax.random.fold_in(root, number)
    variables = train(
      work,
      parts,
      observer.stage,
      observer_loop(parts, observer),
      key[None],
      observer.epochs * parts.real.windows,
      section.images_per_class,
      'observers.learning_rate',
    )
    variables = jax.tree.map(lambda leaf: leaf[0], variables)
    made = _checked(parts, network, variables)
    say(
      f'  {observer.word}: {100 * float(made["accuracy"]):.1f} % on test images'
    )
    return made

  kept = ('matching', 'labelling', 'epochs', 'labelling_epochs')
  settings = {n: v for n, v in section.items() if n not in kept} | {
    'number': number,
    'epochs': observer.epochs,
    'word': networks.complete('observers', observer.word),
    'flips': parts.flips,
  }
  return Stage(
    observer.stage, make, ('data',), settings, tree(like), shared=True
  )


def observer_loop(parts: Parts, observer: Observer) -> InnerLoop:
  """How an observer is trained."""
  section = parts.config.observers
  counts = parts.dataset.counts
  if section.images_per_class:
    counts = np.minimum(counts, section.images_per_class)
  images = int(counts.sum())
  per_epoch = max(1, images // min(section.batch_size, images))
  rate: Any = section.learning_rate
  if section.zeta:
    epochs = observer.epochs * parts.real.windows
    by_epoch = optimizers.smoothing_schedule(rate, epochs, section.zeta)

    def rate(step):
      return by_epoch(step // per_epoch)

  return _on_real(
    parts,
    observer.network,
    batch_size=section.batch_size,
    optimizer=optimizers.sgd(
      rate, momentum=section.momentum, weight_decay=section.weight_decay
    ),
    augment=_augment.observers_see(
      parts.dataset, section, parts.flips, parts.placement
    ),
    images_per_class=section.images_per_class,
  )


def _imported(parts, observer):
  dataset = parts.dataset
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


def _checked(parts, network, variables):
  dataset = parts.dataset
  statistics.check_observer(
    network, variables, dataset.image_shape, dataset.num_classes
  )
  found = accuracy(parts, network, variables)
  return {'variables': variables, 'accuracy': np.float32(found)}


def accuracy(parts: Parts, network: Network, variables: Variables) -> float:
  """Returns the accuracy of a network on the test images, a fraction."""
  dataset = parts.dataset

  @jax.jit
  def correct(variables, images, answers):
    def predict(batch):
      batch = batch.astype(jnp.float32) / dataset.scale
      batch = parts.normalise(jax.random.key(0), batch)
      outputs, _ = network.apply(variables, batch, False)
      return jnp.argmax(outputs.logits, axis=-1)

    return jnp.mean(training.in_batches(predict, images) == answers)

  tests = jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels)
  return float(correct(variables, *tests))


def embedding_stage(parts: Parts, work: Work, steps: int) -> Stage:
  """A network trained on the real images, for what a codebook knows of classes.

  Where only a window of the data is in memory, the next one comes after as many
  updates as show this one once.
  """
  config, section = parts.config, parts.config.method
  size = section.get('network_batch_size', 64)
  rate = section.get('network_learning_rate', 0.01)
  windows = 1
  if parts.dataset.stream is not None:
    windows = -(-steps // max(1, len(parts.dataset.labels) // size))

  def make(_):
    made = _on_real(
      parts,
      parts.network,
      batch_size=size,
      optimizer=optimizers.sgd(rate, momentum=0.9, weight_decay=5e-4),
      augment=parts.normalise,
      num_batches=-(-steps // windows),
    )
    key = jax.random.fold_in(jax.random.key(config.seed), _EMBEDDING_FOLD)
    found = train(work, parts, 'embedding', made, key[None], windows)
    return jax.tree.map(lambda leaf: leaf[0], found)

  settings = {
    'network': config.network,
    'seed': config.seed,
    'steps': steps,
    'batch_size': size,
    'learning_rate': rate,
  }
  return Stage(
    'embedding',
    make,
    ('data',),
    settings,
    tree(_like(parts.network)),
    shared=True,
  )


__all__ = [
  'ROLES',
  'Observer',
  'accuracy',
  'embedding_stage',
  'observer_loop',
  'observer_stage',
  'observers',
  'pool_loop',
  'pool_stage',
  'rounds_of',
  'train',
]
