"""Learned labels beside any formation's images."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dcjax import base
from dcjax.utils import check_choice

LABEL_STARTS = ('uniform', 'hard')
# How labels are stored, and those of them that a spec says beside its images.
LABEL_FORMS = ('probabilities', 'nonnegative', 'logits', 'centred')
SAID_FORMS = ('probabilities', 'nonnegative', 'centred')

# Of the own class in hard labels stored as logits: 0.9996 of ten classes.
_HARD_LOGIT = 10.0


def with_labels(
  formation: base.Formation,
  start: str = 'uniform',
  form: str = 'probabilities',
  *,
  scale: float = 1.0,
) -> base.Formation:
  """Stores one soft label for each decoded image, to be learned.

  Bohdal, Yang & Hospedales, "Flexible Dataset Distillation: Learn Labels
  Instead of Images" (2020). Images are stored and decoded as `formation` does;
  its labels are replaced by stored ones. `project` brings them back to
  probabilities as the paper's code does: clipped to [0, 1] and divided by their
  sum; a label without any positive entry becomes uniform.

  Regression (KIP, FRePo) learns labels around zero instead, which are free:
  `form='centred'` starts with 1 / K less in every entry and projects nothing.

  The `spec` is the inner formation's: an artefact stores labels on their own,
  so that what it holds decodes without this function. It stores the decoded
  ones, which differ from the params if these are logits. Those that are no
  probabilities are said there, as `'labels': 'centred'` or `'nonnegative'`.

  Args:
    formation: stored numbers -> images.
    start: `'uniform'` (1 / K for each class, as in the paper) or `'hard'` (the
      labels that `formation` decodes).
    form: what is stored: `'probabilities'`; `'nonnegative'` numbers, which
      `project` clips at 0 and nothing normalises (RaT-BPTT), so that their sum
      is the weight of an image in cross-entropy; or `'logits'`, whose softmax
      the labels are (DATM; hard labels are 10 for the class, else 0); or
      `'centred'`.
    scale: of the start of centred labels; FRePo divides by `sqrt(K / 10)`.

  Returns:
    A formation whose params are those of `formation` and `'labels': [C, M, K]`,
    M decoded images of each class.

  Raises:
    ValueError: if `start` or `form` is unknown, or others than centred ones are
      to be scaled; when decoding, if the labels do not belong to the images.

  Example:
    >>> formation = with_labels(identity())
    >>> params = formation.init(key, real_images)  # images and labels
  """
  check_choice('start', start, LABEL_STARTS)
  check_choice('form', form, LABEL_FORMS)
  centred = form == 'centred'
  if not centred and scale != 1:
    raise ValueError(f'scale {scale!r}: only centred labels have one')

  def init(key: base.Key, images: base.Array) -> base.Params:
    params = formation.init(key, images)
    # Only labels are asked for: the compiled decode makes no images.
    labels = jax.jit(lambda p: formation.decode(p).labels)(params)
    labels = labels.astype(jnp.promote_types(labels.dtype, images.dtype))
    if start == 'uniform':
      labels = jnp.full_like(labels, 1 / labels.shape[-1])
    if centred:
      labels = scale * (labels - 1 / labels.shape[-1])
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

  def finish(params):
    return params | formation.finish(_without_labels(params))

  spec = formation.spec
  return formation._replace(
    init=init,
    decode=decode,
    project=project,
    sample=None,  # Labels belong to decoded images.
    by_class=False,
    finish=formation.finish and finish,
    spec=saying_labels(spec, form) if form in SAID_FORMS[1:] else spec,
  )


def label_form(formation: base.Formation | Mapping[str, Any]) -> str:
  """How a regression takes the labels of a formation, or of its spec.

  Returns:
    `'centred'` if they are; else `'probabilities'`, which 1 / K is subtracted
    from: hard labels are, too, and `'nonnegative'` ones are taken like these.
  """
  spec = getattr(formation, 'spec', formation)
  return 'centred' if spec.get('labels') == 'centred' else 'probabilities'


def saying_labels(spec: Mapping[str, Any], form: str) -> dict[str, Any]:
  """Returns the spec with the form of the labels beside it written in it.

  Raises:
    ValueError: if the form is unknown.
  """
  check_choice('labels', form, SAID_FORMS)
  return {**spec, 'labels': form}


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
