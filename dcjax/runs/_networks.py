"""Networks trained on the real images: pools, and for embeddings."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import inner, optimizers, sharding
from dcjax.base import Augment, Network, Variables
from dcjax.data import sampling
from dcjax.inner import InnerData, InnerLoop
from dcjax.runs import _augment
from dcjax.runs._build import Built
from dcjax.runs._loop import Task, compiled, loop
from dcjax.runs._stage import Stage, Work, tree

# Folds of a run's key: no other draw of a run has them.
TRAINING_FOLD, _EMBEDDING_FOLD = 77, 78


def train(
  work: Work,
  built: Built,
  stage: str,
  made: InnerLoop,
  keys: jax.Array,
  rounds: int,
  images_per_class: int = 0,
  field: str = 'learning rate of these networks',
  fixed: sampling.DeviceData | None = None,
  unit: str = 'epoch',
) -> Variables:
  """Trains networks of one shape, all of them in every round.

  Args:
    work: of the run.
    built: the objects of the run.
    stage: whose output they are.
    made: whose `update` is one round; see `inner.train_on_real`.
    keys: `[E]`, one for each network.
    rounds: how many there are in all; each sees the images of its number.
    images_per_class: the first ones of every class; 0: all.
    field: what drives them, for messages.
    fixed: images of every round, in the place of those of its number.
    unit: what a round is called.

  Returns:
    `Variables` in host memory with leaves `[E, ...]`.

  Raises:
    Interrupted: if a stop was asked for; finished rounds are kept.
  """
  keys = built.placement.everywhere(keys)
  begin, once = rounds_of(made)
  shapes = jax.eval_shape(begin, keys)
  places = built.placement.copies(shapes)
  like = sharding.placed(shapes, places)
  programs: list[Callable[..., Any]] = []

  def prepare(states, number):
    data = fixed or built.real.at(number, images_per_class)
    if not programs:
      programs.append(compiled(once, keys, like, data))
    return lambda states: programs[0](keys, states, data)

  task = Task(
    stage,
    f'training {stage.partition("/")[2] or stage}',
    unit,
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


def on_real(
  built: Built,
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
  counts = built.dataset.counts
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


def pool_loop(built: Built) -> InnerLoop:
  """How the networks of a pool are trained: as those of a run."""
  config, section = built.config, built.config.method
  return on_real(
    built,
    built.network,
    batch_size=section.network_batch_size,
    optimizer=optimizers.sgd(
      section.network_learning_rate,
      momentum=0.9,
      weight_decay=section.network_weight_decay,
    ),
    augment=_augment.augment_of(
      built.dataset, built.strategies, 'train', built.placement
    ),
    mix=_augment.mixing(
      'augment.train_mix',
      config.augment.train_mix,
      built.strategies['train_cutmix_probability'],
    ),
  )


def pool_stage(built: Built, work: Work) -> Stage:
  """Networks that IDC draws from where training them anew takes too long.

  They are trained as a run's networks are, with its augmentation and CutMix.
  """
  config, section = built.config, built.config.method

  def make(_):
    made = pool_loop(built)
    key = jax.random.fold_in(jax.random.key(config.seed), TRAINING_FOLD)
    numbers = jnp.arange(section.pool_networks)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(numbers)
    rounds = section.pool_epochs * built.real.windows
    return train(work, built, 'pool', made, keys, rounds)

  settings = {
    'network': config.network,
    'seed': config.seed,
    'augment': [config.augment.train, config.augment.train_mix],
    'strategies': dict(built.strategies),
    **{
      n: section[n]
      for n in section
      if n.startswith(('pool_', 'network_')) and n != 'network_batches'
    },
  }
  return Stage(
    'pool', make, ('data',), settings, tree(like_of(built.network)), shared=True
  )


def like_of(network: Network) -> Callable[[], Any]:
  """What says the shapes of a network's numbers."""
  return lambda: jax.eval_shape(network.init, jax.random.key(0))


def embedding_stage(built: Built, work: Work, steps: int) -> Stage:
  """A network trained on the real images, for what a codebook knows of classes.

  Where only a window of the data is in memory, the next one comes after as many
  updates as show this one once.
  """
  config, section = built.config, built.config.method
  size = section.get('network_batch_size', 64)
  rate = section.get('network_learning_rate', 0.01)
  windows = 1
  if built.dataset.stream is not None:
    windows = -(-steps // max(1, len(built.dataset.labels) // size))

  def make(_):
    made = on_real(
      built,
      built.network,
      batch_size=size,
      optimizer=optimizers.sgd(rate, momentum=0.9, weight_decay=5e-4),
      augment=built.normalise,
      num_batches=-(-steps // windows),
    )
    key = jax.random.fold_in(jax.random.key(config.seed), _EMBEDDING_FOLD)
    found = train(work, built, 'embedding', made, key[None], windows)
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
    tree(like_of(built.network)),
    shared=True,
  )
