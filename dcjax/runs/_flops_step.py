"""Operations of an iteration of a method, from the passes that it makes.

A run says so before it begins, and cannot wait for its whole program to be
traced; that one is counted by `_flops`, and a test compares the two.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dcjax import formations, specs
from dcjax.base import Network
from dcjax.runs import _flops
from dcjax.runs._build import Built
from dcjax.utils import traced_for

# Counts do not depend on the machine: convolutions are plain ones, as there.
PLAIN = 'tpu'
# Methods and objectives that only look at real images, and differentiate a
# pass of synthetic ones once; others match gradients.
_BY_OUTPUTS = (
  'cafe',
  'convexified',
  'distribution',
  'dm',
  'feature',
  'frepo',
  'generative',
  'kernel_regression',
  'rcig',
  'ridge',
)
# Passes of a synthetic image in a step of gradient descent that is
# differentiated: the step, once more when it is recomputed, and its derivative.
_UNROLLED = 12
# Passes of an image in RCIG's linearised network, forward and back.
_LINEARISED = 5

_counted: dict[Any, float] = {}


def forward(network: Network, image_shape: Sequence[int]) -> float:
  """Operations of a pass forward of one image, with plain convolutions.

  Args:
    network: the network.
    image_shape: `(H, W, D)`.
  """
  key = (network.init, network.apply, tuple(image_shape))
  if key not in _counted:
    variables = jax.eval_shape(network.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    with traced_for(PLAIN):
      traced = jax.make_jaxpr(
        lambda v, x: network.apply(v, x, False)[0].logits
      )(variables, image)
    _counted[key] = _flops.count_flops(traced)
  return _counted[key]


def iteration(built: Built) -> float | None:
  """Operations of an outer iteration, or of a period, roughly.

  Returns:
    None where they are not those of one network.
  """
  section = built.config.method
  if 'iterations' in section or section.get('kernel'):
    return None
  classes = section.get('classes_per_step') or built.dataset.num_classes
  decoded = formations.decoded_count(built.formation, built.config.ipc)
  real = classes * section.get('batch_real', 0)
  passes = real * _real_passes(built)
  passes += _synthetic(built, classes, decoded)
  if 'network_batches' in section:
    passes += 3 * section.network_batches * section.network_batch_size
  elif 'patience' in section:  # one update, and its error on real images
    passes += 3 * section.network_batch_size + real
  elif 'network_images' in section:
    seen = classes * decoded * (2 if section.mirror else 1)
    seen = min(seen, section.network_images)
    passes += 3 * seen * drawn_turns(section)
  elif 'epochs' in section:
    passes += 3 * section.epochs * _padded(section, classes * decoded)
  passes *= section.inner_steps
  if 'early_batches' in section:
    passes += 3 * section.early_batches * section.network_batch_size
    passes += 3 * section.get('early_epochs', 0) * built.real.counts.sum()
  one = forward(built.network, built.dataset.image_shape)
  return float(passes * one)


def _padded(section, images):
  """Images of an epoch: the last batch is as large as the others."""
  batch = min(section.network_batch_size, images)
  return -(-images // batch) * batch


def drawn_turns(section: Any) -> float:
  """Turns of a method's only loop whose length is drawn, on average."""
  if 'unrolled_steps' in section:
    before = section.unrolled_steps - section.window
    return before / 2 if section.position == 'random' else before
  return (1 + section.get('network_steps', 1)) / 2


def _real_passes(built):
  if 'training_steps' in built.config.method:
    return _LINEARISED
  return 1 if _by_outputs(built) else 3


def _by_outputs(built):
  word = built.config.get('objective') or built.config.method.name
  return specs.parse('objective', word)['name'] in _BY_OUTPUTS


def _synthetic(built, classes, decoded):
  """Passes of synthetic images in a step."""
  section = built.config.method
  if 'unrolled_steps' in section:
    steps = 3 * drawn_turns(section) + _UNROLLED * section.window
    return classes * (section.unrolled_per_class or decoded) * steps
  if 'synthetic_batch' in section:
    each = section.synthetic_batch or classes * decoded
    return _UNROLLED * section.steps * each
  if 'passes' in section:
    return _UNROLLED * section.passes * classes * decoded
  compared = min(decoded, section.get('most_synthetic', decoded))
  compared = min(compared, section.get('codes_per_step', compared))
  images = classes * compared * (2 if section.get('mirror') else 1)
  if 'training_steps' in section:
    steps = section.training_steps + section.solving_steps + 3
    return _LINEARISED * steps * images
  return images * (3 if _by_outputs(built) else 9)
