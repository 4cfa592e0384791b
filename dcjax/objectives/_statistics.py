"""Matching of layer statistics: SRe2L, CDA, G-VBSM and EDC."""

from collections import OrderedDict
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dcjax.base import (
  Array,
  Augment,
  Batch,
  Key,
  Metrics,
  Network,
  Objective,
  Variables,
  mixed,
)
from dcjax.networks import observe
from dcjax.objectives._gradient import cross_entropy
from dcjax.objectives._regularisation import densification, flatness
from dcjax.objectives._statistics_terms import (
  StatisticsTerms,
  check_statistics_terms,
)
from dcjax.statistics import (
  LayerStatistics,
  Moments,
  Statistics,
  Targets,
  image_statistics,
  map_moments,
  pool,
)


class RunningStatistics(NamedTuple):
  """Averages of what a layer saw of synthetic images in earlier steps.

  Attributes:
    average: leaves `[F]`; starts at zero.
    visits: layer -> `[]`, steps averaged.
  """

  average: Statistics
  visits: OrderedDict[str, Array]


class StatisticsTarget(NamedTuple):
  """What synthetic images are compared with.

  Attributes:
    real: statistics of the real images; they say which layers are matched.
    running: of the synthetic images before, or None for this batch alone.
    averaged: `[C, N, H, W, D]`, the average of the synthetic images over the
      steps, not augmented; only flatness needs it.
  """

  real: Targets
  running: RunningStatistics | None = None
  averaged: Array | None = None


