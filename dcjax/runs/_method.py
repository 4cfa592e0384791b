"""From a config's method to its condenser: arguments are bound by name."""

import inspect

import jax
import jax.numpy as jnp

from dcjax import methods, specs
from dcjax.condensing import Condenser
from dcjax.runs._given import ABSENT, SUPPLIED, Given

# Fields of the method's section that a run reads, not the method.
RUN_FIELDS = (
  'name',
  'decay',
  'drawn',
  'early_epochs',
  'network',
  'passes',
  'pool_epochs',
  'pool_networks',
  'scale_learning_rate',
  'synthetic_batch',
  'unrolled_learning_rate',
  'unrolled_per_class',
  'unrolled_steps',
)
# Names of methods that are another one's function.
_SAME = {'datm': 'mtt', 'dsa': 'dc', 'ftd': 'mtt', 'tesla': 'mtt'}
# Numbers of a config that are None for the method where they are 0.
_NONE_IF_ZERO = (
  'average_rate',
  'grow_from',
  'label_learning_rate',
  'reject_above',
)


def condenser(given: Given) -> Condenser:
  """Makes the condenser of a config's method.

  Every parameter of the method is bound by its name: to a field of the config's
  section `method`, or to what the run has of that name.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  config = given.built.config
  name = config.method.name
  factory = getattr(methods, _SAME.get(name, name))
  said = {n: v for n, v in config.method.items() if n not in RUN_FIELDS}
  try:
    _check_layer_weights(given.built)
    return factory(**_arguments(factory, given, said))
  except ValueError as error:
    raise ValueError(_with_path(str(error), said)) from error


def _check_layer_weights(built):
  """Published weights serve all depths; one's own are one for each layer."""
  if built.settings.origins.get('method.layer_weights') != 'said':
    return
  weights = tuple(built.config.method.layer_weights)
  blank = jax.ShapeDtypeStruct((1, *built.dataset.image_shape), jnp.float32)

  def outputs(key, images):
    return built.network.apply(built.network.init(key), images, False)[0]

  blocks = len(jax.eval_shape(outputs, jax.random.key(0), blank).taps)
  if len(weights) > blocks + 1:
    raise ValueError(
      f'layer_weights {weights}: must be at most {blocks + 1}, as '
      f'{built.network.name} has {blocks} blocks and an embedding'
    )


def _with_path(text, said):
  """Names a field by its path where a message begins with its name."""
  first = text.partition(' ')[0]
  return f'method.{text}' if first in said else text


def _arguments(factory, given, said):
  said = {n: v or None if n in _NONE_IF_ZERO else v for n, v in said.items()}
  method = given.built.config.method.name
  known = specs.options_of(factory)
  for name in said:
    if name not in known:
      raise ValueError(f'method.{name}: method {method!r} takes none')
  replaced = set(inspect.signature(factory).parameters)
  if 'instead' in replaced:
    replaced |= set(methods.Instead._fields)
  for field, name in _WORDS.items():
    if given.built.config.get(field) and name not in replaced:
      raise ValueError(
        f'{field} {given.built.config[field]!r}: method {method!r} takes none'
      )
  found = {n: SUPPLIED[n](given) for n in known if n in SUPPLIED}
  found = {n: v for n, v in found.items() if v is not ABSENT}
  return specs.arguments(factory, said | found)


# Fields of a config that take the place of a part of the method.
_WORDS = {
  'inner': 'loop',
  'objective': 'objective',
  'optimizer': 'optimizer',
  'source': 'source',
}
