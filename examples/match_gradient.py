"""`dcjax.match` in a plain training script: ten images that replace digits.

python examples/match_gradient.py
"""

import jax
import jax.numpy as jnp
import optax

import dcjax
from dcjax import augment, data, networks, objectives

dataset = data.load('digits', size=16)
real = jnp.stack([dataset.class_images(c)[:64] for c in range(10)]) / 255.0
eye = jnp.eye(10)[:, None]
real = dcjax.Batch(real, jnp.broadcast_to(eye, (10, 64, 10)))
network = networks.convnet((16, 16, 1), 10, width=16, depth=2)
objective = objectives.gradient_matching('cosine', tensors='weights')
treat = augment.normalise(dataset.mean, dataset.std)
optimizer = optax.adam(0.05)


def loss(images, variables, key):
  synthetic = dcjax.Batch(images, eye)
  return dcjax.match(
    network, variables, real, synthetic, key, objective=objective, augment=treat
  )


@jax.jit
def step(images, state, key):
  variables = network.init(key)  # a new random network for every step
  (value, _), gradient = jax.value_and_grad(loss, has_aux=True)(
    images, variables, key
  )
  updates, state = optimizer.update(gradient, state)
  return jnp.clip(optax.apply_updates(images, updates), 0, 1), state, value


images = jax.random.uniform(jax.random.key(0), (10, 1, 16, 16, 1))
state = optimizer.init(images)
for number in range(60):
  key = jax.random.key(number)
  images, state, value = step(images, state, key)
  if number % 10 == 0:
    print(f'step {number}: loss {value:.3f}')
