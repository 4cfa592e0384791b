"""Trains a pool of networks on real data, for `--config.inner.pool`.

  python experiments/pretrain.py
    --config=experiments/configs/idc.py:imagenet100 --config.data.dir=DATA

IDC draws its networks from such a pool where training them anew would take too
long (ImageNet-100: ten networks, trained for five epochs). The pool is written
to where the config looks for it, or to `--pool`. The same command goes on with
an interrupted training after the last epoch, or window of a streamed set, that
was finished.
"""

import hashlib
import importlib
import json
import os
import pathlib
import shlex
import shutil
import sys
import zipfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from dcjax import artefact, inner, optimizers
from dcjax.base import Network, Variables

# What decides the networks of a pool, beside data set, network, ipc and factor.
_FIELDS = (
  'seed',
  'data.dir',
  'data.zca',
  'inner.batch_size',
  'inner.learning_rate',
  'inner.weight_decay',
  'augment.family',
  'augment.train',
  'augment.cutmix',
)


def train(
  parts,
  networks: int,
  epochs: int,
  key: jax.Array,
  folder: str | os.PathLike[str] | None = None,
) -> Variables:
  """Trains networks on the real set with IDC's augmentation and CutMix.

  Args:
    parts: a `builder.Run`.
    networks: `E`.
    epochs: of each network; where a window of the set is in memory, as many
      windows as show every image that often.
    key: network `i` uses `fold_in(key, i)`.
    folder: keeps the state after every epoch or window; a training that finds
      one there goes on with it, bit for bit. None keeps nothing.

  Returns:
    `Variables` with leaves `[E, ...]`.

  Raises:
    ValueError: `folder` holds the state of a training with other settings.
  """
  import builder
  from rounds import train_rounds

  stream = parts.dataset.stream
  keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(networks))
  return train_rounds(
    _loop(parts),
    keys,
    epochs * (1 if stream is None else stream.windows_per_pass),
    lambda number: builder.data_at(parts, number)._replace(pool=None),
    settings=_digest(parts.config, networks),
    folder=folder,
    title='training the pool',
  )


