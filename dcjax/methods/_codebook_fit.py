"""A codebook's start from real images instead of a generator's samples."""

import functools

import jax
import jax.numpy as jnp
import optax

from dcjax import formations
from dcjax.base import Array, Formation, Key, Params
from dcjax.utils import check_at_least


def fit_codebook(
  formation: Formation,
  params: Params,
  images: Array,
  key: Key,
  *,
  steps: int = 300,
  codes_learning_rate: float = 0.01,
  generator_learning_rate: float = 0.002,
  codes_per_step: int = 10,
) -> Params:
  """Fits codes, projection and generator to images by mean squared error.

  Image n of class c is what code n and embedding c decode to: generative latent
  optimisation (Bojanowski et al., 2018) with codes that classes share. Not in
  the condensation paper, whose codes start at random: a small generator trained
  for minutes tells classes apart but hardly codes, and condensation then starts
  from, and stays with, one image of each class.

  Adam with cosine rates; embeddings stay, BatchNorm's statistics are those of a
  step's images, and in the end measured.

  Args:
    formation: a `formations.codebook`.
    params: its numbers, at best of a pretrained generator.
    images: `[C, N, H, W, D]` in the value range of the formation.
    key: consumed.
    steps: each of `codes_per_step` codes of all classes.
    codes_learning_rate: at the start.
    generator_learning_rate: at the start, of generator and projection.
    codes_per_step: at most N are used.

  Returns:
    New params.

  Raises:
    ValueError: if `steps` or `codes_per_step` is below 1, or the images are not
      those of the codebook.

  Example:
    >>> formation = formations.codebook(10, image_shape, embedding_dim=4)
    >>> params = formation.init(key, real_images)
    >>> params = fit_codebook(formation, params, real_images, key)
  """
  check_at_least('steps', steps, 1)
  check_at_least('codes_per_step', codes_per_step, 1)
  wanted = (formation.spec['num_classes'], len(params['codes']))
  if images.shape[:2] != wanted:
    raise ValueError(
      f'images have shape {tuple(images.shape)}; must be [C, N, H, W, D] with '
      f'C, N = {wanted}'
    )
  size = min(codes_per_step, wanted[1])

  def falling(rate):
    return optax.adam(optax.cosine_decay_schedule(rate, steps))

  optimizer = optax.multi_transform(
    {
      'codes': falling(codes_learning_rate),
      'generator': falling(generator_learning_rate),
    },
    {'codes': 'codes', 'generator': 'generator'},
  )
  fit = functools.partial(_fit, formation, optimizer, size)
  return jax.jit(fit)(params, images, jax.random.split(key, steps))


def _fit(formation, optimizer, size, params, images, keys):
  classes = jnp.arange(images.shape[0])
  moving = {name: params[name] for name in ('codes', 'generator')}

  def step(carry, key):
    moving, state = carry
    chosen = jax.random.permutation(key, images.shape[1])[:size]

    def loss_fn(moving):
      made = formations.decode_in_training(
        formation, {**params, **moving}, classes, moving['codes'][chosen]
      )
      return jnp.mean((made - images[:, chosen]) ** 2)

    gradient = jax.grad(loss_fn)(moving)
    updates, state = optimizer.update(gradient, state, moving)
    return (optax.apply_updates(moving, updates), state), None

  (moving, _), _ = jax.lax.scan(step, (moving, optimizer.init(moving)), keys)
  return formations.calibrate(formation, {**params, **moving})
