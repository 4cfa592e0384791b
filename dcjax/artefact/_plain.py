"""An artefact in another form: decoded, or in eight bits."""

import dataclasses
import functools

import jax
import numpy as np

from dcjax.artefact import _decoded
from dcjax.artefact._types import Artefact


def export_plain(artefact: Artefact) -> Artefact:
  """Decodes once and stores the images themselves.

  For readers that shall not decode at all. A codebook decodes to the same bytes
  everywhere by itself; the formation `learnable` is decoded by JAX, whose sums
  may differ in their last bits between kinds of processors, and this fixes
  them.

  Args:
    artefact: of any formation.

  Returns:
    An artefact of formation `'identity'` with params `{'images': [C, M, H, W,
    D]}`, the same labels and description; `provenance['decoded_from']` is the
    spec of the formation that made the images.

  Example:
    artefact.save('plain.npz', export_plain(dcjax.load('condensed.npz')))
  """
  images, labels = _decoded.by_class(artefact)
  form = {k: v for k, v in artefact.spec.items() if k == 'labels'}
  return Artefact(
    params={'images': images},
    spec={
      'name': 'identity',
      'value_range': list(artefact.value_range),
      'padding': 0.5,
      **form,
    },
    mean=artefact.mean,
    std=artefact.std,
    class_names=artefact.class_names,
    labels=None if labels.ndim == 2 else labels,
    value_range=artefact.value_range,
    label_regime=artefact.label_regime,
    protocol=artefact.protocol,
    provenance={
      **artefact.provenance,
      'decoded_from': dict(artefact.spec),
    },
    zca=artefact.zca,
  )


def in_eight_bits(artefact: Artefact) -> Artefact:
  """Stores the images as whole numbers of eight bits: a quarter of the bytes.

  Each stored image gets a grid of 256 values from its lowest to its highest
  pixel, see `formations.quantised`, whose decoding every reader of artefacts
  knows.

  Args:
    artefact: of a formation that stores images, not quantised yet.

  Returns:
    The same set with packed images; the largest change of a pixel is half a
    step of its image's grid.

  Raises:
    ValueError: the formation stores no images, or is quantised already.

  Example:
    artefact.save('small.npz', in_eight_bits(dcjax.load('condensed.npz')))
  """
  from dcjax import formations

  formation = formations.quantised(8, formations.build(artefact.spec))
  pack = jax.jit(functools.partial(formations.as_stored, formation))
  params = pack(dict(artefact.params))
  return dataclasses.replace(
    artefact,
    params={n: np.asarray(v) for n, v in params.items()},
    spec=formations.stored_spec(formation, artefact.params),
  )