def _loop(parts):
  """One round: a pass over the real set, with IDC's augmentation."""
  import builder
  import recipes

  config, counts = parts.config, parts.dataset.counts
  size = config.inner.batch_size
  return inner.train_on_real(
    parts.network,
    optimizers.sgd(
      config.inner.learning_rate,
      momentum=0.9,
      weight_decay=config.inner.weight_decay,
    ),
    num_images=int(counts.sum()),
    num_classes=len(counts),
    batch_size=size,
    num_batches=max(1, int(counts.sum()) // size),
    augment=builder.treatment(parts, 'train', 'sample'),
    mix=recipes.cutmix(parts.strategies['train_cutmix_probability']),
  )


def _digest(config, networks):
  """Tells the settings of one pool from those of another."""
  flat = _flat(config)
  chosen = {
    field: value
    for field, value in flat.items()
    if (field in _FIELDS and field != 'data.dir')
    or field.startswith(('data.name', 'data.options.', 'network.'))
  }
  text = json.dumps([networks, sorted(chosen.items())], default=str)
  return hashlib.sha256(text.encode()).hexdigest()


def _flat(config):
  """The settings that have a value, by dotted field."""
  found = {}
  for name, value in config.items():
    if isinstance(value, ConfigDict):
      found |= {f'{name}.{n}': v for n, v in _flat(value).items()}
    elif value is not None:
      found[name] = value
  return found


def command(config: ConfigDict) -> str:
  """Returns the command that trains the pool that a config asks for.

  Args:
    config: of `run.py`; `inner.pool` names the file.
  """
  arguments = [config.data.name, f'ipc={config.ipc}']
  if 'factor' in config.formation:
    arguments.append(f'factor={config.formation.factor}')
  recipe = importlib.import_module(f'configs.{config.method}')
  base = recipe.get_config(','.join(arguments))
  if base.network.to_dict() != config.network.to_dict():
    options = _flat(config.network)
    name = options.pop('name')
    words = [name, *(f'{n}={value}' for n, value in options.items())]
    arguments.append('network=' + ':'.join(words))
  file = f'experiments/configs/{config.method}.py:{",".join(arguments)}'
  usual, wanted = _flat(base), _flat(config)
  changes = [
    f'--config.{field}={value}'
    for field, value in wanted.items()
    if (field in _FIELDS or field.startswith('data.options.'))
    and usual.get(field) != value
  ]
  words = ['python', 'experiments/pretrain.py', f'--config={file}', *changes]
  return shlex.join([*words, f'--pool={config.inner.pool}'])


def require(config: ConfigDict) -> None:
  """Raises an error unless the pool that a config asks for is there.

  To be called before the data are loaded, which may take minutes.

  Raises:
    ValueError: it is not there; names the command that makes it.
  """
  path = config.inner.get('pool', '')
  if path and not pathlib.Path(path).is_file():
    raise ValueError(
      f'inner.pool {path}: no such file; make it with {command(config)}'
    )


def save(path: str | os.PathLike[str], pool: Variables) -> None:
  """Writes a pool whole or not at all.

  Raises:
    OSError: if it cannot be written.
  """
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  names, leaves = named_leaves(pool)
  arrays = dict(zip(names, map(np.asarray, leaves), strict=True))
  with artefact.replacing(path) as stream:
    np.savez(stream, **arrays)


def load(
  path: str | os.PathLike[str], network: Network, field: str = 'inner.pool'
) -> Variables:
  """Reads a pool and checks that its networks fit; see also `require`.

  Args:
    path: a file that `save` wrote.
    network: the network that will use it.
    field: what names the file, for messages.

  Returns:
    `Variables` with leaves `[E, ...]`.

  Raises:
    ValueError: if the file is missing, damaged, or of another network.
  """
  if not pathlib.Path(path).is_file():
    raise ValueError(
      f'inner.pool {path}: no such file; make it with python '
      f'experiments/pretrain.py --config=... --pool={path}'
    )
  like = jax.eval_shape(network.init, jax.random.key(0))
  names, shapes = named_leaves(like)
  try:
    with np.load(path, allow_pickle=False) as file:
      stored = {name: file[name] for name in file.files}
  except (ValueError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(f'{field} {path}: is damaged ({error})') from error
  found = {name: array.shape[1:] for name, array in stored.items()}
  wanted = dict(zip(names, (s.shape for s in shapes), strict=True))
  if found != wanted:
    wrong = sorted(
      name
      for name in found.keys() | wanted.keys()
      if found.get(name) != wanted.get(name)
    )
    raise ValueError(
      f'{field} {path}: is of another network: {wrong[0]} has shape '
      f'{found.get(wrong[0])}, {network.name} wants {wanted.get(wrong[0])}'
    )
  leaves = [jnp.asarray(stored[name]) for name in names]
  return jax.tree.unflatten(jax.tree.structure(like), leaves)


def named_leaves(variables: Any) -> tuple[list[str], list[Any]]:
  """Returns the paths of a pytree's leaves, such as `params/head/bias`."""
  pairs, _ = jax.tree_util.tree_flatten_with_path(variables)
  names = [
    jax.tree_util.keystr(p, simple=True, separator='/') for p, _ in pairs
  ]
  return names, [leaf for _, leaf in pairs]


def make(
  config: ConfigDict, networks: int, epochs: int, pool: str = ''
) -> pathlib.Path:
  """Trains the pool that a config asks for, or goes on with it.

  Args:
    config: of `run.py`.
    networks: how many.
    epochs: of each.
    pool: the file; by default where the config looks for it.

  Returns:
    The file; one that is there already is left as it is.

  Raises:
    ValueError: no file is named; or as `builder.build`.
    FileNotFoundError: as `builder.build`.
  """
  import builder

  if not pool and not config.inner.get('pool', ''):
    raise ValueError('--pool: must name a file, as the config asks for no pool')
  path = pathlib.Path(pool or config.inner.pool)
  if path.is_file():
    print(f'finished already: {path}')
    return path
  config = config.copy_and_resolve_references()
  config.inner.pool = ''
  parts = builder.build(config)
  key = jax.random.fold_in(jax.random.key(config.seed), 77)
  print(f'training {networks} x {parts.network.name}', flush=True)
  unfinished = path.with_name(f'{path.name}.unfinished')
  save(path, train(parts, networks, epochs, key, unfinished))
  shutil.rmtree(unfinished)
  if parts.dataset.stream is not None:
    parts.dataset.stream.close()
  return path


def main(argv):
  """Trains and stores the pool that the flags describe."""
  del argv
  from experiment import use_compilation_cache

  values = flags.FLAGS
  use_compilation_cache()
  try:
    path = make(values.config, values.networks, values.epochs, values.pool)
  except (ImportError, ValueError, OSError) as error:
    sys.exit(f'error: {error}')
  except KeyboardInterrupt:
    sys.exit('stopped; the same command goes on from the last epoch')
  print(f'pool: {path}; use it with --config.inner.pool={path}')


if __name__ == '__main__':
  config_flags.DEFINE_config_file('config', None, 'As for run.py.')
  flags.DEFINE_string('pool', '', "File to write; the config's by default.")
  flags.DEFINE_integer('networks', 10, 'Networks to train.', lower_bound=1)
  flags.DEFINE_integer('epochs', 5, 'Epochs of each.', lower_bound=1)
  flags.mark_flags_as_required(['config'])
  app.run(main)
