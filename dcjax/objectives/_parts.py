"""A batch's gradient and embedding, in parts that fit a CPU's caches."""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dcjax.base import Array, Batch, Network, Params, PyTree, Variables
from dcjax.networks import images_are_independent
from dcjax.utils import check_logits, platform

# Of a part: pixels and numbers in an activation at most, images at least. Found
# by measurement with ConvNets of width 32 (16 images of 32x32 pixels) and 128
# (8), whose activations then stay in a core's cache; worth a tenth of an inner
# iteration of IDC, and a third of one of DM.
_MOST_PIXELS = 2**14
_MOST_NUMBERS = 2**20
_FEWEST_IMAGES = 4


def loss_and_gradient(
  network: Network, variables: Variables, batch: Batch, *, train: bool = True
) -> tuple[Array, PyTree, Params]:
  """Mean cross-entropy of a batch and its gradient in the parameters.

  On one CPU device a batch is taken in parts, whose sums are the same but for
  the order of summation; see `count_parts`.

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
  parts = count_parts(network, batch.images.shape, variables)
  gradient_of = jax.value_and_grad(_summed_loss, has_aux=True)
  if parts == 1:
    (value, tracked), gradient = gradient_of(
      variables.params, network, variables.state, batch, train
    )
  else:
    value, gradient = _sum_over_parts(
      lambda part: gradient_of(
        variables.params, network, variables.state, part, train
      ),
      jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), batch),
      variables.params,
    )
    tracked = variables.state
  count = (
    batch.images.shape[0] if batch.weights is None else jnp.sum(batch.weights)
  )
  return value / count, tracked, jax.tree.map(lambda g: g / count, gradient)


def embed(network: Network, variables: Variables, images: Array) -> Array:
  """Embeddings in train mode, in parts like `loss_and_gradient`.

  Args:
    network: must expose an embedding.
    variables: its numbers.
    images: `[N, H, W, D]`, normalised.

  Returns:
    `[N, F]`.

  Raises:
    ValueError: if the network exposes no embedding.
  """

  def embedding(images):
    return network.apply(variables, images, True)[0].embedding

  parts = count_parts(network, images.shape, variables)
  if parts == 1:
    found = embedding(images)
  else:
    found = lax.map(embedding, images.reshape(parts, -1, *images.shape[1:]))
  if found is None:
    raise ValueError(f'network {network.name!r} exposes no embedding')
  return found.reshape(images.shape[0], -1)


def count_parts(
  network: Network, shape: tuple[int, ...], variables: Variables
) -> int:
  """Returns in how many equal parts a batch's gradient is computed.

  Args:
    network: one whose images see each other takes one part; see
      `networks.images_are_independent`.
    shape: of the images, `(N, H, W, D)`.
    variables: of the network; any running statistics are of the whole batch.
  """
  alone = platform() == 'cpu' and jax.device_count() == 1
  if not alone or jax.tree.leaves(variables.state):
    return 1
  count, height, width, _ = shape
  kernels = [x for x in jax.tree.leaves(variables.params) if x.ndim == 4]
  channels = max([k.shape[-1] for k in kernels], default=1)
  pixels = min(_MOST_PIXELS, _MOST_NUMBERS // channels)
  most = max(_FEWEST_IMAGES, pixels // (height * width))
  sizes = [n for n in range(_FEWEST_IMAGES, most + 1) if count % n == 0]
  parts = count // max(sizes) if sizes else 1
  if parts > 1 and not images_are_independent(network, shape[1:]):
    return 1
  return parts


def _summed_loss(params, network, state, batch, train):
  outputs, tracked = network.apply(
    Variables(params, state), batch.images, train
  )
  check_logits(outputs.logits, batch.labels)
  losses = optax.safe_softmax_cross_entropy(outputs.logits, batch.labels)
  if batch.weights is not None:
    losses = losses * batch.weights
  return jnp.sum(losses), tracked


def _sum_over_parts(gradient_of, batch, params):
  def add(total, part):
    (value, _), gradient = gradient_of(part)
    return jax.tree.map(jnp.add, total, (value, gradient)), None

  zeros = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
  return lax.scan(add, zeros, batch)[0]
