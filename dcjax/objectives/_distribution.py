"""Matching of feature distributions: DM, and by a kernel."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from dcjax.base import Array, Batch, Key, Metrics, Network, Objective, Variables
from dcjax.losses import count_chunks
from dcjax.objectives._distances import squared
from dcjax.objectives._feature import mean_feature
from dcjax.objectives._joint import outputs_of

# Of the mean squared distance of real embeddings; 0 where all are the same.
_LEAST_DISTANCE = 1e-8


def distribution_matching(
  *,
  joint: bool = False,
  bandwidth: float = math.inf,
  constant_target: bool = True,
) -> Objective:
  """Makes class means of embeddings agree under random networks.

  `sum_c ||mean embed(real_c) - mean embed(synthetic_c)||^2`: Zhao & Bilen,
  "Dataset Condensation with Distribution Matching" (2023), equation 4, with the
  empirical mean discrepancy; summed over features, nothing divides it.

  Networks whose norm looks at one image at a time may see one class after
  another, which needs the least memory. A BatchNorm network would then lose
  what tells the classes apart, their means: as the reference does, `joint`
  pushes all real images of all classes through it together, all synthetic ones
  together, and compares the means of each class afterwards. Unlike the
  reference, which draws for each class, one augmentation draw then serves all
  classes (see `match`).

  With a finite `bandwidth` the distributions themselves are compared, not only
  their means: the squared maximum mean discrepancy of the embeddings under a
  Gaussian kernel (Gretton et al., "A Kernel Two-Sample Test", JMLR 2012,
  equation 2; for condensation Zhang et al., "M3D", AAAI 2024,
  https://arxiv.org/abs/2312.15927), here with `k(a, b) = exp(-||a - b||^2 /
  (bandwidth * s))`, where `s` is the mean squared distance among the class's
  real embeddings. It is multiplied by `bandwidth * s / 2`, so that it becomes
  equation 4 as the bandwidth grows and takes the same learning rate.

  Args:
    joint: whether the network sees all classes in one batch, in train mode.
    bandwidth: of the Gaussian kernel, above 0; infinite: means alone.
    constant_target: whether the real means are constants; False for derivatives
      in real images and the network's variables.

  Raises:
    ValueError: if `bandwidth` is not above 0; when called, if the network
      exposes no embedding.

  Example:
    >>> objective = distribution_matching(
    ...   joint=inner.tracks_statistics(network))
  """
  if not bandwidth > 0:
    raise ValueError(f'bandwidth {bandwidth:g}: must be above 0')
  compare = _means_apart
  if not math.isinf(bandwidth):
    compare = functools.partial(_distributions_apart, bandwidth)
  if joint:
    compare = _over_classes(compare)

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    del key
    seen = _all_classes if joint else _one_class
    real = seen(network, variables, target)
    if constant_target:
      real = lax.stop_gradient(real)
    fake = seen(network, variables, synthetic)
    value = compare(real, target.weights, fake, synthetic.weights)
    return value, {'loss': value}

  return Objective(loss, joint)


def _one_class(network, variables, batch):
  return _embed(network, variables, batch.images)


def _all_classes(network, variables, batch):
  features = outputs_of(network, variables, batch).embedding
  return features.reshape(*batch.images.shape[:2], -1)


def _means_apart(real, real_weights, fake, fake_weights):
  return squared(
    mean_feature(real, real_weights), mean_feature(fake, fake_weights)
  )


def _over_classes(apart):
  def of_all(*args):
    return jnp.sum(jax.vmap(apart)(*args))

  return of_all


def _distributions_apart(bandwidth, real, real_weights, fake, fake_weights):
  """Scaled discrepancy `[]` of embeddings `[N, F]` and `[M, F]` of a class."""
  p, q = _shares(real, real_weights), _shares(fake, fake_weights)
  centre = p @ real  # distances stay; fewer digits cancel
  real, fake = real - centre, fake - centre
  among_real = _squared_distances(real, real)
  width = bandwidth * jnp.maximum(p @ among_real @ p, _LEAST_DISTANCE)

  def mean_kernel(p, distances, q):
    return p @ jnp.exp(-distances / width) @ q

  discrepancy = (
    mean_kernel(p, among_real, p)
    + mean_kernel(q, _squared_distances(fake, fake), q)
    - 2 * mean_kernel(p, _squared_distances(real, fake), q)
  )
  return width / 2 * discrepancy


def _shares(features, weights):
  if weights is None:
    return jnp.full(len(features), 1 / len(features))
  return weights / jnp.sum(weights)


def _squared_distances(a, b):
  """Squared distances `[N, M]` of vectors `[N, F]` and `[M, F]`."""
  lengths = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None]
  return jnp.maximum(lengths - 2 * a @ b.T, 0)


def _embed(network, variables, images):
  """Embeddings `[N, F]` in train mode, in chunks like `loss_and_gradient`."""

  def embedding(images):
    return network.apply(variables, images, True)[0].embedding

  chunks = count_chunks(network, images.shape, variables)
  if chunks == 1:
    found = embedding(images)
  else:
    found = lax.map(embedding, images.reshape(chunks, -1, *images.shape[1:]))
  if found is None:
    raise ValueError(f'network {network.name!r} exposes no embedding')
  return found.reshape(images.shape[0], -1)
