"""Real images that stand for the clusters of their class."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import training
from dcjax.base import Array, Augment, Key, Network, Variables
from dcjax.condensing import Source
from dcjax.coresets import _k_means
from dcjax.coresets._distances import centre
from dcjax.data import sampling
from dcjax.utils import check_count


def representative(
  key: Key,
  network: Network,
  variables: Variables,
  data: sampling.DeviceData,
  counts: Sequence[int] | np.ndarray,
  per_class: int,
  normalise: Augment,
  num_steps: int = 20,
  candidates: int = 0,
) -> Array:
  """Images nearest to the centres of clusters of a network's embeddings.

  Liu et al., "DREAM: Efficient Dataset Distillation by Representative Matching"
  (ICCV 2023): k-means within each class, with as many clusters as images are
  wanted, from the start of k-means++. Differs from `k_means` in that it may be
  traced: it embeds, clusters and chooses class after class in one program.

  Args:
    key: decides the starts.
    network: must expose an embedding.
    variables: its numbers.
    data: the real set.
    counts: `[C]` images of each class, concrete: the longest is what classes
      are padded to.
    per_class: images to choose in each class.
    normalise: of images.
    num_steps: iterations of Lloyd's algorithm, at most.
    candidates: images of each class that are looked at, drawn at random, at
      least `per_class`; 0 for all, as the paper.

  Returns:
    `[C, per_class]` int32 positions within each class. Of a class that holds
    fewer images, those beyond its count repeat its first image.

  Raises:
    ValueError: if a number is below 1, `candidates` are fewer than images
      wanted, or the network exposes no embedding.
  """
  per_class = check_count('per_class', per_class)
  num_steps = check_count('num_steps', num_steps)
  largest = int(max(counts))
  if candidates and candidates < per_class:
    raise ValueError(
      f'candidates {candidates}: must be 0 for all, or at least the '
      f'{per_class} images of a class that are wanted'
    )
  every = jnp.arange(largest)

  def embedding(images):
    images = normalise(jax.random.key(0), images)
    found = network.apply(variables, images, False)[0].embedding
    if found is None:
      raise ValueError(f'network {network.name!r} exposes no embedding')
    return found.reshape(found.shape[0], -1).astype(jnp.float32)

  def of_class(inputs):
    start, count, key = inputs
    within = every
    if 0 < candidates < largest:
      key, own = jax.random.split(key)
      within = _some(own, every, count, candidates)
    # Fetched a batch at a time: whole classes stay as they are stored.
    positions = start + jnp.minimum(within, count - 1)
    features = training.in_batches(
      lambda at: embedding(sampling.fetch(data, at)), positions
    )
    valid = within < count
    points, norms = centre(features, valid)
    first = _k_means.spread(key, points, norms, valid, per_class)
    centres = _k_means.lloyd(points, norms, valid, points[first], num_steps)
    nearest = _k_means.nearest_images(points, valid, centres)
    return within[nearest].astype(jnp.int32)

  keys = jax.random.split(key, len(counts))
  return jax.lax.map(of_class, (data.starts, data.counts, keys))


def _some(key, positions, count, number):
  """Draws `number` positions, those within the count before all others."""
  order = jax.random.uniform(key, positions.shape)
  order = jnp.where(positions < count, order, positions + 1.0)
  return jnp.sort(jnp.argsort(order)[:number])


class RepresentativeState(NamedTuple):
  """The batch that is drawn, until the next clustering.

  Attributes:
    positions: `[C, N]` within each class.
    draws: `[]` int32, batches drawn so far.
  """

  positions: Array
  draws: Array


def representative_batches(
  network: Network,
  counts: Sequence[int] | np.ndarray,
  batch_size: int,
  normalise: Augment,
  *,
  every: int = 10,
  num_steps: int = 20,
) -> Source:
  """Batches of the real images that stand for the clusters of their class.

  Liu et al. (ICCV 2023, DREAM), section 3: every `every` steps each class is
  clustered anew by what the network of the moment sees (`representative`), and
  the image nearest to each centre is in the batch until the next clustering.
  The paper clusters every 10 of 100 steps of a network.

  Args:
    network: the one that judges; must expose an embedding.
    counts: `[C]` images of each class.
    batch_size: images of each class in a batch, and clusters; a class smaller
      than that gives all its images, and repeats one with weight 0.
    normalise: of images.
    every: steps between two clusterings.
    num_steps: iterations of Lloyd's algorithm, at most.

  Returns:
    A source that observes the network before every draw.

  Raises:
    ValueError: if a number is below 1.

  Example:
    >>> source = representative_batches(network, counts, 2, normalise)
    >>> made = methods.idc(network, formation, counts, learning_rate=0.01,
    ...                    instead=methods.Instead(source=source))
  """
  counts = np.asarray(counts)
  every = check_count('every', every)
  num_steps = check_count('num_steps', num_steps)
  batch_size = min(check_count('batch_size', batch_size), int(counts.max()))
  padded = counts.min() < batch_size

  def init(key):
    del key
    positions = jnp.zeros((len(counts), batch_size), jnp.int32)
    return RepresentativeState(positions, jnp.zeros((), jnp.int32))

  def observe(key, state, data, variables):
    def anew():
      return representative(
        key,
        network,
        variables,
        data.real,
        counts,
        batch_size,
        normalise,
        num_steps,
      )

    due = state.draws % every == 0
    positions = jax.lax.cond(due, anew, lambda: state.positions)
    return state._replace(positions=positions)

  def next_fn(key: Key, state: RepresentativeState, data: Any):
    del key
    valid = jnp.arange(batch_size) < data.real.counts[:, None]
    weights = valid.astype(jnp.float32) if padded else None
    batch = sampling.class_batch(
      data.real, state.positions, weights, len(counts)
    )
    return state._replace(draws=state.draws + 1), batch

  return Source(init, next_fn, observe)
