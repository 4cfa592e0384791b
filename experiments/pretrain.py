"""Trains a pool of networks on real data, for `--config.inner.pool`.

  python experiments/pretrain.py
    --config=experiments/configs/idc.py:cifar10 --networks=10 --steps=4000
    --config.data.dir=DATA --pool=runs/pool.npz

IDC draws its networks from such a pool where training them anew would take too
long (ImageNet-100: ten networks, trained for five to ten epochs).
"""

import os
import pathlib
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from dcjax import artefact, inner, optimizers
from dcjax.base import Network, Variables


def train(parts, networks: int, steps: int, key: jax.Array) -> Variables:
  """Trains networks on the real set with IDC's augmentation and CutMix.

  Args:
    parts: a `builder.Run`.
    networks: `E`.
    steps: updates of each network.
    key: network `i` uses `fold_in(key, i)`.

  Returns:
    `Variables` with leaves `[E, ...]`.
  """
  import builder
  import recipes

  config, counts = parts.config, parts.dataset.counts
  loop = inner.train_on_real(
    parts.network,
    optimizers.sgd(
      config.inner.learning_rate,
      momentum=0.9,
      weight_decay=config.inner.weight_decay,
    ),
    num_images=int(counts.sum()),
    num_classes=len(counts),
    batch_size=config.inner.batch_size,
    num_batches=steps,
    augment=builder.treatment(parts, 'train', 'sample'),
    mix=recipes.cutmix(parts.strategies['train_cutmix_probability']),
  )

  @jax.jit
  def run(keys, data):
    def one(key):
      state, _ = loop.update(key, loop.init(key, data), data, None)
      return state.variables

    return jax.lax.map(one, keys)

  keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(networks))
  return run(keys, parts.inner_data._replace(pool=None))


def save(path: str | os.PathLike[str], pool: Variables) -> None:
  """Writes a pool whole or not at all.

  Raises:
    OSError: if it cannot be written.
  """
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  names, leaves = _flatten(pool)
  arrays = dict(zip(names, map(np.asarray, leaves), strict=True))
  with artefact.replacing(path) as stream:
    np.savez(stream, **arrays)


def load(path: str | os.PathLike[str], network: Network) -> Variables:
  """Reads a pool and checks that its networks fit.

  Args:
    path: a file that `save` wrote.
    network: the network that will use it.

  Returns:
    `Variables` with leaves `[E, ...]`.

  Raises:
    ValueError: if the file is missing (names the command that makes it),
      damaged, or of another network.
  """
  if not pathlib.Path(path).is_file():
    raise ValueError(
      f'inner.pool {path}: no such file; make it with python '
      f'experiments/pretrain.py --config=... --pool={path}'
    )
  like = jax.eval_shape(network.init, jax.random.key(0))
  names, shapes = _flatten(like)
  try:
    with np.load(path, allow_pickle=False) as file:
      stored = {name: file[name] for name in file.files}
  except (ValueError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(f'inner.pool {path}: is damaged ({error})') from error
  found = {name: array.shape[1:] for name, array in stored.items()}
  wanted = dict(zip(names, (s.shape for s in shapes), strict=True))
  if found != wanted:
    wrong = sorted(
      name
      for name in found.keys() | wanted.keys()
      if found.get(name) != wanted.get(name)
    )
    raise ValueError(
      f'inner.pool {path}: is of another network: {wrong[0]} has shape '
      f'{found.get(wrong[0])}, {network.name} wants {wanted.get(wrong[0])}'
    )
  leaves = [jnp.asarray(stored[name]) for name in names]
  return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _flatten(variables):
  pairs, _ = jax.tree_util.tree_flatten_with_path(variables)
  names = [
    jax.tree_util.keystr(p, simple=True, separator='/') for p, _ in pairs
  ]
  return names, [leaf for _, leaf in pairs]


def main(argv):
  """Trains and stores the pool that the flags describe."""
  del argv
  import builder

  values = flags.FLAGS
  try:
    parts = builder.build(values.config)
    key = jax.random.fold_in(jax.random.key(values.config.seed), 77)
    print(f'training {values.networks} x {parts.network.name}', flush=True)
    save(values.pool, train(parts, values.networks, values.steps, key))
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')
  print(f'pool: {values.pool}; use it with --config.inner.pool={values.pool}')


if __name__ == '__main__':
  config_flags.DEFINE_config_file('config', None, 'As for run.py.')
  flags.DEFINE_string('pool', None, 'File to write.')
  flags.DEFINE_integer('networks', 10, 'Networks to train.', lower_bound=1)
  flags.DEFINE_integer('steps', 4000, 'Updates of each.', lower_bound=1)
  flags.mark_flags_as_required(['config', 'pool'])
  app.run(main)
