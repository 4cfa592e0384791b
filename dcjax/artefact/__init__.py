"""Condensed data sets on disk: one `.npz` that NumPy alone opens.

  artefact = dcjax.artefact.load('condensed.npz')
  images, labels = artefact.numpy(normalised=True)

The file holds the stored numbers, the labels and, as JSON text, everything
needed to use them: formation, decoding steps, scale, normalisation, class
names, label regime, evaluation protocol and provenance.
"""

from dcjax.artefact._decoder import decoder_sha256, decoder_source
from dcjax.artefact._errors import ArtefactError
from dcjax.artefact._export import (
  export_ddranking,
  export_hub,
  export_images,
)
from dcjax.artefact._file import FORMAT, VERSION, load, save
from dcjax.artefact._foreign import load_any
from dcjax.artefact._idc import export_idc, import_idc
from dcjax.artefact._plain import export_plain, in_eight_bits
from dcjax.artefact._published import LAYOUTS, import_published
from dcjax.artefact._storage import codebook_bytes, storage
from dcjax.artefact._types import Artefact
from dcjax.files import replacing

__all__ = [
  'FORMAT',
  'LAYOUTS',
  'VERSION',
  'Artefact',
  'ArtefactError',
  'codebook_bytes',
  'decoder_sha256',
  'decoder_source',
  'export_ddranking',
  'export_hub',
  'export_idc',
  'export_images',
  'export_plain',
  'import_idc',
  'import_published',
  'in_eight_bits',
  'load',
  'load_any',
  'replacing',
  'save',
  'storage',
]
