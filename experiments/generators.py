"""Where a codebook starts: class embeddings and a pretrained generator."""

import json
import os
import pathlib
import shlex
import zipfile
from typing import Any, NamedTuple

import _windows
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from dcjax import artefact, augment, inner, methods, optimizers
from dcjax.artefact._checks import flatten, unflatten
from dcjax.base import Array, Formation, Network, Params, Variables
from dcjax.data import Dataset, to_device
from dcjax.data._sampling import DeviceData
from dcjax.methods import ClassEmbeddings

_FORMAT = 'dcjax-generator'
# Folds of the key of a run's start: networks are trained with another one.
_EMBEDDING_FOLD = 78
# Fields that a pretraining reads.
_DECIDING = (
  'seed',
  'data.',
  'formation.',
  'generator.',
  'inner.batch_size',
  'inner.learning_rate',
  'network.',
)
# What a generator's file must agree in with the codebook that starts from it.
_SIZES = (
  'num_classes',
  'image_shape',
  'codes_dim',
  'embedding_dim',
  'projection_dim',
  'width',
  'value_range',
)


class Pretrained(NamedTuple):
  """A generator trained on a data set.

  Attributes:
    params: `'generator'`, `'statistics'` and `'embeddings'` of a codebook.
    soft_labels: `[C, K]`, see `methods.class_embeddings`.
  """

  params: Params
  soft_labels: Array


def codebook_spec(
  spec: dict[str, Any], config: ConfigDict, dataset: Dataset
) -> dict[str, Any]:
  """Completes the spec of a codebook by what data and condition decide.

  Args:
    spec: options that the config gives.
    config: `matching.condition`; configs of other methods have none, and
      one-hot embeddings.
    dataset: the real data.
  """
  import builder

  shape = tuple(dataset.image_shape)
  spec = {**spec, 'num_classes': dataset.num_classes, 'image_shape': shape}
  # Configs of methods that never clip leave the range open.
  if None in spec.get('value_range', ()):
    del spec['value_range']
  if spec.get('factor') == 1:
    del spec['factor']
  if config.matching.get('condition', 'one_hot') == 'one_hot':
    return spec
  network = builder.build_network(config, dataset)
  return spec | {'embedding_dim': methods.feature_sizes(network, shape)[0]}


def trained_embeddings(
  config: ConfigDict, dataset: Dataset, network: Network
) -> ClassEmbeddings:
  """Class means of features and predictions of `trained_network`.

  Over every real image, window by window where not all are in memory.
  """
  data = to_device(dataset.images, dataset.labels, dataset.scale)
  variables = trained_network(config, dataset, network, data)
  normalise = augment.normalise(dataset.mean, dataset.std)

  @jax.jit
  def sums(variables, data, weights=None):
    return methods.class_sums(
      network, variables, data, normalise, weights=weights
    )

  if dataset.stream is None:
    return methods.class_means(sums(variables, data))
  total = None
  for number, new in _windows.one_pass(dataset):
    found = sums(variables, _windows.data_at(dataset, data, number), new)
    total = found if total is None else jax.tree.map(jnp.add, total, found)
  _windows.close(dataset)
  return methods.class_means(total)


