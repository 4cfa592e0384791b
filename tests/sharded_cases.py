"""What `test_sharding.py` runs on eight virtual devices, in its own process.

  sharded_cases.py FILE CASES               eight devices, and one
  sharded_cases.py FILE CASES PORT INDEX    one of two processes of four devices

Writes, for each case: the stored numbers and metrics of the run on one device
and on the mesh, and the collectives of the compiled step.
"""

import functools
import pathlib
import re
import sys

import jax

from dcjax import sharding

ALONE = len(sys.argv) == 3
jax.config.update('jax_num_cpu_devices', 8 if ALONE else 4)
if not ALONE:  # before anything asks for a device
  sharding.start_processes(f'127.0.0.1:{sys.argv[3]}', 2, int(sys.argv[4]))

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import sharded_synthesis  # noqa: E402
import tiny  # noqa: E402

from dcjax import (  # noqa: E402
  augment,
  condensing,
  data,
  evaluation,
  formations,
  inner,
  mapping,
  methods,
  networks,
  objectives,
  optimizers,
  protocols,
)
from dcjax.sharding import _layouts  # noqa: E402

SHAPE = (8, 8, 1)
PERIODS, STEPS = 2, 2


def dataset(num_classes):
  """Random images, one class larger than the others."""
  rng = np.random.default_rng(0)
  labels = np.concatenate([np.repeat(np.arange(num_classes), 6), [0, 0]])
  images = rng.integers(0, 256, (len(labels), *SHAPE), np.uint8)
  return data.from_arrays(images, labels, images, labels)


def treatments(real, mesh):
  """Siamese augmentation of matching, that of training, normalisation."""
  normalise = augment.normalise(real.mean, real.std)
  match = train = normalise
  if mesh is not None:  # `chain` splits keys: the outer one keeps its two.
    match = augment.chain(sharding.spread_class(mesh), normalise)
    train = augment.chain(sharding.spread(mesh), normalise)
  flip = functools.partial(augment.sequence, 'flip', single=True)
  return (
    augment.chain(match, flip(sharing='batch')),
    augment.chain(train, flip(sharing='sample')),
    normalise,
  )


def condenser(method, network, real, mesh):
  """The method on one device, or on a mesh."""
  match, train, normalise = treatments(real, mesh)
  formation = formations.uniform(2)
  common = {'match_augment': match, 'batch_real': 4}
  if method in ('idc', 'idc shared', 'dc', 'dm', 'feature'):
    inner_word = 'scan'
    if method == 'idc shared':  # what an accelerator would choose
      mapping.platform, inner_word = lambda: 'tpu', 'auto'
    common['classes'] = (
      'scan' if mesh is None else sharding.class_strategy(mesh, inner_word)
    )
  counts, std = real.counts, real.std
  if method in ('idc', 'idc shared'):
    return methods.idc(
      network,
      formation,
      counts,
      learning_rate=0.05,
      tensors='all',
      inner_steps=STEPS,
      most_synthetic=6 if method == 'idc' else 100,
      networks=methods.OnReal(2, 16, train_augment=train),
      **common,
    )
  if method == 'dm':
    return methods.dm(
      network,
      formation,
      counts,
      std,
      learning_rate=1.0,
      inner_steps=STEPS,
      **common,
    )
  if method == 'feature':
    return condensing.condenser(
      network,
      formation=formation,
      objective=objectives.feature_matching(),
      source=condensing.real_batches(counts, 4),
      inner=inner.resample(network),
      optimizer=optimizers.sgd(1.0, momentum=0.5),
      augment=match,
      inner_steps=STEPS,
      classes=common['classes'],
    )
  networks = methods.OnSynthetic(epochs=1, train_augment=train)
  on_synthetic = {'networks': networks, **common}
  if method == 'dc':
    return methods.dc(
      network,
      formation,
      counts,
      std,
      learning_rate=1.0,
      inner_steps=STEPS,
      statistics=methods.RealStatistics(normalise),
      **on_synthetic,
    )
  if method == 'cafe':
    return methods.cafe(
      network,
      formation,
      counts,
      std,
      learning_rate=1.0,
      inner_steps=STEPS,
      **on_synthetic,
    )
  return methods.label_distillation(
    network,
    formations.with_labels(formation, 'hard'),
    counts,
    form=method,
    learning_rate=1.0,
    inner_steps=STEPS,
    patience=1,
    train_augment=train,
    **common,
  )


def judge(num_classes, norm):
  """A ConvNet, or without any norm one linear layer, which compiles faster."""
  if norm is None:
    return tiny.linear_network(SHAPE, num_classes)
  return networks.convnet(SHAPE, num_classes, depth=1, width=4, norm=norm)


