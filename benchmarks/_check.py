"""Whether both sides compute the same: one network, one set of images."""

import _torch_network
import jax
import jax.numpy as jnp
import numpy as np
import torch
from _child import Prepared
from _dcjax_step import formation_of, normalise
from _problem import Problem, drawn, problem_from, real_images, stored_images
from _torch_network import gradient_distance
from _torch_step import FORMS, Held, set_up

from dcjax import match, networks, objectives
from dcjax.base import Batch

_DISTANCES = {'idc': ('squared', 'conv'), 'dc': ('cosine', 'weights')}


def losses(problem: dict) -> Prepared:
  """Computes the matching loss and its image gradient on both sides.

  No augmentation; the first real images of each class; all decoded images.

  Args:
    problem: see `Problem`.

  Returns:
    Facts `dcjax` and `torch` (losses summed over classes), `difference`
    (relative) and `gradient_difference` (norm of the difference in the stored
    images, relative to the gradient's: a ReLU that float32 rounding flips
    changes single entries much, the whole gradient little).
  """
  set_up(threads=0)
  sizes = problem_from(problem)
  held = Held(sizes, 'cpu', FORMS[0], 'float32', drawn(sizes))
  network = held.network()
  theirs, their_gradient = _by_torch(held, network)
  ours, our_gradient = _by_dcjax(sizes, network)
  scale = np.linalg.norm(their_gradient)
  facts = {
    'dcjax': ours,
    'torch': theirs,
    'difference': abs(ours - theirs) / abs(theirs),
    'gradient_difference': float(
      np.linalg.norm(our_gradient - their_gradient) / scale
    ),
  }
  return Prepared(lambda: ours, facts)


def _by_torch(held, network):
  total = torch.zeros(())
  for label in range(held.sizes.classes):
    first = held.places[label][: held.sizes.batch_real]
    decoded = _torch_network.decode(held.images[label], held.sizes.factor)
    total = total + _torch_loss(
      held.sizes, network, held.batch(first), held.normalised(decoded), label
    )
  (gradient,) = torch.autograd.grad(total, held.images)
  return total.item(), gradient.permute(0, 1, 3, 4, 2).numpy()


def _torch_loss(sizes, network, real, synthetic, label):
  if sizes.method == 'dm':
    means = [network.embed(side).mean(0) for side in (real, synthetic)]
    return (means[0].detach() - means[1]).square().sum()
  distance = getattr(_torch_network, _DISTANCES[sizes.method][0])
  return gradient_distance(network, real, synthetic, label, distance)


def _by_dcjax(sizes: Problem, torch_network):
  network = networks.convnet(
    sizes.image_shape, sizes.classes, depth=sizes.depth, width=sizes.width
  )
  stored = {k: v.numpy() for k, v in torch_network.state_dict().items()}
  variables = networks.from_torch_state(network, stored, lambda name: name)
  objective = _objective(sizes.method)
  formation, real = formation_of(sizes), _real_batch(sizes)

  def loss(images):
    synthetic = formation.decode({'images': images})
    return match(
      network,
      variables,
      real,
      synthetic,
      jax.random.key(0),
      objective=objective,
      augment=normalise(sizes),
    )[0]

  value, gradient = jax.jit(jax.value_and_grad(loss))(
    jnp.asarray(stored_images(sizes))
  )
  return float(value), np.asarray(gradient)


def _objective(method):
  if method == 'dm':
    return objectives.distribution_matching()
  distance, tensors = _DISTANCES[method]
  return objectives.gradient_matching(distance, tensors=tensors)


def _real_batch(sizes):
  images, labels = real_images(sizes)
  shape = (sizes.classes, -1, *sizes.image_shape)
  images = images.reshape(shape)[:, : sizes.batch_real] / np.float32(255)
  labels = labels.reshape(sizes.classes, -1)[:, : sizes.batch_real]
  return Batch(jnp.asarray(images), jax.nn.one_hot(labels, sizes.classes))
