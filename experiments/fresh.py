"""Evaluation on fresh samples of a generator: another protocol, labelled so.

DiM trains its networks on images that are generated anew for every batch, and
counts as ipc what decides the number of batches. Such a network sees up to
epochs times as many different images as one that trains on the fixed set.
"""

import time
from typing import Any

import builder
import evaluations
import jax
import jax.numpy as jnp

from dcjax import evaluation, formations
from dcjax.base import Batch

NAME = 'fresh'
_FOLD = 79


def run(parts: Any, keys: Any, params: Any, stop: Any) -> dict[str, Any]:
  """Trains networks on new codes in every batch; tests them as always.

  As many batches as the fixed set has; every image of a random class and code.

  Args:
    parts: a `builder.Run` whose formation is a codebook.
    keys: of the run.
    params: the codebook.
    stop: whether the run was asked to stop.

  Returns:
    What `evaluations.json` records.

  Raises:
    ValueError: if the formation is no codebook.
    Interrupted: if a stop is asked for; this evaluation is then lost.
  """
  name = parts.formation.spec['name']
  if name != 'codebook':
    raise ValueError(
      f'evaluation.fresh: formation {name!r} has no fresh samples; needs '
      "'codebook'"
    )
  began = time.monotonic()
  images = parts.dataset.num_classes * parts.config.ipc
  size = min(parts.protocol.batch_size, images)
  result = evaluations.train_and_test(
    NAME,
    _evaluator(parts, size),
    _training_set(parts, keys, params, images),
    keys['evaluate'],
    protocol=parts.protocol,
    seeds=parts.config.evaluation.seeds,
    stop=stop,
  )
  batches = parts.protocol.epochs * -(-images // size)
  return {
    **result.summary(),
    'images': batches * size,
    'network': parts.network.name,
    'epochs': parts.protocol.epochs,
    'label_regime': 'hard, fresh samples in every batch',
    'seconds': round(time.monotonic() - began, 3),
  }


def _training_set(parts, keys, params, images):
  # Only how many there are is looked at.
  blank = jnp.zeros((images, *parts.dataset.image_shape))
  labels = jnp.arange(images) % parts.dataset.num_classes
  data = evaluation.training_set(blank, labels, parts.dataset.num_classes)
  key = jax.random.fold_in(keys['evaluate'], _FOLD)
  teacher = (parts.formation.project(params), jax.random.key_data(key))
  return data._replace(teacher=teacher)


def _evaluator(parts, size):
  dataset = parts.dataset
  augment = builder.treatment(parts, 'evaluate', 'sample')
  kind = parts.config.matching.get('codes', 'learned')
  kind = 'gaussian' if kind == 'learned' else kind

  def draw(teacher, images, labels, step):
    del images, labels
    params, bits = teacher
    key = jax.random.fold_in(jax.random.wrap_key_data(bits), step)
    code_key, class_key, augment_key = jax.random.split(key, 3)
    codes = formations.draw_codes(
      code_key, (size, params['codes'].shape[1]), kind
    )
    classes = jax.random.randint(class_key, (size,), 0, dataset.num_classes)
    fresh = formations.decode_pairs(parts.formation, params, classes, codes)
    targets = jax.nn.one_hot(classes, dataset.num_classes)
    return Batch(augment(augment_key, fresh), targets)

  return evaluation.evaluator(
    parts.network,
    dataset.test_images,
    dataset.test_labels,
    protocol=parts.protocol,
    normalise=parts.normalise,
    scale=dataset.scale,
    draw=draw,
  )
