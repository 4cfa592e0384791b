"""IDC on one's own arrays with one's own network, without the runner.

python examples/own_data.py
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import dcjax
from dcjax import augment, data, evaluation, formations, methods, networks
from dcjax.inner import InnerData

IPC, FACTOR = 1, 1


class SmallNet(nn.Module):
  """Any module that maps images `[B, H, W, D]` to logits `[B, K]`."""

  @nn.compact
  def __call__(self, images, train=False):
    x = nn.relu(nn.Conv(16, (3, 3))(images))
    x = nn.avg_pool(x, (2, 2), (2, 2))
    x = nn.relu(nn.Conv(16, (3, 3))(x))
    return nn.Dense(10)(x.reshape(x.shape[0], -1))


def load() -> data.Dataset:
  """Arrays: uint8 or float images [M, H, W] or [M, H, W, D], integer labels."""
  digits = load_digits()
  images = (digits.images * 15).astype(np.uint8)
  return data.from_arrays(images, digits.target, name='own digits')


def condense(dataset, network, formation, real, outer, inner_steps):
  """Condenses with IDC and returns the stored numbers."""
  normalise = augment.normalise(dataset.mean, dataset.std)
  condenser = methods.idc(
    network,
    formation,
    dataset.counts,
    learning_rate=0.01,
    distance='l1',
    match_augment=augment.chain(normalise, augment.sequence('color_crop')),
    train_augment=_training_augment(dataset),
    inner_steps=inner_steps,
    network_batches=2,
  )
  start = formation.init(jax.random.key(0), formation.pack(real))
  on_device = data.to_device(dataset.images, dataset.labels, dataset.scale)
  inner_data = InnerData(on_device)

  key = jax.random.key(1)
  state = condenser.init(key, start, inner_data)
  period = jax.jit(condenser.period, donate_argnums=1)
  for number in range(outer):
    state, metrics = period(key, state, inner_data)
    print(f'outer {number}: loss {metrics["loss"].mean():.1f}')
  return formation.project(state.params)


def evaluate(dataset, network, sets, epochs):
  """Trains two networks on each set of (images, labels); returns accuracies."""
  protocol = evaluation.idc_protocol(epochs)
  evaluator = evaluation.evaluator(
    network,
    dataset.test_images,
    dataset.test_labels,
    protocol=protocol,
    normalise=augment.normalise(dataset.mean, dataset.std),
    scale=dataset.scale,
    augment=_training_augment(dataset),
  )
  accuracies = []
  for name, (images, labels) in sets.items():
    result = evaluation.evaluate(
      evaluator,
      evaluation.training_set(images, labels, dataset.num_classes),
      jax.random.key(2),
      protocol=protocol,
      num_seeds=2,
    )
    print(f'{name}: {100 * result.last.mean():.1f} %')
    accuracies.append(result.last.mean())
  return accuracies


def _training_augment(dataset):
  return augment.chain(
    augment.normalise(dataset.mean, dataset.std),
    augment.sequence('color_crop', sharing='sample'),
  )


def main(outer: int = 10, inner_steps: int = 20, epochs: int = 200):
  """Condenses, saves, loads and evaluates; returns two accuracies."""
  dataset = load()
  network = networks.from_linen(SmallNet(), dataset.image_shape)
  formation = formations.uniform(FACTOR)
  # Start from real images; formations with several cells pack that many.
  cells = IPC * formation.cells
  real = np.stack([dataset.class_images(c)[:cells] for c in range(10)])
  real = jnp.asarray(real, jnp.float32) / dataset.scale

  params = condense(dataset, network, formation, real, outer, inner_steps)
  condensed = dcjax.Artefact(
    params=jax.tree.map(np.asarray, params),
    spec=formation.spec,
    mean=dataset.mean,
    std=dataset.std,
    class_names=dataset.class_names,
  )
  dcjax.save('own_digits.npz', condensed)
  kept = real[:, :IPC].reshape(-1, *dataset.image_shape)
  sets = {
    'condensed': dcjax.load('own_digits.npz').numpy(),
    'real': (kept, np.repeat(np.arange(10), IPC)),
  }
  return evaluate(dataset, network, sets, epochs)


if __name__ == '__main__':
  main()
