"""Matching loss of a condensed set that has lost resolution (IDC, Figure 2)."""

import os
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import dcjax
from dcjax.base import Batch, Key, PyTree
from dcjax.condensing import real_batches
from dcjax.inner import InnerData
from dcjax.objectives import gradient_matching
from tables._variants import resized

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
  run_dir: str | os.PathLike[str], percent: int, data_dir: str | None = None
) -> np.ndarray:
  """Returns the matching loss of a run's images for a few fixed networks.

  Kim et al. (2022), Figure 2: the loss that condensed the images (Zhao &
  Bilen, 2021: cosine distance, siamese augmentation), measured again after
  the images lost resolution. Networks, real batches and augmentation come from
  one key, so that runs and resolutions are compared on the same ones. The paper
  does not say which network; here eight as they are drawn at random.

  Args:
    run_dir: the folder of a finished run.
    percent: see `lose_resolution`.
    data_dir: where the data lie now; None: where the run found them.

  Returns:
    `[8]`, the loss summed over classes, for each network.
  """
  import builder
  import cells

  run = cells.FinishedRun(run_dir, data_dir=data_dir)
  config, parts = run.config, run.parts
  stored = run.artefact.batch()
  images = lose_resolution(jnp.asarray(stored.images), percent)
  synthetic = Batch(images, jnp.asarray(stored.labels))
  source = real_batches(parts.dataset.counts, config.matching.batch_real)
  objective = gradient_matching(
    config.matching.distance, tensors=config.matching.tensors
  )
  augment = builder.treatment(parts, 'match', 'batch')

  def loss(key, data):
    network_key, walk_key, draw_key, match_key = jax.random.split(key, 4)
    _, target = source.next(draw_key, source.init(walk_key), data)
    variables = parts.network.init(network_key)
    return dcjax.match(
      parts.network,
      variables,
      target,
      synthetic,
      match_key,
      objective=objective,
      augment=augment,
      classes=config.matching.classes,
    )[0]

  return over_networks(loss, config.seed, _NETWORKS, parts.inner_data)


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
