"""Batches of fresh samples of a codebook, as DiM trains networks on them."""

from collections.abc import Callable
from typing import Any

import jax

from dcjax import formations
from dcjax.base import Batch
from dcjax.runs import _build
from dcjax.runs._build import Built


def batches(built: Built, size: int) -> Callable[..., Any]:
  """Draws batches of random classes and codes, of `(params, key)`."""
  augment = _build.evaluation_augment(built)
  kind = built.config.method.get('codes', 'learned')
  kind = 'gaussian' if kind == 'learned' else kind
  classes_known = built.dataset.num_classes

  def next_fn(_, step, data):
    params, key = data
    code_key, class_key, augment_key = jax.random.split(
      jax.random.fold_in(key, step), 3
    )
    codes = formations.draw_codes(
      code_key, (size, params['codes'].shape[1]), kind
    )
    classes = jax.random.randint(class_key, (size,), 0, classes_known)
    fresh = formations.decode_pairs(built.formation, params, classes, codes)
    targets = jax.nn.one_hot(classes, classes_known)
    return step + 1, Batch(augment(augment_key, fresh), targets)

  return next_fn
