"""Matching of network gradients: IDC, DC and DSA."""

import jax
import jax.numpy as jnp
from jax import lax

from dcjax.base import (
  Array,
  Batch,
  Key,
  Metrics,
  Network,
  Objective,
  Params,
  Variables,
)
from dcjax.losses import cross_entropy, loss_and_gradient
from dcjax.objectives._distances import PER_TENSOR, WHOLE_VECTOR
from dcjax.utils import check_choice

# Which tensors are compared, by their number of axes: convolution kernels have
# four, LayerNorm's affine three, the classifier two, biases and scales one.
TENSORS: dict[str, tuple[int, ...]] = {
  'conv': (4,),
  'conv+bias': (4, 1),
  'conv+classifier': (4, 2),
  'weights': (4, 3, 2),
  'all': (4, 3, 2, 1),
}


def network_gradient(
  network: Network, variables: Variables, batch: Batch, *, train: bool = True
) -> Params:
  """Gradient of the mean cross-entropy with respect to the parameters.

  Made to be differentiated again, unlike `losses.loss_and_gradient`: the batch
  is taken whole.

  Args:
    network: applied with `train`.
    variables: its numbers.
    batch: images `[N, H, W, D]` (normalised), labels `[N, K]`.
    train: False freezes running statistics (BatchNorm networks in DC).

  Returns:
    A tree like `variables.params`.
  """

  def loss(params):
    outputs, _ = network.apply(
      Variables(params, variables.state), batch.images, train
    )
    return cross_entropy(outputs.logits, batch)

  return jax.grad(loss)(variables.params)


def gradient_distance(
  real: Params, synthetic: Params, *, distance: str, tensors: str
) -> Array:
  """Distance of two gradients of one network.

  Args:
    real: tree of gradients.
    synthetic: tree of the same structure.
    distance: `'squared'`, `'l1'`, `'l1_mean'` or `'cosine'` (summed over
      tensors), `'whole_squared'` or `'whole_cosine'` (one vector of all).
    tensors: `'conv'` (IDC), `'conv+bias'` (with biases and scales),
      `'conv+classifier'`, `'weights'` (DC: everything but biases and scales)
      or `'all'`.

  Returns:
    `[]`, a plain sum: nothing divides it.
  """
  axes = TENSORS[tensors]
  pairs = [
    (_at_least_float32(r), _at_least_float32(s))
    for r, s in zip(
      jax.tree.leaves(real), jax.tree.leaves(synthetic), strict=True
    )
    if r.ndim in axes
  ]
  if not pairs:
    raise ValueError(f'tensors {tensors!r}: the network has no such tensor')
  if distance in WHOLE_VECTOR:
    return WHOLE_VECTOR[distance](*zip(*pairs, strict=True))
  return sum(
    (PER_TENSOR[distance](r, s) for r, s in pairs), start=jnp.zeros(())
  )


def _at_least_float32(array):
  return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def gradient_matching(
  distance: str = 'squared',
  *,
  tensors: str = 'conv',
  train: bool = True,
  constant_target: bool = True,
) -> Objective:
  """Makes the network learn the same from synthetic as from real images.

  `sum_c D(grad L(real_c), grad L(synthetic_c))`: Zhao et al. (2021), equation
  9, and Kim et al. (2022), equation 5.

  Args:
    distance: see `gradient_distance`. IDC uses `'squared'` and `'l1'`, DC
      `'cosine'`.
    tensors: see `gradient_distance`. IDC uses `'conv'`, DC `'weights'`.
    train: whether BatchNorm uses batch statistics; DC freezes them (False).
    constant_target: whether the real gradient is a constant, as the images
      need it; False for derivatives in real images, their labels and the
      network's variables.

  Raises:
    ValueError: if a name is unknown; lists the known ones.

  Example:
    >>> objective = gradient_matching('l1')
    >>> loss, metrics = dcjax.match(
    ...   network, variables, real, synthetic, key, objective=objective)
  """
  check_choice('distance', distance, [*PER_TENSOR, *WHOLE_VECTOR])
  check_choice('tensors', tensors, TENSORS)

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    del key
    real = loss_and_gradient(network, variables, target, train=train)[-1]
    if constant_target:
      real = lax.stop_gradient(real)
    fake = network_gradient(network, variables, synthetic, train=train)
    value = gradient_distance(real, fake, distance=distance, tensors=tensors)
    return value, {'loss': value}

  return Objective(loss)
