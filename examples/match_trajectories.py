"""MTT: experts, images that lead where they went, and networks that learn.

python examples/match_trajectories.py --data fashion_mnist --folder data
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import augment, data, evaluation, formations, methods, networks
from dcjax.inner import InnerData
from dcjax.protocols import at_step_size, dm_protocol
from dcjax.trajectories import train_experts


def flags():
  """The command line."""
  parser = argparse.ArgumentParser(description=__doc__)
  for name, default in (
    ('data', 'fashion_mnist'),
    ('folder', 'data'),
    ('ipc', 1),
    ('width', 32),
    ('experts', 10),
    ('starts', 2),  # epochs that segments start from
    ('steps', 20),  # on the set, for each segment
    ('rate', 100.0),  # of the images
    ('iterations', 500),
    ('epochs', 300),  # of test networks
    ('seed', 0),
  ):
    parser.add_argument(f'--{name}', type=type(default), default=default)
  return parser.parse_args()


def test(args, network, dataset, treat, batch):
  """Accuracies of three networks, trained at the set's own step size."""
  protocol = at_step_size(dm_protocol(args.epochs), batch.step_size)
  evaluator = evaluation.evaluator(
    network,
    evaluation.feed(protocol, augment=treat),
    protocol=protocol,
    normalise=augment.normalise(dataset.mean, dataset.std),
    scale=dataset.scale,
  )
  images = batch.images.reshape(-1, *dataset.image_shape)
  labels = batch.labels.reshape(len(images), -1)
  students = evaluation.training_set(images, labels, dataset.num_classes)
  key = jax.random.key(2000 + args.seed)
  tests = (dataset.test_images, dataset.test_labels)
  result = evaluation.evaluate(evaluator, students, tests, key, num_seeds=3)
  last = 100 * result.last
  return f'{last.mean():.1f} +- {last.std(ddof=1):.1f}'


def main():
  """Trains experts, condenses, and tests before and after."""
  args, begun = flags(), time.perf_counter()
  dataset = data.load(args.data, args.folder)
  normalise = augment.normalise(dataset.mean, dataset.std)
  strategy = augment.dsa_strategies(args.data)
  siamese = augment.sequence(strategy['match'], single=strategy['single'])
  treat = augment.chain(normalise, siamese)
  network = networks.convnet(
    dataset.image_shape, dataset.num_classes, width=args.width
  )
  real = data.to_device(dataset.images, dataset.labels, dataset.scale)
  epochs = args.starts + 1  # segments of two epochs
  static = ('experts', 'epochs', 'augment')
  train = jax.jit(train_experts, static_argnums=0, static_argnames=static)
  key = jax.random.key(1000 + args.seed)
  many = {'experts': args.experts, 'epochs': epochs}
  experts = train(network, real, key, **many, augment=treat)
  inner = InnerData(real, experts=experts)
  formation = formations.with_step_size(
    formations.identity(value_range=(None, None)), 0.01
  )
  condenser = methods.mtt(
    network,
    formation,
    std=dataset.std,
    steps=args.steps,
    learning_rate=args.rate,
    step_size_learning_rate=1e-5,
    starts=methods.Starts(last_start=args.starts),
    augment=treat,
    inner_steps=25,
  )
  key = jax.random.key(args.seed)
  of = [dataset.class_images(c)[: args.ipc] for c in range(len(dataset.counts))]
  images = jnp.asarray(np.stack(of), jnp.float32) / dataset.scale
  params = formation.init(key, images)
  print('start:', test(args, network, dataset, treat, formation.decode(params)))
  state = condenser.init(key, params, inner)
  period = jax.jit(condenser.period)
  while int(state.step) < args.iterations:
    state, metrics = period(key, state, inner)
    loss, seconds = metrics['loss'].mean(), time.perf_counter() - begun
    print(f'{state.step}: loss {loss:.3f}, {seconds:.0f} s', flush=True)
  batch = formation.decode(state.params)
  print('condensed:', test(args, network, dataset, treat, batch))


if __name__ == '__main__':
  main()
