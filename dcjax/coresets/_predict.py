"""What a network says about all images of a set."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dcjax import training
from dcjax.base import Array, Augment, Network, Outputs, Variables
from dcjax.data import sampling


def embed(
  network: Network,
  variables: Variables,
  data: sampling.DeviceData,
  normalise: Augment,
  batch_size: int = 100,
) -> Array:
  """Returns the network's embeddings `[M, F]` of a set, in its order.

  Args:
    network: must expose an embedding.
    variables: the network's numbers, usually trained on the whole set.
    data: the set.
    normalise: applied to the images.
    batch_size: images at a time.

  Raises:
    ValueError: if the network exposes no embedding.
  """

  def embedding(outputs):
    if outputs.embedding is None:
      raise ValueError(f'network {network.name!r} exposes no embedding')
    return outputs.embedding.reshape(outputs.embedding.shape[0], -1)

  return _for_all(embedding, network, variables, data, normalise, batch_size)


def correct(
  network: Network,
  variables: Variables,
  data: sampling.DeviceData,
  normalise: Augment,
  batch_size: int = 100,
) -> Array:
  """Returns whether the network classifies each image right, `[M]` bool.

  Args:
    network: the network.
    variables: its numbers.
    data: the set.
    normalise: applied to the images.
    batch_size: images at a time.
  """

  def answer(outputs):
    return jnp.argmax(outputs.logits, axis=-1)

  answers = _for_all(answer, network, variables, data, normalise, batch_size)
  return answers == data.labels


def _for_all(
  read: Callable[[Outputs], Array],
  network: Network,
  variables: Variables,
  data: sampling.DeviceData,
  normalise: Augment,
  batch_size: int,
) -> Array:
  def one_batch(images):
    images = images.astype(jnp.float32) / data.scale
    images = normalise(jax.random.key(0), images)
    return read(network.apply(variables, images, False)[0])

  return training.in_batches(one_batch, data.images, batch_size)
