"""Options of condensation into a generative model, and its optimiser."""

from typing import NamedTuple

import optax

from dcjax import optimizers
from dcjax.utils import check_choice

OPTIMIZERS = ('sgd', 'adam')


class CodebookDraws(NamedTuple):
  """What a step makes of a codebook, and what it is compared with.

  Attributes:
    condition: what tells the classes apart: `'class'` and `'one_hot'` leave the
      stored embeddings as they are; `'online'` replaces them in every step by
      the mean features of the associations under the current network, each
      with mean 0 and variance 1 over the step's classes. The intra-class loss
      pulls to the embeddings if `'class'`, else to these means.
    codes: `'learned'`, or how `formations.draw_codes` draws new ones in every
      step; the stored codes then stay as they start.
    codes_per_step: codes of a step, at most; the intra-class loss needs 2.
    classes_per_step: classes of a step, at random; 0 for all.
    batch_real: real images of a class's association.
  """

  condition: str = 'class'
  codes: str = 'learned'
  codes_per_step: int = 10
  classes_per_step: int = 0
  batch_real: int = 256


class CodebookSteps(NamedTuple):
  """How codes, generator and projection are stepped; see `codebook_optimizer`.

  Attributes:
    codes_learning_rate: of the codes, at the start.
    generator_learning_rate: of generator and projection, at the start.
    momentum: of both, Adam's first beta.
    largest_gradient: norm to which the gradient of the codes, and that of
      generator and projection, is clipped; 0 for no limit.
    optimizer: one of `OPTIMIZERS`. The paper has `'sgd'`; `'adam'` gives every
      number a step of its rate's size, whatever a term's scale is.
  """

  codes_learning_rate: float = 0.01
  generator_learning_rate: float = 0.001
  momentum: float = 0.5
  largest_gradient: float = 1.0
  optimizer: str = 'sgd'


class DiscriminatorTraining(NamedTuple):
  """The discriminator; Adam with betas 0 and 0.9.

  Attributes:
    discriminator_learning_rate: of it.
    discriminator_widths: see `networks.feature_discriminator`.
  """

  discriminator_learning_rate: float = 1e-4
  discriminator_widths: tuple[int, ...] = (512, 256)


class FeatureTraining(NamedTuple):
  """How the feature network learns from real images.

  Attributes:
    network_batches: updates after every step.
    network_batch_size: real images of an update.
    network_learning_rate: of SGD.
    network_momentum: of SGD.
    early_batches: updates before a period's first step.
  """

  network_batches: int = 1
  network_batch_size: int = 256
  network_learning_rate: float = 0.01
  network_momentum: float = 0.9
  early_batches: int = 0


def codebook_optimizer(
  stepping: CodebookSteps, steps: int
) -> optax.GradientTransformation:
  """Steps a codebook's params: two rates that fall linearly, the rest fixed.

  The feature term, a sum over layers, has gradients of a size that depends on
  network and data; at the paper's rates they can drive the generator's `tanh`
  into saturation within a few steps, from which it never returns. So gradients
  are clipped, which the paper does not mention.

  Args:
    stepping: rates and the rest.
    steps: after which both rates are 0.

  Raises:
    ValueError: if `largest_gradient` is negative, or the optimiser unknown.
  """
  codes_rate, generator_rate, momentum, largest_gradient, optimizer = stepping
  check_choice('optimizer', optimizer, OPTIMIZERS)
  if not largest_gradient >= 0:
    raise ValueError(
      f'largest_gradient {largest_gradient}: must be at least 0; 0 is no limit'
    )

  def falling(rate):
    falling_rate = optax.linear_schedule(rate, 0.0, steps)
    if optimizer == 'adam':
      steps_of = optax.adam(falling_rate, b1=momentum)
    else:
      steps_of = optimizers.sgd(falling_rate, momentum=momentum)
    if not largest_gradient:
      return steps_of
    return optax.chain(optax.clip_by_global_norm(largest_gradient), steps_of)

  kinds = {
    'codes': falling(codes_rate),
    'generator': falling(generator_rate),
    'fixed': optax.set_to_zero(),
  }

  def labels(params):
    return {name: name if name in kinds else 'fixed' for name in params}

  return optax.multi_transform(kinds, labels)
