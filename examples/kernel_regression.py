"""KIP: a few images from which a kernel regression learns a whole data set.

python examples/kernel_regression.py cifar10 --data DIR --ipc 10 --labels
"""

import argparse
import contextlib
import time

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import (
  Batch,
  augment,
  data,
  formations,
  initialisation,
  kernels,
  methods,
)
from dcjax.inner import InnerData


def options() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('dataset')
  parser.add_argument('--data', help='folder of the published files')
  parser.add_argument('--ipc', type=int, default=1)
  parser.add_argument('--depth', type=int, default=1, help='hidden layers')
  parser.add_argument('--at', type=int, nargs='+', default=[0, 100, 300, 1000])
  parser.add_argument('--seeds', type=int, nargs='+', default=[0])
  parser.add_argument('--labels', action='store_true', help='learn them')
  parser.add_argument('--zca', help='a form of whitening, such as kip_unit')
  parser.add_argument('--x64', action='store_true', help='float64')
  parser.add_argument('--rate', type=float, default=0.04)
  parser.add_argument('--batch', type=int, default=500, help='of a class')
  return parser.parse_args()


def curve(dataset, args, seed):
  """Prints the accuracy of the regression on the test set at `args.at`."""
  kernel = kernels.fully_connected(args.depth)
  normalise = augment.normalise(dataset.mean, dataset.std)
  formation = formations.identity()
  if args.labels:
    formation = formations.with_labels(formation, 'hard', 'centred')
  method = methods.kip(
    kernel,
    formation,
    dataset.counts,
    dataset.std,
    learning_rate=args.rate,
    match_augment=normalise,
    image_steps=20,
    batch_real=args.batch,
  )
  key = jax.random.key(seed)
  chosen = np.asarray(initialisation.select(key, dataset.counts, args.ipc))
  images = [dataset.class_images(c)[chosen[c]] for c in range(len(chosen))]
  images = jnp.asarray(images, jnp.float64 if args.x64 else jnp.float32)
  params = formation.init(key, images / dataset.scale)
  on_device = data.to_device(dataset.images, dataset.labels, dataset.scale)
  inner_data = InnerData(on_device)
  state = jax.jit(method.init)(key, params, inner_data)
  period = jax.jit(method.period, donate_argnums=1)

  @jax.jit
  def test(params, images, answers):
    batch = formation.decode(params)
    images_, labels = (x.reshape(-1, *x.shape[2:]) for x in batch[:2])
    return kernels.accuracy(
      kernel,
      Batch(images_, labels),
      images,
      answers,
      label_form=formations.label_form(formation),
      normalise=normalise,
      scale=dataset.scale,
    )

  begin, found = time.perf_counter(), []
  for step in range(0, max(args.at) + 1, 20):
    if step:
      state, _ = period(key, state, inner_data)
    if step in args.at:
      found.append(
        100
        * float(test(state.params, dataset.test_images, dataset.test_labels))
      )
      seconds = time.perf_counter() - begin
      print(f'seed {seed} step {step}: {found[-1]:.1f} % ({seconds:.0f} s)')
  return found


def main():
  args = options()
  dataset = data.load(args.dataset, args.data, stats='data')
  dataset = dataset.whitened(args.zca) if args.zca else dataset
  with jax.enable_x64(True) if args.x64 else contextlib.nullcontext():
    curves = [curve(dataset, args, seed) for seed in args.seeds]
  for step, values in zip(args.at, zip(*curves, strict=True), strict=True):
    print(f'step {step}: {np.mean(values):.1f} +- {np.std(values):.1f} %')


if __name__ == '__main__':
  main()
