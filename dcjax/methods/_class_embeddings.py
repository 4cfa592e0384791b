"""What a trained network says about each class: embeddings and soft labels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dcjax.base import Array, Augment, Network, Variables
from dcjax.data import _sampling as sampling
from dcjax.objectives import pooled_features


class ClassEmbeddings(NamedTuple):
  """Means over the real images of each class.

  Attributes:
    embeddings: `[C, F]` of pooled features.
    soft_labels: `[C, K]` of predicted probabilities.
  """

  embeddings: Array
  soft_labels: Array


def class_embeddings(
  network: Network,
  variables: Variables,
  data: sampling.DeviceData,
  normalise: Augment,
  *,
  batch_size: int = 100,
) -> ClassEmbeddings:
  """Averages features and predictions of a trained network over each class.

  The class embeddings of "Dataset Condensation via Generative Model" (2023),
  section 3.2: the mean of the spatially pooled features of the last block. For
  ImageNet-1k the paper classifies by soft labels of a pretrained network and
  says no more; here these are the mean probabilities of a class's real images.

  Args:
    network: exposes block outputs, or an embedding.
    variables: its numbers, trained on the whole set.
    data: the set.
    normalise: applied to the images.
    batch_size: images at a time.

  Returns:
    Both means, over every image of the set.
  """
  total, classes = data.labels.shape[0], data.counts.shape[0]
  places = jnp.arange(-(-total // batch_size) * batch_size)

  def add(sums, at):
    images = sampling.fetch(data, jnp.minimum(at, total - 1))
    outputs, _ = network.apply(
      variables, normalise(jax.random.key(0), images), False
    )
    found = ClassEmbeddings(
      pooled_features(outputs), jax.nn.softmax(outputs.logits)
    )
    labels = data.labels[jnp.minimum(at, total - 1)]
    member = jax.nn.one_hot(labels, classes) * (at < total)[:, None]
    return jax.tree.map(lambda s, f: s + member.T @ f, sums, found), None

  sizes = feature_sizes(network, data.images.shape[-3:])
  start = ClassEmbeddings(*(jnp.zeros((classes, size)) for size in sizes))
  sums, _ = jax.lax.scan(add, start, places.reshape(-1, batch_size))
  return jax.tree.map(lambda s: s / data.counts[:, None], sums)


def feature_sizes(
  network: Network, image_shape: tuple[int, ...]
) -> tuple[int, int]:
  """Returns `(F, K)`: sizes of a network's pooled features and of its logits.

  Nothing is computed.

  Args:
    network: see `class_embeddings`.
    image_shape: `(H, W, D)`.
  """

  def sizes(key):
    blank = jnp.zeros((1, *image_shape))
    outputs, _ = network.apply(network.init(key), blank, False)
    return pooled_features(outputs), outputs.logits

  pooled, logits = jax.eval_shape(sizes, jax.random.key(0))
  return pooled.shape[1], logits.shape[1]
