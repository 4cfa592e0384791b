"""`dcjax.match` in a plain training script: ten images that replace digits.

python examples/match_gradient.py [STEPS]
"""

import sys

import jax
import jax.numpy as jnp
import optax

from dcjax import Batch, augment, data, match, networks, objectives

digits = data.load('digits', size=16)
real = jnp.stack([digits.class_images(c)[:64] for c in range(10)]) / 255
labels = jnp.eye(10)[:, None]  # [C, N, K] with one image a class
real = Batch(real, jnp.broadcast_to(labels, (10, 64, 10)))
network = networks.convnet((16, 16, 1), 10, width=16, depth=2)
objective = objectives.gradient_matching('cosine', tensors='weights')
treat = augment.normalise(digits.mean, digits.std)
optimizer = optax.adam(0.05)


def loss(images, key):
  variables, fake = network.init(key), Batch(images, labels)
  return match(
    network, variables, real, fake, key, objective=objective, augment=treat
  )[0]


@jax.jit
def step(images, state, key):
  value, gradient = jax.value_and_grad(loss)(images, key)
  updates, state = optimizer.update(gradient, state)
  return jnp.clip(optax.apply_updates(images, updates), 0, 1), state, value


images = jax.random.uniform(jax.random.key(0), (10, 1, 16, 16, 1))
state = optimizer.init(images)
for number in range(int(sys.argv[1]) if len(sys.argv) > 1 else 60):
  images, state, value = step(images, state, jax.random.key(number))
  print(f'step {number}: loss {value:.3f}')