def run(method, num_classes, mesh, norm):
  """Params, metrics and compiled text after two periods."""
  real = dataset(num_classes)
  network = judge(num_classes, norm)
  made = condenser(method, network, real, mesh)
  images = np.random.default_rng(1).random((num_classes, 2, *SHAPE))
  formation = formations.uniform(2)
  if method in ('second_order', 'ridge'):
    formation = formations.with_labels(formation, 'hard')
  params = formation.init(jax.random.key(3), jnp.asarray(images, jnp.float32))
  if mesh is None:
    on_device = data.to_device(real.images, real.labels, real.scale)
    places, period_places = {}, {}
  else:
    # DM's images lie as on a TPU.
    _layouts._IN_PIECES = ('cpu',) if method == 'dm' else ('tpu',)
    on_device = sharding.place_data(mesh, real)
    order = on_device.images.format.layout.major_to_minor
    assert (order == (0, 1, 4, 2, 3)) == (method == 'dm'), order
  source = inner.InnerData(on_device)
  key = jax.random.key(0)
  if mesh is not None:
    everywhere = sharding.replicated(mesh)
    key, params = sharding.place((key, params), everywhere)
    shapes = jax.eval_shape(made.init, key, params, source)
    state_places = sharding.state_shardings(mesh, shapes, num_classes)
    places = {'out_shardings': state_places}
    period_places = {'out_shardings': (state_places, everywhere)}
  state = jax.jit(made.init, **places)(key, params, source)
  period = jax.jit(made.period, **period_places)
  period = period.lower(key, state, source).compile()
  for _ in range(PERIODS):
    state, metrics = period(key, state, source)
  return sharding.to_host((state.params, metrics)), period.as_text()


def collectives(text):
  """Kind and result of each operation in which devices speak."""
  pattern = r'= (\S.*?) (all-\w+|collective-\w+|reduce-scatter)(?:-start)?\('
  return [f'{kind} {shape}' for shape, kind in re.findall(pattern, text)]


def compare(name, method, num_classes, devices_per_class=1, norm=None):
  """Records one method on one device and on the mesh; or on the mesh alone."""
  if ALONE:
    _record(name, 'alone', run(method, num_classes, None, norm)[0])
  mesh = sharding.make_mesh(num_classes, devices_per_class)
  found, text = run(method, num_classes, mesh, norm)
  _record(name, 'shared', found)
  RESULTS[f'{name}/collectives'] = np.array(collectives(text), str)


def _record(name, side, tree):
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    RESULTS[f'{name}/{side}/{jax.tree_util.keystr(path)}'] = leaf


def compare_evaluation():
  """Three networks on eight devices, and on one."""
  real = dataset(3)
  network = judge(3, None)
  mesh = sharding.make_mesh(3)
  protocol = protocols.idc_protocol(3)
  _, train, normalise = treatments(real, None)
  training = evaluation.training_set(real.images / 255, real.labels, 3)
  for name, seeds in (
    ('alone', 'scan'),
    ('shared', sharding.seed_strategy(mesh)),
  ):
    evaluator = evaluation.evaluator(
      network,
      evaluation.feed(protocol, augment=train),
      protocol=protocol,
      normalise=normalise,
      scale=255.0,
      seeds=seeds,
    )
    result = evaluation.evaluate(
      evaluator,
      training,
      (real.test_images, real.test_labels),
      jax.random.key(5),
      num_seeds=3,
    )
    RESULTS[f'evaluation/{name}/accuracy'] = result.accuracy
    RESULTS[f'evaluation/{name}/loss'] = result.loss


def compare_synthesis(num_classes):
  """Statistics of real images and EDC on one device and on the mesh."""
  mesh, text = sharding.make_mesh(num_classes), ''
  for name, devices in (('alone', None), ('shared', mesh)):
    found, text = sharded_synthesis.run(dataset(num_classes), 16, devices)
    _record('edc', name, found)
  RESULTS['edc/collectives'] = np.array(collectives(text), str)


RESULTS: dict[str, np.ndarray] = {}


_INSTANCE = {'norm': 'instance'}
CASES = {
  'idc': functools.partial(compare, 'idc', 'idc', 8, **_INSTANCE),
  'idc uneven': functools.partial(compare, 'idc uneven', 'idc', 10),
  'idc few classes': functools.partial(
    compare, 'idc few classes', 'idc', 3, devices_per_class=0
  ),
  'idc shared': functools.partial(
    compare, 'idc shared', 'idc shared', 4, devices_per_class=4, **_INSTANCE
  ),
  'dc': functools.partial(compare, 'dc', 'dc', 10),
  'dm': functools.partial(compare, 'dm', 'dm', 8),
  'dm uneven': functools.partial(compare, 'dm uneven', 'dm', 10),
  'dm batch norm': functools.partial(
    compare, 'dm batch norm', 'dm', 10, norm='batch'
  ),
  'feature': functools.partial(compare, 'feature', 'feature', 10, **_INSTANCE),
  'cafe': functools.partial(compare, 'cafe', 'cafe', 10, **_INSTANCE),
  'second_order': functools.partial(
    compare, 'second_order', 'second_order', 10
  ),
  'ridge': functools.partial(compare, 'ridge', 'ridge', 8),
  'edc': functools.partial(compare_synthesis, 8),
  'evaluation': compare_evaluation,
}


if __name__ == '__main__':
  for case in sys.argv[2].split('+'):
    CASES[case]()
  if sharding.is_main():
    np.savez(pathlib.Path(sys.argv[1]), **RESULTS)
  sharding.barrier('written')
