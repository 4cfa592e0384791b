"""A generator trained on the real images, for all numbers of images."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import formations, methods, sharding
from dcjax.runs._build import Built
from dcjax.runs._loop import Task, loop
from dcjax.runs._stage import Stage, Work, tree
from dcjax.runs._start import blank, needs_embeddings

_PIECES = 20  # checkpoints and lines of progress of a training
_FOLD = 80


def stage(built: Built, work: Work) -> Stage:
  """Trains a conditional GAN, whose generator a codebook starts from.

  Where only a window of the data is in memory, the next one comes after as many
  steps as show this one once.
  """
  section = built.config.generator
  inputs = ('data', 'embeddings') if needs_embeddings(built) else ('data',)

  def make(_, found=None):
    key = jax.random.fold_in(jax.random.key(built.config.seed), _FOLD)
    params = built.formation.init(key, blank(built))
    if found is not None:
      means = jnp.asarray(found['embeddings'])
      params = formations.with_embeddings(built.formation, params, means)
    params = _train(built, work, params, key)
    made = {'params': {k: v for k, v in params.items() if k != 'codes'}}
    return made | (
      {} if found is None else {'soft_labels': found['soft_labels']}
    )

  spec = {n: v for n, v in built.formation.spec.items() if n != 'stored'}
  settings = {**section, 'seed': built.config.seed, 'formation': spec}
  return Stage('generator', make, inputs, settings, _nested(), shared=True)


def _nested():
  """A tree whose structure is that of its names."""
  kind = tree()

  def read(path):
    made: dict[str, Any] = {}
    for name, leaf in kind.read(path).items():
      *folders, last = name.split('/')
      node = made
      for folder in folders:
        node = node.setdefault(folder, {})
      node[last] = jnp.asarray(leaf)
    return made

  return kind._replace(read=read)


def _train(built, work, params, key):
  section = built.config.generator
  training = methods.generator_training(
    built.formation,
    built.dataset.counts,
    batch_size=section.batch_size,
    learning_rate=section.learning_rate,
    penalty=section.penalty,
    critic_width=section.critic_width,
    critic_steps=section.critic_steps,
  )
  run = jax.jit(training.run, donate_argnums=1)
  begin = jax.jit(training.init)
  shapes = jax.eval_shape(begin, key, params)
  like = sharding.placed(shapes, sharding.Placement().copies(shapes))
  pieces = np.linspace(0, section.steps, _PIECES + 1).round().astype(int)
  pieces = np.unique(pieces)
  data_at = functools.lru_cache(1)(lambda number: built.real.at(number))

  def prepare(state, number):
    return lambda state: _advance(
      built, run, key, state, pieces[number], pieces[number + 1], data_at
    )

  task = Task(
    'generator',
    'training the generator',
    'piece',
    len(pieces) - 1,
    lambda done: like,
    lambda: begin(key, params),
    prepare,
    advice='try a smaller generator.learning_rate',
  )
  state, _ = loop(work, task, 'generator')
  return methods.finished_generator(built.formation, state, key)


def _advance(built, run, key, state, done, until, data_at):
  """Steps from `done` to `until`, window by window."""
  section, dataset = built.config.generator, built.dataset
  window = None
  if dataset.stream is not None:
    window = max(1, len(dataset.labels) // section.batch_size)
  metrics = {}
  while done < until:
    number = 0 if window is None else done // window
    end = until if window is None else min(until, (number + 1) * window)
    state, metrics = run(key, state, data_at(int(number)), int(end - done))
    done = end
  worst = [jnp.sum(value) for value in metrics.values()]
  # Not finite as soon as one of them is not.
  return state, {'loss': sum(worst) * 0 + metrics['wasserstein_distance']}
