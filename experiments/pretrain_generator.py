"""Trains the generator that a codebook starts from, for all numbers of images.

  python experiments/pretrain_generator.py
    --config=experiments/configs/generative.py:fashion_mnist
    --config.data.dir=DATA

Trains a network on the real data for the class embeddings, then a conditional
GAN, and writes both to where the config looks for them
(`config.generator.pretrained`). The same command goes on with an interrupted
training. `schedule=short` in the config is the form for two cores. A folder of
images that is larger than memory goes window by window, see
`config.data.options.window`.
"""

import functools
import json
import pathlib
import shutil
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from dcjax import artefact, formations, methods
from dcjax.base import Formation, Params

_PIECES = 20  # checkpoints and lines of progress of a training
_FOLD = 80
_FIELDS = ('seed', 'data', 'network', 'formation', 'generator')


def make(config: ConfigDict) -> pathlib.Path:
  """Trains the generator that a config asks for, or goes on with it.

  Args:
    config: of `run.py`; `generator.pretrained` names the file.

  Returns:
    The file; one that is there already is left as it is.

  Raises:
    ValueError: no file is named, the folder of an unfinished training has other
      settings, or the training diverges; or as `builder.build`.
    FileNotFoundError: the data are not there.
  """
  import _windows
  import builder
  from progress import say

  if 'generator' not in config or not config.generator.pretrained:
    raise ValueError('generator.pretrained: must name the file to write')
  path = pathlib.Path(config.generator.pretrained)
  if path.is_file():
    say(f'finished already: {path}')
    return path
  dataset = builder.load_dataset(config)
  try:
    _make(config, dataset, path)
  finally:
    _windows.close(dataset)
  return path


def _make(config, dataset, path):
  import builder
  import generators

  network = builder.build_network(config, dataset)
  formation = builder.build_formation(config, dataset)
  unfinished = path.with_name(f'{path.name}.unfinished')
  _claim(unfinished, _settings(config))
  found = _embeddings(config, dataset, network, unfinished)
  key = jax.random.fold_in(jax.random.key(config.seed), _FOLD)
  params = _start(config, formation, key, found.embeddings)
  params = train(config, dataset, formation, params, key, unfinished)
  stored = {k: v for k, v in params.items() if k != 'codes'}
  pretrained = generators.Pretrained(stored, found.soft_labels)
  generators.save(path, pretrained, formation)
  _show(path, formation, params)
  shutil.rmtree(unfinished)


def _embeddings(config, dataset, network, folder):
  """Class embeddings: trained once, then read from the folder."""
  import generators
  import pretrain
  from _stage_files import load_tree
  from progress import say

  file = folder / 'embeddings.npz'
  if not file.is_file():
    say(f'training {network.name} for the class embeddings')
    pretrain.save(file, generators.trained_embeddings(config, dataset, network))
  found = load_tree(file, methods.ClassEmbeddings(0, 0))
  return jax.tree.map(jnp.asarray, found)


def _start(config, formation, key, embeddings):
  import generators

  params = formation.init(key, generators.blank_images(config, formation))
  if config.matching.condition == 'one_hot':
    return params
  return formations.with_embeddings(formation, params, embeddings)


def train(
  config: ConfigDict,
  dataset: Any,
  formation: Formation,
  params: Params,
  key: jax.Array,
  folder: pathlib.Path,
) -> Params:
  """Trains a generator in one compiled loop, a checkpoint after every piece.

  Where only a window of the data is in memory, the next one comes after as many
  steps as show this one once.

  Args:
    config: section `generator`.
    dataset: the real data.
    formation: the codebook.
    params: where it starts.
    key: decides everything.
    folder: keeps the state; a training that finds one there goes on with it,
      bit for bit.

  Returns:
    The codebook's params.

  Raises:
    ValueError: numbers become infinite.
  """
  from checkpoint import Checkpoints
  from progress import Progress

  options = config.generator
  training = methods.generator_training(
    formation,
    dataset.counts,
    batch_size=options.batch_size,
    learning_rate=options.gan_learning_rate,
    penalty=options.penalty,
    critic_width=options.critic_width,
    critic_steps=options.critic_steps,
  )
  advance = _advance(training, dataset, options.batch_size, key)
  state = jax.jit(training.init)(key, params)
  kept, done = Checkpoints(folder.resolve()), 0
  if kept.latest() is not None:
    done = kept.latest()
    state, _ = kept.restore(done, state)
  pieces = np.linspace(0, options.steps, _PIECES + 1).round().astype(int)
  pieces = np.unique(pieces)
  progress = Progress('training the generator', options.steps, done, 'steps')
  try:
    for until in map(int, pieces[pieces > done]):
      state, values = advance(state, done, until)
      done = until
      kept.save(done, state, {})
      progress.update(done, _summary(values))
  finally:
    progress.close()
    kept.close()
  return methods.finished_generator(formation, state, key)


