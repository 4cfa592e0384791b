"""How large and how alike network gradients are (IDC, Figures 4 and 5)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax import inner, optimizers
from dcjax.artefact import Artefact
from dcjax.base import Array, Augment, Batch, Network, Params, Variables
from dcjax.condensing import real_batches
from dcjax.mapping import over_classes
from dcjax.objectives import network_gradient
from dcjax.runs import _given
from dcjax.runs._build import Built
from dcjax.runs.tables._loss import augment_of, data_of, over_networks

_NETWORKS = 8
_IMAGES = 16  # of a class, whose gradients are compared with one another


def l1_norm(gradient: Params) -> Array:
  """Returns the sum `[]` of the absolute values of a tree of arrays."""
  sums = (jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(gradient))
  return sum(sums, start=jnp.zeros(()))


def class_norm(
  network: Network, variables: Variables, batch: Batch, normalise: Augment
) -> Array:
  """L1 norm of the gradient of a class's images, mean over classes.

  Args:
    network: whose gradient of all parameters is taken.
    variables: its numbers.
    batch: images `[C, N, H, W, D]` in [0, 1], labels `[C, N, K]`.
    normalise: applied to the images.

  Returns:
    `[]`.
  """

  def norm(batch):
    images = normalise(jax.random.key(0), batch.images)
    batch = batch._replace(images=images)
    return l1_norm(network_gradient(network, variables, batch))

  return jnp.mean(over_classes(norm)(batch))


def pairwise_similarity(
  network: Network, variables: Variables, batch: Batch, normalise: Augment
) -> Array:
  """Mean cosine of the gradients of two images of a class, over all pairs.

  With unit vectors `u_i` the sum over pairs is `|sum u_i|^2 - N`, so no two
  gradients have to be kept.

  Args:
    network: see `class_norm`.
    variables: see `class_norm`.
    batch: see `class_norm`; N is at least 2.
    normalise: see `class_norm`.

  Returns:
    `[]`, mean over classes.
  """

  def of_a_class(batch):
    images = normalise(jax.random.key(0), batch.images)

    def add(total, image_and_label):
      image, label = image_and_label
      one = Batch(image[None], label[None])
      gradient = network_gradient(network, variables, one)
      scale = 1 / jnp.maximum(optax.global_norm(gradient), 1e-12)
      return jax.tree.map(lambda t, g: t + scale * g, total, gradient), None

    zero = jax.tree.map(jnp.zeros_like, variables.params)
    total, _ = jax.lax.scan(add, zero, (images, batch.labels))
    count = images.shape[0]
    return (optax.global_norm(total) ** 2 - count) / (count * (count - 1))

  return jnp.mean(over_classes(of_a_class)(batch))


def gradient_norms(
  built: Built, condensed: Artefact, epochs: Sequence[int]
) -> dict[str, np.ndarray]:
  """Gradient norms while networks learn from a run's condensed images.

  Kim et al. (2022), Figure 4: the networks train on the condensed images as
  those of the run did (DSA: augmented, plain SGD), and the gradient is that of
  a class's images, condensed or real, without augmentation. The paper says
  neither which images the gradient is of, nor how many networks; here it is the
  mean over classes, of eight networks.

  Args:
    built: of a run of DC or DSA.
    condensed: its condensed set.
    epochs: passes over the condensed images, rising.

  Returns:
    `'real'` and `'synthetic'` -> L1 norms `[8, len(epochs)]`.
  """
  section, stored = built.config.method, condensed.batch()
  synthetic = Batch(jnp.asarray(stored.images), jnp.asarray(stored.labels))
  source = real_batches(built.dataset.counts, section.batch_real)
  loop = inner.train_on_synthetic(
    built.network,
    optimizers.sgd(section.network_learning_rate, momentum=0.0),
    epochs=1,
    batch_size=section.network_batch_size,
    augment=augment_of(built, 'train'),
  )
  gaps = jnp.asarray(np.diff([0, *epochs]), jnp.int32)

  def curve(key, data):
    network_key, walk_key, draw_key, train_key = jax.random.split(key, 4)
    _, real = source.next(draw_key, source.init(walk_key), data)

    def norm(state, batch):
      return class_norm(built.network, state.variables, batch, built.normalise)

    def train(_, state):
      key = jax.random.fold_in(train_key, state.train.step)
      return loop.update(key, state, data, synthetic)[0]

    def advance(state, gap):
      state = jax.lax.fori_loop(0, gap, train, state)
      sets = {'real': real, 'synthetic': synthetic}
      return state, {n: norm(state, batch) for n, batch in sets.items()}

    return jax.lax.scan(advance, loop.init(network_key, data), gaps)[1]

  return over_networks(curve, built.config.seed, _NETWORKS, data_of(built))


def class_gradients(built: Built) -> dict[str, np.ndarray]:
  """Gradients of images of one class, in networks pretrained as a run's are.

  Kim et al. (2022), Figure 5, right: a network trains on real data for the
  `method.early_epochs` of the run, augmented as there.

  Args:
    built: of a run of IDC.

  Returns:
    `'norm'` -> L1 norms `[E]` of the gradient of a batch, `'similarity'` ->
    mean cosines `[E]` of the gradients of two of 16 images; means over classes,
    for as many networks as the run evaluates.
  """
  section = built.config.method
  source = real_batches(built.dataset.counts, section.batch_real)
  loop = inner.train_on_real(
    built.network,
    optimizers.sgd(
      section.network_learning_rate,
      momentum=0.9,
      weight_decay=section.network_weight_decay,
    ),
    num_images=len(built.dataset.labels),
    num_classes=built.dataset.num_classes,
    batch_size=section.network_batch_size,
    early_batches=_given.early_batches(built),
    augment=augment_of(built, 'train'),
    mix=_given.train_mix(built),
  )

  def measure(key, data):
    start_key, network_key, walk_key, draw_key = jax.random.split(key, 4)
    state = loop.reset(network_key, loop.init(start_key, data), data)
    _, real = source.next(draw_key, source.init(walk_key), data)
    few = Batch(real.images[:, :_IMAGES], real.labels[:, :_IMAGES])
    common = built.network, state.variables
    return {
      'norm': class_norm(*common, real, built.normalise),
      'similarity': pairwise_similarity(*common, few, built.normalise),
    }

  seeds = built.config.evaluation.seeds
  return over_networks(measure, built.config.seed, seeds, data_of(built))
