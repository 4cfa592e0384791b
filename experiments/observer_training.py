"""Training of observers on the real images, and their test accuracy."""

import json
import pathlib
import shutil
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pretrain
import rounds
import statistics_data
import statistics_parts
from outlook import Outlook
from progress import duration, say
from statistics_parts import Parts

from dcjax import artefact, inner, optimizers, sharding, training
from dcjax.base import Network, Variables


def train(
  parts: Parts,
  group: dict[pathlib.Path, Any],
  settings: str,
  unfinished: pathlib.Path,
  stop: Any,
  outlook: Outlook,
) -> None:
  """Trains networks of one shape; each goes into a file of its own.

  Args:
    parts: of the run.
    group: file -> its `observers.Plan`; they differ by their number only.
    settings: tells this training from another.
    unfinished: folder that keeps the state after every epoch.
    stop: whether the program was asked to stop.
    outlook: hears how long every epoch takes.

  Raises:
    Interrupted: if a stop was asked for; finished epochs are kept.
  """
  plan, began = next(iter(group.values())), time.monotonic()
  section = parts.config.observers
  data_at = statistics_data.passes(parts, section.images_per_class)
  numbers = jnp.asarray([p.number for p in group.values()])
  root = jax.random.fold_in(jax.random.key(section.seed), 77)
  keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(numbers)
  total = plan.epochs * statistics_data.windows(parts)

  def after(done, seconds):
    part = group_name(plan)
    outlook.update('observers', part, done / total, 1 / total, seconds)

  pool = rounds.train_rounds(
    _loop(parts, plan, data_at(0).real.counts),
    keys,
    total,
    data_at,
    settings=settings,
    folder=unfinished,
    title=f'training {plan.word}',
    stop=stop,
    mesh=parts.mesh,
    after=after,
  )
  pool = sharding.to_host(pool)
  seconds = (time.monotonic() - began) / len(group)
  for position, (path, own) in enumerate(group.items()):
    variables = jax.tree.map(lambda leaf, i=position: leaf[i], pool)
    _keep(parts, path, own, variables, seconds)
  if sharding.is_main():
    shutil.rmtree(unfinished)
  sharding.barrier(f'trained {settings}')


def _keep(parts, path, plan, variables, seconds):
  """Writes a network, and a note beside it."""
  note = {
    'network': plan.spec,
    'epochs': plan.epochs,
    'accuracy': accuracy(parts, plan.network, variables),
    'seconds': round(seconds, 3),
  }
  if sharding.is_main():
    with artefact.replacing(path.with_suffix('.json')) as stream:
      stream.write(json.dumps(note, indent=2).encode())
    pretrain.save(path, jax.tree.map(lambda leaf: leaf[None], variables))
  say(
    f'  {plan.word}: {100 * note["accuracy"]:.1f} % on test images, trained '
    f'in {duration(seconds)}'
  )


def group_name(plan: Any) -> str:
  """Names the observers that are trained at once, for an `Outlook`."""
  return f'{plan.word} {plan.epochs}'


def _loop(parts, plan, counts):
  section = parts.config.observers
  images = int(np.sum(counts))
  size = min(section.batch_size, images)
  per_epoch = max(1, images // size)
  rate: Any = section.learning_rate
  if section.zeta:
    epochs = plan.epochs * statistics_data.windows(parts)
    by_epoch = optimizers.smoothing_schedule(rate, epochs, section.zeta)

    def rate(step):
      return by_epoch(step // per_epoch)

  return inner.train_on_real(
    plan.network,
    optimizers.sgd(
      rate, momentum=section.momentum, weight_decay=section.weight_decay
    ),
    num_images=images,
    num_classes=len(counts),
    batch_size=size,
    num_batches=per_epoch,
    augment=statistics_parts.observer_augment(parts),
  )


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
