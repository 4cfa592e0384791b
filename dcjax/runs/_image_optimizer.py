"""What steps the stored numbers of a run, and by how much."""

from collections.abc import Callable
from typing import Any

import optax

from dcjax import methods, optimizers, specs
from dcjax.runs._build import Built, learning_rate

# Of a learned upsampler, by Adam: its gradients are sums over all pixels, and
# the image rate, by SGD, lets it diverge within ten steps.
_DECODER_RATE = 5e-4


def rate(built: Built) -> Any:
  """The image rate: fixed, halved as in CAFE, or falling by a cosine to 0."""
  section = built.config.method
  made, decay = learning_rate(built), section.get('decay', 'none')
  if decay == 'none':
    return made
  if section.get('sweep'):
    raise ValueError(
      f"decay {decay!r}: must be 'none' where sweep is true; the sweep has one "
      'rate'
    )
  if decay == 'halved':
    return methods.cafe_learning_rate(made, steps(built))
  return optax.cosine_decay_schedule(made, steps(built))


def steps(built: Built) -> int:
  """Steps of the stored numbers in the whole run."""
  return built.config.outer * built.config.method.inner_steps


def optimizer(built: Built) -> optax.GradientTransformation | None:
  """What steps the stored numbers; None for the method's own."""
  config = built.config
  word = config.get('optimizer', '')
  momentum = config.method.get('momentum', 0.5)
  learns = formation_name(built) == 'learnable' and 'momentum' in config.method
  if not word:
    # The sweep of IDC has one rate; a schedule steps all classes at once.
    scheduled = config.method.get('decay', 'none') != 'none'
    if not learns and not (config.method.name == 'idc' and scheduled):
      return None
    word = 'sgd'

  def sgd(decoder_learning_rate=_DECODER_RATE if learns else 0.0):
    made = optimizers.sgd(rate(built), momentum=momentum)
    if not decoder_learning_rate:
      return made
    decoder = optax.adam(decoder_learning_rate)
    return optimizers.by_name(rest=made, decoder=decoder)

  def codebook(
    generator_learning_rate=5e-4, optimizer='adam', largest_gradient=0.0
  ):
    options = methods.CodebookSteps(
      learning_rate(built),
      generator_learning_rate,
      momentum,
      largest_gradient,
      optimizer,
    )
    return methods.codebook_optimizer(options, steps(built))

  makers: dict[str, Callable[..., Any]] = {
    'adam': lambda b1=0.9, b2=0.999: optax.adam(rate(built), b1, b2),
    'codebook': codebook,
    'sgd': sgd,
  }
  return specs.call('optimizer', makers, specs.parse('optimizer', word))


def formation_name(built: Built) -> str:
  """What the formation is, or what lies in one of few bits."""
  spec = built.formation.spec
  return spec.get('inner', spec['name'])
