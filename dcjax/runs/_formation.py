"""From words to the formation of a run."""

from typing import Any

from dcjax import formations, methods, specs
from dcjax.base import Formation, Network
from dcjax.data import Dataset
from dcjax.utils import check_choice


def build_formation(
  config: Any, dataset: Dataset, network: Network
) -> Formation:
  """Makes the formation; labels that are learned are stored in it, too."""
  # A file of IDC's code tells no factor: the config does.
  usual = 'uniform' if config.get('pipeline') == 'given' else 'identity'
  spec = specs.parse('formation', config.get('formation', usual))
  name = spec['name']
  # What a quantised set takes beside bits and scales, its inner one decides.
  cut = spec.get('inner', 'identity') if name == 'quantised' else name
  check_choice('formation inner', cut, formations.FORMATIONS)
  condition = spec.pop('condition', 'class')
  condition = config.get('method', {}).get('condition', condition)
  defaults: dict[str, Any] = {}
  if config.get('clip', True) or name == 'codebook':
    defaults['value_range'] = dataset.value_range
  else:
    defaults['value_range'] = (None, None)
  if name == 'codebook':
    defaults |= dict(
      num_classes=dataset.num_classes, image_shape=tuple(dataset.image_shape)
    )
    if condition != 'one_hot':
      features = methods.feature_sizes(network, dataset.image_shape)[0]
      defaults['embedding_dim'] = features
  elif cut == 'basis':
    defaults['image_shape'] = tuple(dataset.image_shape)
  elif dataset.zca is not None:  # the middle of whitened images
    defaults['padding'] = 0.0
  if 'factor' in specs.options_of(formations.FORMATIONS[cut]):
    defaults['factor'] = config.factor
  elif config.factor != 1:
    raise ValueError(
      f'factor {config.factor}: a {cut} takes none; say factor=1'
    )
  if cut == 'uniform' and {**defaults, **spec}['factor'] == 1:
    cut = 'identity'
    defaults.pop('factor')
    spec.pop('factor', None)
  chosen = (
    {'name': name, 'inner': cut} if name == 'quantised' else {'name': cut}
  )
  formation = formations.build({**defaults, **spec, **chosen})
  return _with_learned(config, formation)


def _with_learned(config, formation):
  """Stores labels and a step size beside the images, where they are learned."""
  if config.get('stored_labels'):
    spec = specs.parse('stored_labels', config.stored_labels)
    known = {'form': 'probabilities', 'scale': 1.0}
    specs.check('stored_labels', spec, known)
    form, scale = ({**known, **spec}[name] for name in known)
    formation = formations.with_labels(
      formation, spec['name'], form, scale=scale
    )
  if config.get('step_size'):
    spec = specs.parse('step_size', config.step_size)
    known = {'start': 0.01}
    specs.check('step_size', spec, known)
    start = {**known, **spec}['start']
    if 'passes' in config.method:  # one for each step of the training
      start = [start] * (config.ipc * config.method.passes)
    formation = formations.with_step_size(formation, start, spec['name'])
  return formation
