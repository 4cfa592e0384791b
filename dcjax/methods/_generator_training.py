"""Pretraining of a codebook's generator as a conditional GAN."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax import formations
from dcjax.base import Array, Formation, Key, Metrics, Params, PyTree
from dcjax.data import sampling
from dcjax.networks import Discriminator, image_discriminator
from dcjax.utils import check_at_least

_METRICS = (
  'generator_loss',
  'critic_loss',
  'wasserstein_distance',
  'gradient_penalty',
  'class_accuracy',
)


class GanState(NamedTuple):
  """A generator and its critic in training.

  Attributes:
    params: of the codebook; its codes are not trained.
    opt_state: of the generator.
    critic: weights of the critic.
    critic_opt_state: of the critic.
    walk: where the walk through the real data stands.
    step: `[]` int32, steps made.
  """

  params: Params
  opt_state: PyTree
  critic: Params
  critic_opt_state: PyTree
  walk: sampling.ShuffleState
  step: Array


class GeneratorTraining(NamedTuple):
  """The training of a generator as two pure functions.

  Attributes:
    init: `(key, params) -> GanState`.
    run: `(key, state, data, num_steps) -> (GanState, metrics)`; `key` is the
      training's, steps fold it with their count, so that training in pieces
      equals training at once. `num_steps` may be traced; metrics are means.
  """

  init: Callable[[Key, Params], GanState]
  run: Callable[..., tuple[GanState, Metrics]]


class _Training(NamedTuple):
  """What a step is made of; see `generator_training`."""

  formation: Formation
  critic: Discriminator
  optimizer: optax.GradientTransformation
  walk: sampling.Shuffler
  whole: np.ndarray
  batch_size: int
  penalty: float
  class_weight: float
  critic_steps: int


def generator_training(
  formation: Formation,
  counts: np.ndarray,
  *,
  batch_size: int = 128,
  learning_rate: float = 1e-4,
  penalty: float = 10.0,
  class_weight: float = 1.0,
  critic_width: int = 64,
  critic_steps: int = 1,
) -> GeneratorTraining:
  """Trains a codebook's generator to give images like the real ones.

  The condensation paper says that the generator is pretrained on the data set
  and no more. This is the recipe of DiM (Wang et al., 2023): Wasserstein GAN
  with gradient penalty (Gulrajani et al., 2017) and an auxiliary classifier
  (Odena et al., 2017), Adam with betas 0 and 0.9, one step of the generator and
  one of the critic in turn, fresh normal codes and random classes. The critic
  sees pixels in [-1, 1]; BatchNorm takes the statistics of the batch, and
  tracks them.

  Args:
    formation: a `formations.codebook`.
    counts: `[C]` real images of each class.
    batch_size: of real and of generated images.
    learning_rate: of both.
    penalty: of squared distances of gradient norms from 1.
    class_weight: of the classifier's cross-entropy, in both losses.
    critic_width: see `networks.image_discriminator`.
    critic_steps: of the critic after one of the generator, each with new real
      images. A critic that cannot keep up lets the generator forget its codes:
      in short trainings, use 5 (Gulrajani et al.).

  Raises:
    ValueError: if an option is out of range.

  Example:
    >>> formation = formations.codebook(10, image_shape, embedding_dim=4)
    >>> made = generator_training(formation, dataset.counts)
    >>> state = made.init(key, formation.init(key, real_images))
    >>> state, metrics = jax.jit(made.run)(key, state, data.real, 1000)
    >>> params = finished_generator(formation, state, key)
  """
  check_at_least('batch_size', batch_size, 1)
  check_at_least('critic_steps', critic_steps, 1)
  check_at_least('penalty', penalty, 0)
  check_at_least('class_weight', class_weight, 0)
  spec, total = formation.spec, int(np.sum(counts))
  training = _Training(
    formation,
    image_discriminator(
      spec['image_shape'], spec['num_classes'], width=critic_width
    ),
    optax.adam(learning_rate, b1=0.0, b2=0.9),
    sampling.shuffler(total, batch_size),
    np.asarray([total], np.int32),
    min(batch_size, total),
    penalty,
    class_weight,
    critic_steps,
  )

  def run(key, state, data, num_steps):
    zeros = {name: jnp.zeros(()) for name in _METRICS}

    def body(_, carry):
      state, total = carry
      state, metrics = _step(training, key, state, data)
      return state, jax.tree.map(jnp.add, total, metrics)

    state, sums = jax.lax.fori_loop(0, num_steps, body, (state, zeros))
    return state, jax.tree.map(lambda s: s / jnp.maximum(num_steps, 1), sums)

  return GeneratorTraining(_init_of(training), run)


def finished_generator(
  formation: Formation, state: GanState, key: Key, most: int = 512
) -> Params:
  """The codebook of a trained generator, its statistics measured anew.

  Args:
    formation: the codebook.
    state: at the end.
    key: draws normal codes, on which the statistics are measured.
    most: images that are looked at.

  Returns:
    Params whose codes are those of the start.
  """
  shape = (most, formation.spec['codes_dim'])
  codes = formations.draw_codes(key, shape)
  many = formations.calibrate(formation, {**state.params, 'codes': codes}, most)
  return {**many, 'codes': state.params['codes']}


def _init_of(training):
  def init(key, params):
    critic_key, walk_key = jax.random.split(key)
    critic = training.critic.init(critic_key)
    return GanState(
      params,
      training.optimizer.init(params['generator']),
      critic,
      training.optimizer.init(critic),
      training.walk.init(walk_key, jnp.asarray(training.whole)),
      jnp.zeros((), jnp.int32),
    )

  return init


def _step(training, key, state, data):
  """One step of the generator, then those of the critic."""
  keys = jax.random.split(jax.random.fold_in(key, state.step), 3)
  state = state._replace(step=state.step + 1)
  state, fake, metrics = _generator_step(training, keys[:2], state)

  def on_new_images(state, key):
    walk_key, own_key = jax.random.split(key)
    walk, positions, _ = training.walk.next(
      walk_key, jnp.asarray(training.whole), state.walk
    )
    real = _scaled(training, sampling.fetch(data, positions[0]))
    labels = data.labels[positions[0]]
    state = state._replace(walk=walk)
    return _critic_step(training, own_key, state, real, labels, fake)

  state, more = jax.lax.scan(
    on_new_images, state, jax.random.split(keys[2], training.critic_steps)
  )
  return state, metrics | jax.tree.map(jnp.mean, more)


def _scaled(training, images):
  """Images of the value range to [-1, 1]."""
  low, high = training.formation.spec['value_range']
  return 2 * (images - low) / (high - low) - 1


def _generator_step(training, keys, state):
  spec, size = training.formation.spec, training.batch_size
  codes = formations.draw_codes(keys[0], (size, spec['codes_dim']))
  classes = jax.random.randint(keys[1], (size,), 0, spec['num_classes'])

  def loss_fn(generator):
    params = {**state.params, 'generator': generator}
    images, statistics = formations.generate_in_training(
      training.formation, params, classes, codes
    )
    fake = _scaled(training, images)
    scores, logits = training.critic.apply(state.critic, fake)
    loss = -jnp.mean(scores)
    loss += training.class_weight * _cross_entropy(logits, classes)
    return loss, (fake, statistics)

  (loss, (fake, statistics)), gradient = jax.value_and_grad(
    loss_fn, has_aux=True
  )(state.params['generator'])
  generator = state.params['generator']
  updates, opt_state = training.optimizer.update(
    gradient, state.opt_state, generator
  )
  params = {
    **state.params,
    'generator': optax.apply_updates(generator, updates),
    'statistics': statistics,
  }
  state = state._replace(params=params, opt_state=opt_state)
  return state, jax.lax.stop_gradient(fake), {'generator_loss': loss}


def _critic_step(training, key, state, real, labels, fake):
  def loss_fn(critic):
    on_real, logits = training.critic.apply(critic, real)
    on_fake, _ = training.critic.apply(critic, fake)
    distance = jnp.mean(on_real) - jnp.mean(on_fake)
    steepness = gradient_penalty(training.critic, critic, key, real, fake)
    classified = _cross_entropy(logits, labels)
    loss = training.penalty * steepness + training.class_weight * classified
    right = jnp.mean(jnp.argmax(logits, axis=-1) == labels)
    metrics = {
      'wasserstein_distance': distance,
      'gradient_penalty': steepness,
      'class_accuracy': right,
    }
    return loss - distance, metrics

  (loss, metrics), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
    state.critic
  )
  updates, opt_state = training.optimizer.update(
    gradient, state.critic_opt_state, state.critic
  )
  state = state._replace(
    critic=optax.apply_updates(state.critic, updates),
    critic_opt_state=opt_state,
  )
  return state, {'critic_loss': loss, **metrics}


def gradient_penalty(
  critic: Discriminator, weights: Params, key: Key, real: Array, fake: Array
) -> Array:
  """Mean squared distance of the critic's slopes from 1 (WGAN-GP).

  Gulrajani et al. (2017), equation 3: slopes in random places on the lines
  between pairs of a real and a generated image.

  Args:
    critic: `networks.image_discriminator`.
    weights: of the critic.
    key: consumed.
    real: `[B, H, W, D]`.
    fake: `[B, H, W, D]`.

  Returns:
    `[]`.
  """
  share = jax.random.uniform(key, (real.shape[0], 1, 1, 1))
  between = share * real + (1 - share) * fake
  # Images do not see each other, so one gradient holds all slopes.
  slopes = jax.grad(lambda x: jnp.sum(critic.apply(weights, x)[0]))(between)
  norms = jnp.sqrt(jnp.sum(slopes**2, axis=(1, 2, 3)) + 1e-12)
  return jnp.mean((norms - 1) ** 2)


def _cross_entropy(logits, labels):
  return jnp.mean(
    optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  )
