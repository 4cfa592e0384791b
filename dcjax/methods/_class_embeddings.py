"""What a trained network says about each class: embeddings and soft labels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dcjax.base import Array, Augment, Network, Variables
from dcjax.data import sampling
from dcjax.objectives import pooled_features


class ClassEmbeddings(NamedTuple):
  """Means over the real images of each class.

  Attributes:
    embeddings: `[C, F]` of pooled features.
    soft_labels: `[C, K]` of predicted probabilities.
  """

  embeddings: Array
  soft_labels: Array


class ClassSums(NamedTuple):
  """Sums over real images of each class; those of several sets may be added.

  Attributes:
    embeddings: `[C, F]` of pooled features.
    soft_labels: `[C, K]` of predicted probabilities.
    counts: `[C]`, images that were added.
  """

  embeddings: Array
  soft_labels: Array
  counts: Array


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
    data: the set; one that is larger than memory goes through `class_sums`.
    normalise: applied to the images.
    batch_size: images at a time.

  Returns:
    Both means, over every image of the set.
  """
  return class_means(
    class_sums(network, variables, data, normalise, batch_size=batch_size)
  )


def class_sums(
  network: Network,
  variables: Variables,
  data: sampling.DeviceData,
  normalise: Augment,
  *,
  weights: Array | None = None,
  batch_size: int = 100,
) -> ClassSums:
  """Sums features and predictions over a part of a set, such as a window.

  Args:
    network: see `class_embeddings`.
    variables: see `class_embeddings`.
    data: the part; it holds images of every class.
    normalise: applied to the images.
    weights: `[M]` in {0, 1}: 0 leaves an image out. None: all count.
    batch_size: images at a time.

  Example:
    >>> windows = [data.real]
    >>> parts = [class_sums(network, variables, d, normalise) for d in windows]
    >>> means = class_means(jax.tree.map(lambda *s: sum(s), *parts))
  """
  total, classes = data.labels.shape[0], data.counts.shape[0]
  places = jnp.arange(-(-total // batch_size) * batch_size)

  def add(sums, at):
    images = sampling.fetch(data, jnp.minimum(at, total - 1))
    outputs, _ = network.apply(
      variables, normalise(jax.random.key(0), images), False
    )
    found = pooled_features(outputs), jax.nn.softmax(outputs.logits)
    labels = data.labels[jnp.minimum(at, total - 1)]
    member = jax.nn.one_hot(labels, classes) * (at < total)[:, None]
    if weights is not None:
      member *= weights[jnp.minimum(at, total - 1)][:, None]
    sums = ClassSums(
      sums.embeddings + member.T @ found[0],
      sums.soft_labels + member.T @ found[1],
      sums.counts + member.sum(0),
    )
    return sums, None

  pooled, logits = feature_sizes(network, data.images.shape[-3:])
  start = ClassSums(
    jnp.zeros((classes, pooled)),
    jnp.zeros((classes, logits)),
    jnp.zeros(classes),
  )
  return jax.lax.scan(add, start, places.reshape(-1, batch_size))[0]


def class_means(sums: ClassSums) -> ClassEmbeddings:
  """Divides sums over the images of each class by their number.

  Args:
    sums: over every image of the set, of each class at least one.
  """
  counts = sums.counts[:, None]
  return ClassEmbeddings(sums.embeddings / counts, sums.soft_labels / counts)


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