def statistics_matching(
  terms: StatisticsTerms | None = None, *, augment: Augment | None = None
) -> Objective:
  """Makes layers see the same statistics, and the network the right classes.

    `CE(f(X), y) + weight sum_l w_l R_l + flatness KL + densification D`

  with, in the notation of EDC (Shao et al., NeurIPS 2024, section 3.2),

    `R_l = alpha d(real, X) + (1 - alpha) d(real of the classes in X, X)`

  and `d` the sum of the Euclidean distances of means and of variances, not
  squared: of channels at BatchNorm, of channels and patches at convolutions.
  The second target is the mean of the classes' statistics, weighted by how
  often each class is in the batch. The layers are those of the target: only
  BatchNorm is SRe2L (Yin et al., NeurIPS 2023), all of them G-VBSM (Shao et
  al., CVPR 2024). The network is applied in eval mode.

  Args:
    terms: weights and options; None for the defaults of `StatisticsTerms`.
    augment: normalisation and augmentation of the synthetic images, and of
      `averaged` with the same draw. Without `averaged`, `match`'s own argument
      does the same.

  Returns:
    A joint objective for a `StatisticsTarget`; its metrics are `loss` and the
    weighted parts `cross_entropy`, `statistics`, `flatness`, `densification`.
    `statistics_loss` returns the next running statistics as well, and
    `statistics_over_steps` remembers them.

  Raises:
    ValueError: if an option is out of range; when called, if the
      target lacks what a term needs or belongs to other layers.

  Example:
    >>> target = StatisticsTarget(targets)  # of `statistics.collect`
    >>> loss, metrics = dcjax.match(
    ...   network, variables, target, synthetic, key,
    ...   objective=statistics_matching(StatisticsTerms(alpha=1.0)),
    ...   augment=normalise)
  """
  checked = terms or StatisticsTerms()
  check_statistics_terms(checked)

  def loss(
    network: Network,
    variables: Variables,
    target: StatisticsTarget,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    value, (metrics, _) = statistics_loss(
      network, variables, target, synthetic, key, checked, augment
    )
    return value, metrics

  return Objective(loss, joint=True)


def start_running(targets: Targets) -> RunningStatistics:
  """Returns running statistics of no step yet, for the layers of targets."""
  return RunningStatistics(
    jax.tree.map(jnp.zeros_like, targets.whole),
    OrderedDict((name, jnp.zeros(())) for name in targets.whole),
  )


def statistics_loss(
  network: Network,
  variables: Variables,
  target: StatisticsTarget,
  synthetic: Batch,
  key: Key,
  terms: StatisticsTerms,
  augment: Augment | None = None,
) -> tuple[Array, tuple[Metrics, RunningStatistics | None]]:
  """The loss of `statistics_matching`, with its state.

  Args:
    network: the observer.
    variables: of the network.
    target: see `StatisticsTarget`.
    synthetic: images `[C, N, H, W, D]`, labels `[C, N, K]`.
    key: decides augmentation and dropped layers.
    terms: see `StatisticsTerms`.
    augment: see `statistics_matching`.

  Returns:
    Loss `[]`, and metrics and the next running statistics.

  Raises:
    ValueError: see `statistics_matching`.
  """
  draw, drop = jax.random.split(key)
  batch = mixed(synthetic)
  if terms.constant_target:
    target = lax.stop_gradient(target)

  def seen(images):
    return images if augment is None else augment(draw, images)

  images = seen(batch.images)
  observed = observe(network, variables, images)
  measured = _measure(observed.inputs, target.real, terms)
  compared, running = _with_running(measured, target, terms, drop)
  parts = {
    'cross_entropy': cross_entropy(observed.outputs.logits, batch),
    'statistics': terms.weight
    * _distance(compared, target.real, batch.labels, terms, drop),
    'flatness': jnp.zeros(()),
    'densification': jnp.zeros(()),
  }
  if terms.flatness:
    averaged = seen(_averaged(target, batch))
    calm, _ = network.apply(variables, averaged, False)
    parts['flatness'] = terms.flatness * flatness(
      observed.outputs.logits,
      calm.logits,
      terms.temperature,
      terms.flatness_reduction,
      constant=terms.constant_target,
    )
  if terms.densification:
    parts['densification'] = terms.densification * densification(
      images.reshape(*synthetic.images.shape[:2], *images.shape[1:])
    )
  loss = sum(parts.values())
  return loss, ({'loss': loss, **parts}, running)


def _averaged(target, batch):
  if target.averaged is None:
    raise ValueError('target has no averaged images: flatness needs them')
  return target.averaged.reshape(batch.images.shape)


def _measure(inputs, real, terms):
  """Statistics `[F]` of the batch at the layers of the target."""
  missing = [name for name in real.whole if name not in inputs]
  if missing:
    raise ValueError(
      f'target layer {missing[0]!r}: must be one of {tuple(inputs)}'
    )
  patched = {name for name, s in real.whole.items() if s.patch is not None}
  chosen = OrderedDict((name, inputs[name]) for name in real.whole)
  measured = pool(image_statistics(chosen, patched, terms.patch_size))
  for name, layer in measured.items():
    shapes = [leaf.shape for leaf in jax.tree.leaves(layer)]
    wanted = [leaf.shape for leaf in jax.tree.leaves(real.whole[name])]
    if shapes != wanted:
      raise ValueError(
        f'target layer {name!r}: its statistics have shapes {wanted}, those of '
        f'the images {shapes}; image and patch size must be the same'
      )
  return measured


def _kept(position, layer, key, terms):
  """1, or 0 for a convolution that this step leaves out."""
  if not terms.drop_rate or layer.patch is None:
    return jnp.ones(())
  drawn = jax.random.uniform(jax.random.fold_in(key, position))
  return (drawn >= terms.drop_rate).astype(jnp.float32)


def _with_running(measured, target, terms, key):
  """What is compared, and the next running statistics."""
  running, momentum = target.running, terms.momentum
  if running is None or not momentum:
    return measured, running
  compared, average, visits = OrderedDict(), OrderedDict(), OrderedDict()
  for position, (name, layer) in enumerate(measured.items()):
    keep = _kept(position, layer, key, terms)
    fixed = lax.stop_gradient(layer)
    visits[name] = running.visits[name] + keep
    average[name] = jax.tree.map(
      lambda old, new, keep=keep: old + keep * (1 - momentum) * (new - old),
      running.average[name],
      fixed,
    )
    scale = 1 - momentum ** jnp.maximum(visits[name], 1) if terms.debias else 1
    compared[name] = jax.tree.map(
      lambda mean, new, now, scale=scale: mean / scale + (new - now),
      average[name],
      layer,
      fixed,
    )
  return compared, RunningStatistics(average, visits)


def _distance(compared, real, labels, terms, key):
  """`sum_l w_l R_l`."""
  shares = {'whole': (terms.alpha, real.whole)}
  if terms.alpha < 1:
    if real.classes is None:
      raise ValueError(
        f'target has no statistics of classes: alpha {terms.alpha} needs them'
      )
    of_batch = _of_labels(real.classes, labels, terms.between_classes)
    shares['classes'] = (1 - terms.alpha, of_batch)
  total = jnp.zeros(())
  for position, (name, layer) in enumerate(compared.items()):
    weight = 1.0 if position else terms.first_layer
    weight *= _kept(position, layer, key, terms)
    for share, wanted in shares.values():
      if share:
        total += weight * share * layer_distance(layer, wanted[name])
  return total


def layer_distance(a: LayerStatistics, b: LayerStatistics) -> Array:
  """Sum of the Euclidean distances of all statistics of a layer.

  Args:
    a: leaves `[F]`.
    b: the same.

  Returns:
    `[]`; its gradient where both agree is 0.
  """
  distances = jax.tree.map(lambda x, y: optax.safe_norm(x - y, 0.0), a, b)
  return sum(jax.tree.leaves(distances))


def _of_labels(classes, labels, between):
  """Class statistics weighted by the shares of the classes in the batch."""
  shares = jnp.mean(labels, axis=0)

  def average(values):
    return jnp.einsum('c,cf->f', shares, values, precision='highest')

  def of_batch(moments):
    mean = average(moments.mean)
    variance = average(moments.variance)
    if between:
      variance += average(jnp.square(moments.mean - mean))
    return Moments(mean, variance)

  return map_moments(of_batch, classes)
