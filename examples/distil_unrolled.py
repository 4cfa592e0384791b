"""DD: images that a network should see in a few steps, made and measured.

python examples/distil_unrolled.py --data mnist --folder data \
  --initialisation known --steps 1 --passes 3
"""

import argparse
import pathlib
import pickle
import time

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import augment, data, formations, methods, networks, objectives
from dcjax.inner import InnerData
from dcjax.training import in_batches

PIECE = 59  # image steps in a period; a pass over MNIST in batches of 1020


def flags():
  """The command line; defaults are those of Wang et al. (2018)."""
  parser = argparse.ArgumentParser(description=__doc__)
  for name, default in (
    ('data', 'mnist'),
    ('folder', 'data'),
    ('initialisation', 'random'),
    ('network', 'lenet'),
    ('state', None),  # file to save to and go on from
    ('steps', 10),
    ('passes', 3),
    ('epochs', 400),
    ('batch', 102),  # real images of each class
    ('seed', 0),
  ):
    kind = int if isinstance(default, int) else str
    parser.add_argument(f'--{name}', type=kind, default=default)
  return parser.parse_args()


def tester(network, dataset, unroll, normalise):
  """Returns `(variables, batch) -> accuracy` after training on the batch."""
  images = normalise(None, jnp.asarray(dataset.test_images) / dataset.scale)

  def accuracy(variables, batch):
    key = jax.random.key(0)  # nothing of this training is random
    trained = objectives.train_on(network, variables, batch, key, unroll)

    def predict(part):
      return jnp.argmax(network.apply(trained, part, False)[0].logits, -1)

    return jnp.mean(in_batches(predict, images) == dataset.test_labels)

  return jax.jit(accuracy)


def main():
  """Distils, reporting accuracy and seconds as it goes."""
  args = flags()
  dataset = data.load(args.data, args.folder)
  shape, classes = dataset.image_shape, dataset.num_classes
  normalise = augment.normalise(dataset.mean, dataset.std)
  network = networks.build({'name': args.network}, shape, classes)
  network = networks.drawn_as(network, 'xavier')
  unroll = methods.dd_unroll(args.steps, args.passes, normalise=normalise)
  plain = formations.identity(value_range=(None, None))
  sizes = [0.02] * unroll.steps
  formation = formations.with_step_size(plain, sizes, 'softplus')
  condenser = methods.dd(
    network,
    formation,
    dataset.counts,
    std=dataset.std,
    unroll=unroll,
    initialisation=args.initialisation,
    batch_real=args.batch,
    normalise=normalise,
    halve_after=max(1, args.epochs // 10),
    inner_steps=PIECE,
  )
  key, start_key = jax.random.split(jax.random.key(args.seed))
  noise = jax.random.normal(start_key, (classes, args.steps, *shape))
  images = jnp.asarray(dataset.mean) + jnp.asarray(dataset.std) * noise
  real = data.to_device(dataset.images, dataset.labels, dataset.scale)
  params = formation.init(start_key, images)
  state, seconds = condenser.init(key, params, InnerData(real)), 0.0
  file = pathlib.Path(args.state) if args.state else None
  if file is not None and file.exists():
    seconds, saved = pickle.loads(file.read_bytes())
    state = jax.tree.map(lambda _, leaf: jnp.asarray(leaf), state, saved)
  period = jax.jit(condenser.period)
  test = tester(network, dataset, unroll, normalise)
  pass_steps = -(-len(dataset.labels) // (args.batch * classes))
  pieces = args.epochs * pass_steps // PIECE
  for piece in range(int(state.step) // PIECE, pieces):
    begun = time.perf_counter()
    state, metrics = jax.block_until_ready(period(key, state, InnerData(real)))
    seconds += time.perf_counter() - begun
    if piece % 10 == 9 or piece == pieces - 1:
      starts = [state.inner.variables]
      if args.initialisation == 'random':
        keys = jax.random.split(jax.random.key(1000 + args.seed), 20)
        starts = map(network.init, keys)
      batch = formation.decode(state.params)
      found = 100 * np.array([test(start, batch) for start in starts])
      print(
        f'step {int(state.step)}: loss {metrics["loss"].mean():.4f}, test '
        f'{found.mean():.2f} +- {found.std():.2f} %, {seconds:.0f} s',
        flush=True,
      )
      if file is not None:
        file.write_bytes(pickle.dumps((seconds, jax.device_get(state))))


if __name__ == '__main__':
  main()
