"""dcjax's side of the benchmarks: its own recipes, compiled and ready."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _child import Prepared
from _problem import (
  MEAN,
  STD,
  Problem,
  problem_from,
  real_images,
  stored_images,
)

from dcjax import augment, formations, methods, networks
from dcjax.condensing import Condenser
from dcjax.data import to_device
from dcjax.inner import InnerData
from dcjax.utils import check_choice

# What `networks.with_precision` calls them.
PRECISIONS = {
  'float32': 'float32',
  'tf32': 'tensorfloat32',
  'bfloat16': 'bfloat16',
}
MATCH_STRATEGY = {'idc': 'color_crop_cutout', 'dm': 'color_crop_cutout'}


def step(
  problem: dict[str, Any],
  *,
  classes: str | int = 'auto',
  conv_form: str = 'auto',
  precision: str = 'float32',
  analyse: bool = False,
) -> Prepared:
  """Compiles one step: new network, image step of all classes, its training.

  That is a `Condenser.period` of one inner iteration.

  Args:
    problem: see `Problem`.
    classes: class strategy; see `dcjax.mapping.over_classes`.
    conv_form: see `dcjax.networks.convolve`.
    precision: of the convolutions' operands: `'float32'`, `'tf32'` or
      `'bfloat16'`.
    analyse: whether facts hold `flops` and `bytes` of the program.

  Raises:
    ValueError: if the precision is unknown.
  """
  check_choice('precision', precision, PRECISIONS)
  sizes = problem_from(problem)
  network = networks.convnet(
    sizes.image_shape,
    sizes.classes,
    depth=sizes.depth,
    width=sizes.width,
    conv_form=conv_form,
  )
  network = networks.with_precision(network, PRECISIONS[precision])
  images, labels = real_images(sizes)
  formation = formation_of(sizes)
  condenser = _CONDENSERS[sizes.method](
    sizes, network, formation, np.bincount(labels), classes
  )
  params = formation.init(jax.random.key(0), jnp.asarray(stored_images(sizes)))
  data = InnerData(to_device(images, labels, 255.0))
  return _compiled(condenser, params, data, analyse)


def _compiled(condenser: Condenser, params, data, analyse) -> Prepared:
  key = jax.random.key(1)
  state = jax.jit(condenser.init)(key, params, data)
  period = jax.jit(condenser.period, donate_argnums=1)
  began = time.perf_counter()
  traced = period.trace(key, state, data)
  compiled = traced.lower().compile()
  facts = {'compile_seconds': time.perf_counter() - began}
  if analyse:
    facts |= _analysis(compiled, traced.jaxpr)
  held = [state]

  def run():
    held[0], metrics = jax.block_until_ready(compiled(key, held[0], data))
    return float(metrics['loss'][-1])

  return Prepared(run, facts, device_peak())


def _analysis(compiled, jaxpr) -> dict[str, float]:
  from dcjax.runs._flops import count_flops

  found = compiled.cost_analysis() or {}
  found = found[0] if isinstance(found, list) else found
  return {
    'compiler_flops': float(found.get('flops', 0.0)),
    'compiler_bytes': float(found.get('bytes accessed', 0.0)),
    'flops': count_flops(jaxpr),
  }


def device_peak():
  """Reads the accelerator's peak memory; None where memory is the host's."""
  device = jax.devices()[0]
  if device.platform == 'cpu' or not device.memory_stats():
    return None
  return lambda: device.memory_stats()['peak_bytes_in_use']


def normalise(problem: Problem) -> augment.Siamese:
  """Returns the normalisation of a problem's images."""
  channels = problem.image_shape[2]
  return augment.normalise([MEAN] * channels, [STD] * channels)


def formation_of(problem: Problem):
  """Returns the formation of a problem."""
  if problem.factor == 1:
    return formations.identity()
  return formations.uniform(problem.factor)


def augment_of(problem: Problem, strategy: str, **options: Any):
  """Returns normalisation followed by a strategy."""
  return augment.chain(
    normalise(problem), augment.sequence(strategy, **options)
  )


def cutmix(key, images, labels, weights):
  """CutMix with IDC's probability."""
  return augment.cutmix(key, images, labels, probability=0.5, weights=weights)


def _idc(sizes: Problem, network, formation, counts, classes) -> Condenser:
  return methods.idc(
    network,
    formation,
    counts,
    learning_rate=sizes.learning_rate,
    match_augment=augment_of(sizes, MATCH_STRATEGY['idc']),
    inner_steps=1,
    batch_real=sizes.batch_real,
    most_synthetic=sizes.most_synthetic,
    networks=methods.OnReal(
      network_batches=sizes.network_batches,
      network_batch_size=sizes.network_batch_size,
      train_augment=augment_of(sizes, 'color_crop', sharing='sample'),
      train_mix=cutmix,
    ),
    classes=classes,
  )


def _dc(sizes: Problem, network, formation, counts, classes) -> Condenser:
  return methods.dc(
    network,
    formation,
    counts,
    [STD] * sizes.image_shape[2],
    learning_rate=sizes.learning_rate,
    match_augment=normalise(sizes),
    inner_steps=1,
    batch_real=sizes.batch_real,
    most_synthetic=sizes.most_synthetic,
    networks=methods.OnSynthetic(
      epochs=sizes.epochs,
      network_batch_size=sizes.network_batch_size,
      train_augment=normalise(sizes),
    ),
    classes=classes,
  )


def _dm(sizes: Problem, network, formation, counts, classes) -> Condenser:
  return methods.dm(
    network,
    formation,
    counts,
    [STD] * sizes.image_shape[2],
    learning_rate=sizes.learning_rate,
    match_augment=augment_of(sizes, MATCH_STRATEGY['dm'], single=True),
    inner_steps=1,
    batch_real=sizes.batch_real,
    most_synthetic=sizes.most_synthetic,
    classes=classes,
  )


_CONDENSERS = {'idc': _idc, 'dc': _dc, 'dm': _dm}
