"""What the configs of all methods share: arguments and data-set settings."""

import ml_collections

from dcjax import data

# The reference's settings, by data set: Kim et al. (2022), section 5 and the
# published code where the two differ.
IDC_SETTINGS = {
  'digits': dict(distance='l1', learning_rate=0.05, network_batches=8),
  'mnist': dict(distance='l1', learning_rate=1e-4, network_batches=8),
  'fashion_mnist': dict(distance='l1', learning_rate=1e-4, network_batches=8),
  'svhn': dict(distance='squared', learning_rate=5e-3, network_batches=8),
  'cifar10': dict(distance='squared', learning_rate=5e-3, network_batches=32),
  'cifar100': dict(distance='squared', learning_rate=5e-3, network_batches=32),
  'speech': dict(distance='l1', learning_rate=3e-3, network_batches=8),
}


def parse_arg(arg: str | None, **defaults):
  """Reads `'cifar10,ipc=10,smoke'` into typed values.

  Args:
    arg: what follows the colon of `--config=file.py:...`; the first item
      without `=` is the data set, any further one is a switch.
    **defaults: name -> default; a value is read as the default's type.

  Returns:
    A dict with `dataset` and every default's name.

  Raises:
    ValueError: naming an unknown argument or an unreadable value.
  """
  values = dict(defaults)
  items = [item.strip() for item in (arg or '').split(',') if item.strip()]
  for position, item in enumerate(items):
    name, equals, text = item.partition('=')
    if not equals and position == 0 and name not in defaults:
      values['dataset'] = name
      continue
    if name not in defaults or name == 'dataset':
      known = ', '.join(n for n in defaults if n != 'dataset')
      raise ValueError(
        f'config argument {item!r}: must be DATASET or one of {known}'
      )
    values[name] = _read(name, text if equals else 'true', defaults[name])
  return values


def _read(name, text, default):
  if isinstance(default, bool):
    if text.lower() not in ('true', 'false'):
      raise ValueError(f'config argument {name}={text}: must be true or false')
    return text.lower() == 'true'
  try:
    return type(default)(text)
  except ValueError as error:
    kind = type(default).__name__
    raise ValueError(
      f'config argument {name}={text}: must be {kind}'
    ) from error


def check_dataset(name: str) -> None:
  """Raises a ValueError that lists the known sources unless `name` is one."""
  if name in data.list_sources() or name.startswith('tfds:'):
    return
  raise ValueError(
    f'data set {name!r}: must be one of {sorted(data.list_sources())}'
  )


def data_config(name: str) -> ml_collections.ConfigDict:
  """Returns the `data` section of a config."""
  options = dict(size=16) if name == 'digits' else {}
  return ml_collections.ConfigDict(
    dict(name=name, dir='', options=ml_collections.ConfigDict(options))
  )