def _advance(training, dataset, batch_size, key):
  """Returns `(state, steps done, steps in the end) -> (state, values)`.

  Values are those of the last window that was looked at.
  """
  import _windows

  from dcjax.data import to_device

  run = jax.jit(training.run, donate_argnums=1)
  data = to_device(dataset.images, dataset.labels, dataset.scale)
  of_a_window = _windows.steps_of_a_window(dataset, batch_size)

  @functools.lru_cache(1)  # A piece may end within a window.
  def data_at(number):
    return _windows.data_at(dataset, data, number)

  def advance(state, done, until):
    values = {}
    for number, end in _windows.parts_of(done, until, of_a_window):
      state, metrics = run(key, state, data_at(number), end - done)
      done = end
      values = {name: float(value) for name, value in metrics.items()}
      _check(values, done)
    return state, values

  return advance


def _settings(config):
  """What decides a training, as text; the folder of the data does not."""
  plain = json.loads(config.to_json_best_effort())
  chosen = {name: plain[name] for name in _FIELDS}
  chosen['condition'] = plain['matching']['condition']
  del chosen['data']['dir'], chosen['generator']['pretrained']
  del chosen['generator']['learning_rate']  # of the condensation
  return json.dumps(chosen, sort_keys=True)


def _claim(folder, settings):
  """Makes the folder of an unfinished training, or knows it as its own."""
  file = folder / 'settings.json'
  if file.is_file():
    if file.read_text() != settings:
      raise ValueError(
        f'{folder}: holds an unfinished generator of other settings; delete '
        'the folder, or name another generator.pretrained'
      )
    return
  folder.mkdir(parents=True, exist_ok=True)
  with artefact.replacing(file) as stream:
    stream.write(settings.encode())


def _check(values, done):
  bad = [name for name, value in values.items() if not np.isfinite(value)]
  if bad:
    raise ValueError(
      f'{bad[0]} is not finite after {done} steps; the training diverged: try '
      'a smaller generator.gan_learning_rate'
    )


def _summary(values):
  return (
    f'distance {values["wasserstein_distance"]:.3g}, classified '
    f'{values["class_accuracy"]:.0%}'
  )


def _show(path, formation, params):
  """Writes a sheet of images beside the file, one row per class."""
  import pictures

  codes = formations.draw_codes(
    jax.random.key(0), (10, params['codes'].shape[1])
  )
  classes = np.arange(min(10, formation.spec['num_classes']))
  images = formations.decode_some(formation, params, classes, codes)
  grid = pictures.image_grid(images, value_range=formation.spec['value_range'])
  pictures.save_png(path.with_suffix('.png'), grid)


def main(argv):
  """Trains and stores the generator that the flags describe."""
  del argv
  from experiment import use_compilation_cache

  logging.set_verbosity(logging.WARNING)  # checkpointing is talkative
  use_compilation_cache()
  try:
    path = make(flags.FLAGS.config)
  except (ImportError, ValueError, OSError) as error:
    sys.exit(f'error: {error}')
  except KeyboardInterrupt:
    sys.exit('stopped; the same command goes on from the last checkpoint')
  print(f'generator: {path}; use it with --config.generator.pretrained={path}')


if __name__ == '__main__':
  config_flags.DEFINE_config_file('config', None, 'As for run.py.')
  flags.mark_flags_as_required(['config'])
  app.run(main)
