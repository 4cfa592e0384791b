"""IDC on one's own arrays with one's own network, without the runner.

python examples/own_data.py
"""

import functools

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


def main(outer: int = 10, inner_steps: int = 20, epochs: int = 200):
  """Condenses, saves, loads and evaluates; returns two accuracies."""
  # Arrays: uint8 or float images [M, H, W] or [M, H, W, D], integer labels.
  digits = load_digits()
  images = (digits.images * 15).astype(np.uint8)
  dataset = data.from_arrays(images, digits.target, name='own digits')
  network = networks.from_linen(SmallNet(), dataset.image_shape)

  normalise = augment.normalise(dataset.mean, dataset.std)
  matched = augment.chain(normalise, augment.sequence('color_crop'))
  trained = augment.chain(
    normalise, augment.sequence('color_crop', sharing='sample')
  )
  formation = formations.uniform(FACTOR)
  condenser = methods.idc(
    network,
    formation,
    dataset.counts,
    learning_rate=0.01,
    distance='l1',
    match_augment=matched,
    train_augment=trained,
    inner_steps=inner_steps,
    network_batches=2,
  )

  # Start from real images; formations with several cells pack that many.
  cells = IPC * formation.cells
  real = np.stack([dataset.class_images(c)[:cells] for c in range(10)])
  real = jnp.asarray(real, jnp.float32) / dataset.scale
  start = formation.init(jax.random.key(0), formation.pack(real))
  on_device = data.to_device(dataset.images, dataset.labels, dataset.scale)
  inner_data = InnerData(on_device)

  key = jax.random.key(1)
  state = condenser.init(key, start, inner_data)
  period = jax.jit(condenser.period, donate_argnums=1)
  for number in range(outer):
    state, metrics = period(key, state, inner_data)
    print(f'outer {number}: loss {metrics["loss"].mean():.1f}')

  dcjax.save(
    'own_digits.npz',
    dcjax.Artefact(
      params=jax.tree.map(np.asarray, formation.project(state.params)),
      spec=formation.spec,
      mean=dataset.mean,
      std=dataset.std,
      class_names=dataset.class_names,
    ),
  )
  protocol = evaluation.idc_protocol(epochs)
  evaluator = evaluation.evaluator(
    network,
    dataset.test_images,
    dataset.test_labels,
    protocol=protocol,
    normalise=normalise,
    scale=dataset.scale,
    augment=trained,
  )
  test = functools.partial(
    evaluation.evaluate,
    evaluator,
    key=jax.random.key(2),
    protocol=protocol,
    num_seeds=2,
  )
  condensed = test(
    evaluation.training_set(*dcjax.load('own_digits.npz').numpy(), 10)
  )
  random = test(
    evaluation.training_set(
      real[:, :IPC].reshape(-1, *dataset.image_shape), np.arange(10), 10
    )
  )
  for name, result in (('condensed', condensed), ('real', random)):
    print(f'{name}: {100 * result.last.mean():.1f} %')
  return condensed.last.mean(), random.last.mean()


if __name__ == '__main__':
  main()
