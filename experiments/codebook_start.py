"""Where a codebook starts: random weights, a pretrained generator, images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from generators import load, trained_embeddings
from ml_collections import ConfigDict

from dcjax import formations, methods
from dcjax.base import Formation, Network, Params
from dcjax.data import Dataset


def prepared(
  config: ConfigDict, dataset: Dataset, network: Network, formation: Formation
) -> Formation:
  """Makes a codebook start as the config says.

  Args:
    config: `generator.pretrained` names a file of `pretrain_generator.py`; ''
      starts with random weights, and trains a network for the embeddings.
    dataset: the real data.
    network: whose features are averaged.
    formation: a codebook; any other is returned as it is.

  Raises:
    ValueError: if the file is missing, damaged, or of another codebook, or
      the codebook shall be fitted to images that are not real.
  """
  if formation.spec['name'] != 'codebook' or 'generator' not in config:
    return formation
  if fits_images(config) and config.init.mode != 'random':
    raise ValueError(
      f'generator.fit_steps {config.generator.fit_steps}: fits real images, so '
      f"init.mode must be 'random', not {config.init.mode!r}"
    )
  draw = functools.partial(_finished_start, config, formation)
  if config.generator.pretrained:
    stored = load(config.generator.pretrained, formation).params
    return _starting(formation, lambda params: {**params, **stored}, draw)
  if config.matching.condition != 'class':
    return _starting(formation, lambda params: params, draw)
  found = trained_embeddings(config, dataset, network).embeddings

  def start(params):
    return formations.with_embeddings(formation, params, found)

  return _starting(formation, start, draw)


def _starting(formation, change, draw):
  made: dict[bytes, Params] = {}  # asked for again by evaluation and report

  def start(key, images):
    return draw(key, change(formation.init(key, images)), images)

  def init(key, images):
    if isinstance(key, jax.core.Tracer) or isinstance(images, jax.core.Tracer):
      return start(key, images)
    name = np.asarray(jax.random.key_data(key)).tobytes()
    name += str(images.shape).encode()
    if name not in made:
      made[name] = jax.tree.map(np.asarray, start(key, images))
    return jax.tree.map(jnp.asarray, made[name])

  return formation._replace(init=init)


def fits_images(config: ConfigDict) -> bool:
  """Whether a codebook starts as real images, see `generator.fit_steps`."""
  return bool('generator' in config and config.generator.fit_steps)


def _finished_start(config, formation, key, params, images):
  # Codes that are drawn anew have no image of their own.
  if not fits_images(config) or config.matching.codes != 'learned':
    return _draw_codes(config, key, params)
  return methods.fit_codebook(
    formation,
    params,
    jnp.asarray(images),
    jax.random.fold_in(key, 2),
    steps=config.generator.fit_steps,
    codes_per_step=config.matching.most_synthetic,
  )


def _draw_codes(config, key, params):
  """Codes as the method draws them; learned ones start normal."""
  if config.matching.codes in ('learned', 'gaussian'):
    return params
  shape, kind = params['codes'].shape, config.matching.codes
  codes = formations.draw_codes(jax.random.fold_in(key, 1), shape, kind)
  return {**params, 'codes': codes}
