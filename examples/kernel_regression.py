"""KIP: a few images from which a kernel regression learns a whole data set.

python examples/kernel_regression.py digits --ipc 1 --labels --batch 50
python examples/kernel_regression.py cifar10 --data DIR --ipc 10 --x64
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import Batch, augment, data, formations, initialisation, kernels
from dcjax.inner import InnerData
from dcjax.methods import kip


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
  parser.add_argument('--augment', help='of real images: rotate_translate, ...')
  parser.add_argument('--x64', action='store_true', help='float64')
  parser.add_argument('--batch', type=int, default=500, help='of a class')
  return parser.parse_args()


def curve(dataset, args, seed):
  """Prints the accuracy of the regression on the test set at `args.at`."""
  kernel = kernels.fully_connected(args.depth)
  normalise = augment.normalise(dataset.mean, dataset.std)
  formation = formations.identity()
  if args.labels:
    formation = formations.with_labels(formation, 'hard', 'centred')
  treat = args.augment and augment.sequence(args.augment, sharing='sample')
  method = kip(
    kernel,
    formation,
    dataset.counts,
    dataset.std,
    match_augment=normalise,
    target_augment=treat,
    inner_steps=20,
    batch_real=args.batch,
  )
  key = jax.random.key(seed)
  chosen = np.asarray(initialisation.select(key, dataset.counts, args.ipc))
  images = [dataset.class_images(c)[chosen[c]] for c in range(len(chosen))]
  images = jnp.asarray(images, jnp.float64 if args.x64 else jnp.float32)
  params = formation.init(key, images / dataset.scale)
  real = data.to_device(dataset.images, dataset.labels, dataset.scale)
  state = jax.jit(method.init)(key, params, InnerData(real))
  period = jax.jit(method.period, donate_argnums=1)

  @jax.jit
  def test(params, images, answers):
    decoded = formation.decode(params)
    stored, labels = (x.reshape(-1, *x.shape[2:]) for x in decoded[:2])
    return kernels.accuracy(
      kernel,
      Batch(stored, labels),
      images,
      answers,
      label_form=formations.label_form(formation),
      normalise=normalise,
      scale=dataset.scale,
    )

  begin, found = time.perf_counter(), []
  for step in range(0, max(args.at) + 1, 20):
    if step:
      state, _ = period(key, state, InnerData(real))
    if step in args.at:
      right = test(state.params, dataset.test_images, dataset.test_labels)
      found.append(100 * float(right))
      seconds = time.perf_counter() - begin
      print(f'seed {seed} step {step}: {found[-1]:.1f} % ({seconds:.0f} s)')
  return found


def main():
  args = options()
  dataset = data.load(args.dataset, args.data, stats='data')
  dataset = dataset.whitened(args.zca) if args.zca else dataset
  with jax.enable_x64(args.x64):
    curves = [curve(dataset, args, seed) for seed in args.seeds]
  for step, values in zip(args.at, zip(*curves, strict=True), strict=True):
    print(f'step {step}: {np.mean(values):.1f} +- {np.std(values):.1f} %')


if __name__ == '__main__':
  main()