def trained_network(
  config: ConfigDict, dataset: Dataset, network: Network, data: DeviceData
) -> Variables:
  """Trains a new network on all real data; the same one for the same config.

  Where only a window of the data is in memory, the next one comes after as many
  updates as show this one once; no window is left before its time, so that
  there may be a few updates more.

  Args:
    config: `generator.embedding_steps` updates, `inner.batch_size` images each.
    dataset: the real data.
    network: is drawn and trained.
    data: the same, or its first window, on the device.
  """
  steps = config.generator.embedding_steps
  of_a_window = _windows.steps_of_a_window(dataset, config.inner.batch_size)
  windows = 1 if of_a_window is None else -(-steps // of_a_window)
  loop = inner.train_on_real(
    network,
    optimizers.sgd(config.inner.learning_rate, momentum=0.9, weight_decay=5e-4),
    num_images=len(dataset.labels),
    num_classes=dataset.num_classes,
    batch_size=config.inner.batch_size,
    num_batches=-(-steps // windows),
    augment=augment.normalise(dataset.mean, dataset.std),
  )

  @jax.jit
  def train(key, state, data):
    return loop.update(key, state, inner.InnerData(data), None)[0]

  key = jax.random.fold_in(jax.random.key(config.seed), _EMBEDDING_FOLD)
  state = jax.jit(lambda key: loop.init(key, None))(key)
  for number in range(windows):
    state = train(key, state, _windows.data_at(dataset, data, number))
  _windows.close(dataset)
  return state.variables


def soft_labels(config: ConfigDict, formation: Formation) -> Array | None:
  """Labels of the classification loss; None for one-hot ones.

  Raises:
    ValueError: if soft ones are asked for and no file holds them.
  """
  if config.matching.labels == 'hard':
    return None
  if not config.generator.pretrained:
    raise ValueError(
      "matching.labels 'soft': needs the network of a pretrained generator; "
      'set generator.pretrained'
    )
  return load(config.generator.pretrained, formation).soft_labels


def require(config: ConfigDict) -> None:
  """Raises an error unless the generator that a config asks for is there.

  To be called before the data are loaded, which may take minutes.

  Raises:
    ValueError: it is not there; names the command that makes it.
  """
  path = config.generator.pretrained if 'generator' in config else ''
  if path and not pathlib.Path(path).is_file():
    raise ValueError(
      f'generator.pretrained {path}: no such file; make it with '
      f'{command(config)}; an empty path starts with random weights'
    )


def command(config: ConfigDict) -> str:
  """Returns the command that pretrains the generator of a config."""
  from configs import generative

  arguments = f'{config.data.name},condition={config.matching.condition}'
  usual, wanted = (
    _fields(made) for made in (generative.get_config(arguments), config)
  )
  changes = [
    f'--config.{name}={value}'
    for name, value in wanted.items()
    if name.startswith(_DECIDING) and usual.get(name) != value
  ]
  file = f'experiments/configs/generative.py:{arguments}'
  return shlex.join(
    [
      'python',
      'experiments/pretrain_generator.py',
      f'--config={file}',
      *changes,
    ]
  )


def _fields(config):
  """The settings that have a value, by dotted field of two levels."""
  sections = {
    name: section
    for name, section in config.to_dict().items()
    if isinstance(section, dict)
  }
  flat = flatten('', sections)
  flat = {name[1:].replace('/', '.'): value for name, value in flat.items()}
  own = {'seed': config.seed}
  return {k: v for k, v in (flat | own).items() if v is not None}


def save(
  path: str | os.PathLike[str], pretrained: Pretrained, formation: Formation
) -> None:
  """Writes a generator, whole or not at all.

  Raises:
    OSError: if it cannot be written.
  """
  pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  header = {'format': _FORMAT, **{n: formation.spec[n] for n in _SIZES}}
  arrays = flatten('params', pretrained.params)
  arrays = {name: np.asarray(value) for name, value in arrays.items()}
  arrays['soft_labels'] = np.asarray(pretrained.soft_labels)
  with artefact.replacing(path) as stream:
    np.savez(stream, header=np.array(json.dumps(header)), **arrays)


def load(path: str | os.PathLike[str], formation: Formation) -> Pretrained:
  """Reads what `save` wrote.

  Args:
    path: the file.
    formation: the codebook that starts from it.

  Raises:
    ValueError: if the file is missing, damaged, or of another codebook.
  """
  where = f'generator.pretrained {os.fspath(path)}'
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays.pop('header')))
    found = {name: header[name] for name in _SIZES}
    labels = jnp.asarray(arrays.pop('soft_labels'))
    params = unflatten(arrays)['params']
  except FileNotFoundError as error:
    raise ValueError(f'{where}: no such file') from error
  except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
    raise ValueError(f'{where}: holds no generator ({error})') from error
  for name in _SIZES:
    if found[name] != formation.spec[name]:
      raise ValueError(
        f'{where}: is of another codebook: its {name} is {found[name]}, '
        f'{formation.spec[name]} is asked for'
      )
  return Pretrained(jax.tree.map(jnp.asarray, params), labels)


def blank_images(config: ConfigDict, formation: Formation) -> Any:
  """What a codebook's `init` reads of images: their shape."""
  spec = formation.spec
  shape = (spec['num_classes'], config.ipc, *spec['image_shape'])
  return jax.ShapeDtypeStruct(shape, jnp.float32)
