"""Matching loss of a condensed set that has lost resolution (IDC, Figure 2)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import dcjax
from dcjax.artefact import Artefact
from dcjax.base import Augment, Batch, Key, PyTree
from dcjax.condensing import real_batches
from dcjax.inner import InnerData
from dcjax.objectives import gradient_matching
from dcjax.runs import _augment
from dcjax.runs._build import Built
from dcjax.runs.tables._packing import resized

_NETWORKS = 8


def lose_resolution(images: jax.Array, percent: int) -> jax.Array:
  """Shrinks images and enlarges them to their old size, both bilinearly.

  Args:
    images: `[..., H, W, D]`.
    percent: of rows and columns that are kept, above 0 and at most 100.

  Raises:
    ValueError: if `percent` is out of range.
  """
  if not 0 < percent <= 100:
    raise ValueError(f'percent {percent}: must be above 0 and at most 100')
  h, w = images.shape[-3:-1]
  small = resized(images, (_kept(h, percent), _kept(w, percent)))
  return resized(small, (h, w))


def _kept(size, percent):
  return max(1, round(size * percent / 100))


def matching_loss(
  built: Built, condensed: Artefact, percent: int
) -> np.ndarray:
  """Returns the matching loss of a run's images for a few fixed networks.

  Kim et al. (2022), Figure 2: the loss that condensed the images (Zhao &
  Bilen, 2021: cosine distance, siamese augmentation), measured again after
  the images lost resolution. Networks, real batches and augmentation come from
  one key, so that runs and resolutions are compared on the same ones. The paper
  does not say which network; here eight as they are drawn at random.

  Args:
    built: the objects of the run.
    condensed: its condensed set.
    percent: see `lose_resolution`.

  Returns:
    `[8]`, the loss summed over classes, for each network.
  """
  section, stored = built.config.method, condensed.batch()
  images = lose_resolution(jnp.asarray(stored.images), percent)
  synthetic = Batch(images, jnp.asarray(stored.labels))
  source = real_batches(built.dataset.counts, section.batch_real)
  objective = gradient_matching(section.distance, tensors=section.tensors)
  augment = augment_of(built, 'match')

  def loss(key, data):
    network_key, walk_key, draw_key, match_key = jax.random.split(key, 4)
    _, target = source.next(draw_key, source.init(walk_key), data)
    variables = built.network.init(network_key)
    return dcjax.match(
      built.network,
      variables,
      target,
      synthetic,
      match_key,
      objective=objective,
      augment=augment,
      classes=built.config.execution.classes,
    )[0]

  return over_networks(loss, built.config.seed, _NETWORKS, data_of(built))


def augment_of(built: Built, name: str) -> Augment:
  """Normalisation and the named strategy of a run."""
  return _augment.augment_of(
    built.dataset, built.strategies, name, built.placement
  )


def data_of(built: Built) -> InnerData:
  """The real data of a run on one device."""
  return InnerData(built.real.local, None)


def over_networks(
  function: Callable[[Key, InnerData], PyTree],
  seed: int,
  count: int,
  data: InnerData,
) -> PyTree:
  """Measures networks one after another, in one compiled program.

  Args:
    function: `(key, data) -> ` pytree of arrays, for one network.
    seed: the same one gives the same networks.
    count: `E`.
    data: handed to `function`.

  Returns:
    The pytree as NumPy arrays with a leading axis `E`.
  """
  keys = jax.random.split(jax.random.key(seed), count)
  found = jax.jit(
    lambda keys, data: jax.lax.map(lambda key: function(key, data), keys)
  )(keys, data)
  return jax.tree.map(np.asarray, found)
