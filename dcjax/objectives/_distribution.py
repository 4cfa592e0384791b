"""Matching of feature distributions: DM."""

from jax import lax

from dcjax.base import Array, Batch, Key, Metrics, Network, Objective, Variables
from dcjax.losses import count_chunks
from dcjax.objectives._distances import squared
from dcjax.objectives._feature import mean_feature
from dcjax.objectives._joint import class_means, outputs_of


def distribution_matching(
  *, joint: bool = False, constant_target: bool = True
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

  Args:
    joint: whether the network sees all classes in one batch, in train mode.
    constant_target: whether the real means are constants; False for derivatives
      in real images and the network's variables.

  Raises:
    ValueError: when called with a network that exposes no embedding.

  Example:
    >>> objective = distribution_matching(
    ...   joint=inner.tracks_statistics(network))
  """

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    del key
    means = _all_class_means if joint else _one_class_mean
    real = means(network, variables, target)
    if constant_target:
      real = lax.stop_gradient(real)
    value = squared(real, means(network, variables, synthetic))
    return value, {'loss': value}

  return Objective(loss, joint)


def _one_class_mean(network, variables, batch):
  return mean_feature(_embed(network, variables, batch.images), batch.weights)


def _all_class_means(network, variables, batch):
  return class_means(outputs_of(network, variables, batch).embedding, batch)


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
