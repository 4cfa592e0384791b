"""Experts: networks trained on real images whose whole way is kept."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax import objectives, trajectories
from dcjax.base import Variables
from dcjax.runs import _augment, _costs
from dcjax.runs._build import Built
from dcjax.runs._stage import Stage, tree
from dcjax.training import in_batches
from dcjax.trajectories import Experts

_EXPERTS_FOLD = 80


def epochs(config: Any) -> int:
  """Passes that segments of an expert's way need."""
  return config.method.last_start + config.method.length - 1


def stages(built: Built) -> list[Stage]:
  """One for every few experts: an interrupted run keeps the others.

  Raises:
    ValueError: if not all real images are in memory.
  """
  section = built.config.get('experts')
  if not section:
    return []
  if built.dataset.stream is not None:
    raise ValueError(
      f'data {built.dataset.name}: experts train on all images, and only a '
      'window of them is in memory; leave the window out'
    )
  first = range(0, section.count, section.at_once)
  return [
    _stage(built, n, min(section.at_once, section.count - n)) for n in first
  ]


def _stage(built, first, number):
  config, section = built.config, built.config.experts
  augment = _augment.augment_of(
    built.dataset, built.strategies, 'train', built.placement
  )
  flatness = None
  if section.rho:
    flatness = trajectories.Flatness(section.rho, section.alpha)

  @jax.jit
  def train(key, real):
    return trajectories.train_experts(
      built.network,
      real,
      key,
      experts=number,
      epochs=epochs(config),
      first=first,
      batch_size=section.batch_size,
      optimizer=optax.sgd(section.learning_rate),
      flatness=flatness,
      augment=augment,
    )

  def make(_):
    root = jax.random.key(section.seed)
    key = jax.random.fold_in(root, _EXPERTS_FOLD)
    return jax.device_get(train(key, built.real.local))._asdict()

  settings = {
    'network': config.network,
    'epochs': epochs(config),
    'number': number,
    'augment': [built.strategies['train'], built.strategies['single']],
    **{n: v for n, v in section.items() if n not in ('count', 'at_once')},
  }
  work = number * _costs.training(built, built.network, epochs(config))
  name = f'experts/{first}-{first + number - 1}'
  return Stage(name, make, ('data',), settings, tree(), work, shared=True)


def are_right(built: Built, vector: jax.Array, state: Any) -> np.ndarray:
  """Whether an expert classifies each real image right.

  Args:
    built: the objects of the run.
    vector: `[P]` of the expert.
    state: of networks with running statistics, which do not count.

  Returns:
    `[M]` booleans, class after class.
  """
  network, real = built.network, built.real.local

  @jax.jit
  def right(variables, real):
    def predict(images):
      images = images.astype(jnp.float32) / real.scale
      images = built.normalise(jax.random.key(0), images)
      return jnp.argmax(network.apply(variables, images, True)[0].logits, -1)

    return in_batches(predict, real.images) == real.labels

  params = objectives.flat_network(network).restore(vector)
  return np.asarray(right(Variables(params, state), real))


def gathered(found: Sequence[dict[str, Any]]) -> Experts:
  """The experts of all their stages, on the device."""
  return jax.tree.map(
    lambda *built: jnp.concatenate(list(map(jnp.asarray, built))),
    *(Experts(**made) for made in found),
  )
