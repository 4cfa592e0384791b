"""Learned labels beside any formation's images."""

import jax
import jax.numpy as jnp

from dcjax import base
from dcjax.utils import check_choice

LABEL_STARTS = ('uniform', 'hard')
LABEL_FORMS = ('probabilities', 'nonnegative', 'logits')

# Of the own class in hard labels stored as logits: 0.9996 of ten classes.
_HARD_LOGIT = 10.0


def with_labels(
  formation: base.Formation,
  start: str = 'uniform',
  form: str = 'probabilities',
) -> base.Formation:
  """Stores one soft label for each decoded image, to be learned.

  Bohdal, Yang & Hospedales, "Flexible Dataset Distillation: Learn Labels
  Instead of Images" (2020). Images are stored and decoded as `formation` does;
  its labels are replaced by stored ones. `project` brings them back to
  probabilities as the paper's code does: clipped to [0, 1] and divided by their
  sum; a label without any positive entry becomes uniform.

  The `spec` is the inner formation's: an artefact stores labels on their own,
  so that what it holds decodes without this function. It stores the decoded
  ones, which differ from the params if these are logits.

  Args:
    formation: stored numbers -> images.
    start: `'uniform'` (1 / K for each class, as in the paper) or `'hard'` (the
      labels that `formation` decodes).
    form: what is stored: `'probabilities'`; `'nonnegative'` numbers, which
      `project` clips at 0 (RaT-BPTT); or `'logits'`, whose softmax the labels
      are (DATM). Hard labels as logits are 10 for the class, else 0.

  Returns:
    A formation whose params are those of `formation` and `'labels': [C, M, K]`,
    M decoded images of each class.

  Raises:
    ValueError: if `start` or `form` is unknown; when decoding, if the labels do
      not belong to the images.

  Example:
    >>> formation = with_labels(identity())
    >>> params = formation.init(key, images)  # {'images': ..., 'labels': ...}
  """
  check_choice('start', start, LABEL_STARTS)
  check_choice('form', form, LABEL_FORMS)

  def init(key: base.Key, images: base.Array) -> base.Params:
    params = formation.init(key, images)
    # Only labels are asked for: the compiled decode makes no images.
    labels = jax.jit(lambda p: formation.decode(p).labels)(params)
    if start == 'uniform':
      labels = jnp.full_like(labels, 1 / labels.shape[-1])
    if form == 'logits':
      labels = _HARD_LOGIT * (labels - labels.min(-1, keepdims=True))
    return {**params, 'labels': labels}

  def decode(params: base.Params) -> base.Batch:
    decoded = formation.decode(_without_labels(params))
    labels = params['labels']
    if labels.shape[:2] != decoded.images.shape[:2]:
      raise ValueError(
        f'labels have shape {labels.shape}: must be [C, M, K] with C, M = '
        f'{decoded.images.shape[:2]} of the decoded images'
      )
    if form == 'logits':
      labels = jax.nn.softmax(labels)
    return decoded._replace(labels=labels)

  def project(params: base.Params) -> base.Params:
    inner = formation.project(_without_labels(params))
    labels = params['labels']
    if form == 'probabilities':
      labels = as_probabilities(labels)
    elif form == 'nonnegative':
      labels = jnp.maximum(labels, 0)
    return {**inner, 'labels': labels}

  return formation._replace(init=init, decode=decode, project=project)


def as_probabilities(labels: base.Array) -> base.Array:
  """Clips labels `[..., K]` to [0, 1] and divides them by their sum.

  Returns:
    `[..., K]`, each sums to 1; uniform where nothing positive is left.
  """
  clipped = jnp.clip(labels, 0.0, 1.0)
  total = jnp.sum(clipped, axis=-1, keepdims=True)
  uniform = jnp.full_like(labels, 1 / labels.shape[-1])
  return jnp.where(total > 0, clipped / jnp.where(total > 0, total, 1), uniform)


def _without_labels(params: base.Params) -> base.Params:
  return {name: value for name, value in params.items() if name != 'labels'}
