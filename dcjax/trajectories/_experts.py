"""Networks trained on real images, whose way is kept: experts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax.base import Array, Augment, Key, Network, Variables
from dcjax.data import sampling
from dcjax.losses import loss_and_gradient
from dcjax.mapping import Strategy, over_networks
from dcjax.objectives import flat_network
from dcjax.utils import check_at_least


class Experts(NamedTuple):
  """The ways that networks took in training on real images.

  Plain arrays, so that a file of them is a file of three arrays.

  Attributes:
    vectors: `[E, T + 1, P]` float32 flat parameters at the start and after each
      of `T` epochs; see `objectives.flat_network`.
    losses: `[E, T]` mean training loss of each epoch, in nats.
  """

  vectors: Array
  losses: Array


class Flatness(NamedTuple):
  """Steps towards flat minima: adaptive GSAM, as FTD trains its experts.

  Zhuang et al., "Surrogate Gap Minimization Improves Sharpness-Aware Training"
  (ICLR 2022); Du et al., "Minimizing the Accumulated Trajectory Error to
  Improve Dataset Distillation" (CVPR 2023). A second gradient is taken at
  `w + rho w^2 g / |w g|`; the part of the first one that is orthogonal to it is
  subtracted `alpha` times.

  Attributes:
    rho: at least 0; 0.01 in FTD.
    alpha: at least 0; 0.3 or 1 in FTD, by data set.
  """

  rho: float = 0.01
  alpha: float = 0.3


def expert_bytes(network: Network, experts: int, epochs: int) -> int:
  """Returns the bytes of the vectors of `train_experts`, before any training.

  Args:
    network: the experts'.
    experts: `E`.
    epochs: `T`; parameters are kept at the start as well.

  Raises:
    ValueError: if a number is below 1.

  Example:
    >>> expert_bytes(networks.convnet((32, 32, 3), 10), 100, 50) / 1e9
    6.528204
  """
  check_at_least('experts', experts, 1)
  check_at_least('epochs', epochs, 1)
  return 4 * experts * (epochs + 1) * flat_network(network).size


def train_experts(
  network: Network,
  real: sampling.DeviceData,
  key: Key,
  *,
  experts: int,
  epochs: int,
  first: int = 0,
  batch_size: int = 256,
  optimizer: optax.GradientTransformation | None = None,
  flatness: Flatness | None = None,
  augment: Augment | None = None,
  strategy: Strategy = 'auto',
) -> Experts:
  """Trains networks on real images and keeps their parameters every epoch.

  Cazenavette et al. (CVPR 2022): SGD of rate 0.01 without momentum or decay,
  batches of 256. Only the epochs that segments will use need be trained: with
  `segments(last=s, length=m)`, `s + m - 1` of them. Pure and traceable: all
  experts are one program, one after another or all at once.

  Args:
    network: running statistics move in training, but are not kept.
    real: the real training set, on the device.
    key: expert `e` uses `fold_in(key, first + e)`, so that experts trained in
      several calls are those of one.
    experts: `E`.
    epochs: `T`.
    first: number of the first expert.
    batch_size: the last, shorter batch of an epoch is used.
    optimizer: of a flat vector of parameters; by default SGD of rate 0.01.
    flatness: steps towards flat minima (FTD); None for plain steps.
    augment: normalisation and augmentation of each batch.
    strategy: how experts are mapped; see `mapping.over_networks`.

  Raises:
    ValueError: if a number is out of range.
  """
  for name, value in (('experts', experts), ('epochs', epochs)):
    check_at_least(name, value, 1)
  if flatness is not None:
    check_at_least('flatness.rho', flatness.rho, 0)
    check_at_least('flatness.alpha', flatness.alpha, 0)
  train = _training(
    network,
    real,
    optimizer or optax.sgd(0.01),
    flatness,
    augment,
    epochs,
    batch_size,
  )
  numbers = first + jnp.arange(experts)
  keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
  return over_networks(train, strategy)(keys)


def _training(network, real, optimizer, flatness, augment, epochs, batch_size):
  """Returns `key -> Experts` of one expert."""
  flat = flat_network(network)
  count, num_classes = real.labels.shape[0], real.counts.shape[0]
  walk = sampling.shuffler(count, batch_size, keep_last=True)
  whole = jnp.asarray([count], jnp.int32)
  steps = -(-count // min(batch_size, count))

  def gradient(vector, state, batch):
    value, state, found = loss_and_gradient(
      network, Variables(flat.restore(vector), state), batch
    )
    return value, state, flat.flatten(found)

  def step(carry, key):
    vector, state, opt_state, source = carry
    walk_key, augment_key = jax.random.split(key)
    source, positions, weights = walk.next(walk_key, whole, source)
    batch = sampling.mixed_batch(real, positions[0], weights[0], num_classes)
    if augment is not None:
      batch = batch._replace(images=augment(augment_key, batch.images))
    value, tracked, found = gradient(vector, state, batch)
    if flatness is not None:
      away = _uphill(vector, found, flatness.rho)
      second = gradient(away, state, batch)[2]
      found = _gap_gradient(found, second, flatness.alpha)
    updates, opt_state = optimizer.update(found, opt_state, vector)
    return (vector + updates, tracked, opt_state, source), value

  def epoch(carry, key):
    carry, losses = jax.lax.scan(step, carry, jax.random.split(key, steps))
    return carry, (carry[0], jnp.mean(losses))

  def train(key):
    start_key, walk_key, train_key = jax.random.split(key, 3)
    start = network.init(start_key)
    vector = flat.flatten(start.params)
    carry = (
      vector,
      start.state,
      optimizer.init(vector),
      walk.init(walk_key, whole),
    )
    _, (vectors, losses) = jax.lax.scan(
      epoch, carry, jax.random.split(train_key, epochs)
    )
    return Experts(jnp.concatenate([vector[None], vectors]), losses)

  return train


# Keeps quotients finite where a gradient is zero.
_TINY = 1e-12


def _uphill(vector, gradient, rho):
  """The point to which adaptive sharpness looks: `w + rho w^2 g / |w g|`."""
  scaled = vector * gradient
  return vector + rho * vector * scaled / (jnp.linalg.norm(scaled) + _TINY)


def _gap_gradient(first, second, alpha):
  """The second gradient, minus what of the first is orthogonal to it."""
  length = jnp.vdot(second, second) + _TINY
  orthogonal = first - jnp.vdot(first, second) / length * second
  return second - alpha * orthogonal


def expert_logits(
  network: Network,
  vectors: Array,
  images: Array,
  labels: Array | np.ndarray,
  *,
  state: dict | None = None,
) -> Array:
  """Mean logits of the experts that classify an image right, as DATM starts.

  Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned
  Trajectory Matching" (ICLR 2024). Images that no expert gets right have the
  mean logits of all.

  Args:
    network: the experts', applied in train mode.
    vectors: `[E, P]`, of the trained experts: `experts.vectors[:, -1]`.
    images: `[B, H, W, D]`, normalised.
    labels: `[B]` integers.
    state: of networks with running statistics.

  Returns:
    `[B, K]`.
  """
  restore = flat_network(network).restore

  def logits_of(vector):
    variables = Variables(restore(vector), state or {})
    return network.apply(variables, images, True)[0].logits

  logits = jax.lax.map(logits_of, vectors)
  right = (jnp.argmax(logits, -1) == jnp.asarray(labels)).astype(logits.dtype)
  right = jnp.where(jnp.any(right, 0), right, 1)[..., None]
  return jnp.sum(right * logits, 0) / jnp.sum(right, 0)
