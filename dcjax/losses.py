"""What networks lose on a batch, and the gradient of it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dcjax.base import Array, Batch, Network, Params, PyTree, Variables
from dcjax.networks import images_are_independent
from dcjax.utils import check_logits, on_one_device, platform

# (logits [B, K], batch as the network saw it) -> []. The batch is a `Batch`, or
# what else a feed hands out.
Loss = Callable[[Array, Any], Array]

# Of a part: pixels and numbers in an activation at most, images at least. Found
# by measurement with ConvNets of width 32 (16 images of 32x32 pixels) and 128
# (8), whose activations then stay in a core's cache; worth a tenth of an inner
# iteration of IDC, and a third of one of DM.
_MOST_PIXELS = 2**14
_MOST_NUMBERS = 2**20
_FEWEST_IMAGES = 4


def cross_entropy(logits: Array, batch: Batch) -> Array:
  """Mean cross-entropy over the images that count.

  Args:
    logits: `[N, K]`.
    batch: labels `[N, K]`, weights `[N]` or None.

  Returns:
    `[]`, in nats.

  Raises:
    ValueError: if logits and labels differ in K.
  """
  return mean(_cross_entropies(logits, batch.labels), batch.weights)


def squared_error(logits: Array, batch: Batch) -> Array:
  """Half of the squared error to the labels, summed over classes: a `Loss`.

  FRePo's, of labels that are centred.

  Args:
    logits: `[B, K]`.
    batch: labels `[B, K]`, weights `[B]` or None.

  Returns:
    `[]`, the mean over the images that count.
  """
  return mean(jnp.sum((logits - batch.labels) ** 2, -1) / 2, batch.weights)


def mean(values: Array, weights: Array | None) -> Array:
  """Mean of `values [B]` over the images that count, `weights [B]` or all."""
  if weights is None:
    return jnp.mean(values)
  return jnp.sum(values * weights) / jnp.sum(weights)


def gradient_of(
  loss: Loss, network: Network, variables: Variables, batch: Any
) -> tuple[Array, PyTree, Params]:
  """Any loss of a batch and its gradient in the parameters.

  Args:
    loss: `(logits, batch) -> []`.
    network: applied in train mode.
    variables: its numbers.
    batch: images `[N, H, W, D]` (normalised), and what the loss reads.

  Returns:
    See `loss_and_gradient`.
  """

  def loss_fn(params):
    outputs, tracked = network.apply(
      Variables(params, variables.state), batch.images, True
    )
    return loss(outputs.logits, batch), tracked

  (value, tracked), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
    variables.params
  )
  return value, tracked, gradient


def loss_and_gradient(
  network: Network, variables: Variables, batch: Batch, *, train: bool = True
) -> tuple[Array, PyTree, Params]:
  """Mean cross-entropy of a batch and its gradient in the parameters.

  On CPUs a batch is taken in chunks, whose sums are the same but for the order
  of summation; see `count_chunks`.

  Args:
    network: applied with `train`.
    variables: its numbers.
    batch: images `[N, H, W, D]` (normalised), labels `[N, K]`, weights `[N]` or
      None.
    train: False freezes running statistics.

  Returns:
    The loss `[]` in nats, the network's updated running statistics, and a tree
    like `variables.params`.
  """
  chunks = count_chunks(network, batch.images.shape, variables)
  of_sum = jax.value_and_grad(_summed_loss, has_aux=True)
  if chunks == 1:
    (value, tracked), gradient = of_sum(
      variables.params, network, variables.state, batch, train
    )
  else:
    value, gradient = _sum_over_chunks(
      lambda part: of_sum(
        variables.params, network, variables.state, part, train
      ),
      jax.tree.map(lambda x: x.reshape(chunks, -1, *x.shape[1:]), batch),
      variables.params,
    )
    tracked = variables.state
  count = (
    batch.images.shape[0] if batch.weights is None else jnp.sum(batch.weights)
  )
  return value / count, tracked, jax.tree.map(lambda g: g / count, gradient)


def count_chunks(
  network: Network, shape: tuple[int, ...], variables: Variables
) -> int:
  """Returns in how many equal chunks a batch's gradient is computed.

  It reads the backend, as chunks pay on CPUs alone, where one device has the
  batch: accelerators hold a whole one, and devices that share a batch would
  each take all of its chunks.

  Args:
    network: one whose images see each other takes one part; see
      `networks.images_are_independent`.
    shape: of the images, `(N, H, W, D)`.
    variables: of the network; any running statistics are of the whole batch.
  """
  chunked = platform() == 'cpu' and on_one_device()
  if not chunked or jax.tree.leaves(variables.state):
    return 1
  count, height, width, _ = shape
  kernels = [x for x in jax.tree.leaves(variables.params) if x.ndim == 4]
  channels = max([k.shape[-1] for k in kernels], default=1)
  pixels = min(_MOST_PIXELS, _MOST_NUMBERS // channels)
  most = max(_FEWEST_IMAGES, pixels // (height * width))
  sizes = [n for n in range(_FEWEST_IMAGES, most + 1) if count % n == 0]
  chunks = count // max(sizes) if sizes else 1
  if chunks > 1 and not images_are_independent(network, shape[1:]):
    return 1
  return chunks


def _cross_entropies(logits, labels):
  check_logits(logits, labels)
  return optax.safe_softmax_cross_entropy(logits, labels)


def _summed_loss(params, network, state, batch, train):
  outputs, tracked = network.apply(
    Variables(params, state), batch.images, train
  )
  losses = _cross_entropies(outputs.logits, batch.labels)
  if batch.weights is not None:
    losses = losses * batch.weights
  return jnp.sum(losses), tracked


def _sum_over_chunks(of_chunk, batch, params):
  def add(total, part):
    (value, _), gradient = of_chunk(part)
    return jax.tree.map(jnp.add, total, (value, gradient)), None

  # By shape: on a mesh parameters may say of more axes than what is manual.
  zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, p.dtype), params)
  return lax.scan(add, (jnp.zeros(()), zeros), batch)[0]
