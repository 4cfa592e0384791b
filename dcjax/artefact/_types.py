"""The condensed data set as a value: stored numbers and how to read them."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dcjax.artefact import _checks, _decoded, _display
from dcjax.base import Batch
from dcjax.whitening import Zca

if TYPE_CHECKING:
  from dcjax.artefact._torch import CondensedDataset


@dataclasses.dataclass(frozen=True, eq=False)
class Artefact:
  """A condensed data set with everything needed to train on it.

  Construction checks every field and brings it to one form: arrays become
  NumPy arrays, sequences of numbers tuples, mappings plain JSON values. What
  `save` writes and `load` reads is therefore the same value.

  Example:
    artefact = Artefact(
      params=params, spec=formation.spec, mean=data.mean, std=data.std,
      class_names=data.class_names)

  Attributes:
    params: the formation's numbers, a nested dict of arrays such as
      `{'images': [C, N, H, W, D], 'decoder': {...}}`; images unnormalised.
    spec: name and options of the formation (`Formation.spec`).
    mean: per channel, length D; subtracted before the images enter a network.
    std: per channel, length D; what the centred images are divided by.
    class_names: length C, in the order of the class axis.
    labels: float32 `[C, M, K]`, one label per decoded image in decoding order;
      None: the formation's own labels, in general the class (hard labels). They
      are probabilities unless the spec says `'labels': 'centred'`, for squared
      error, or `'nonnegative'`, for a cross-entropy whose weights are their
      sums.
    value_range: lowest and highest value of an image; None: unbounded.
    label_regime: how the images are labelled: 'hard', 'one soft label per
      image', 'stored soft labels per crop' or 'online teacher'.
    protocol: how to train and evaluate on the set (network, epochs, ...).
    provenance: where it comes from. `experiments/run.py` records method, data
      set, ipc, seed, config (without paths of the machine), the options of
      spectrograms, the form of whitening, and versions; nothing that differs
      between two runs of the same settings, such as times.
    zca: the whitening under which the images were condensed: what test images
      need (`whitening.apply`) before they are normalised, and what turns the
      decoded images back for viewing (`whitening.invert`). None: images are
      not whitened.
    decoded_sha256: of a codebook that was loaded: the SHA-256 of its images
      (float32, little-endian, `[C, N, H, W, D]`) when it was saved, which every
      view of them is checked against. None: nothing is checked. Not an
      argument; what `dataclasses.replace` makes has none.
    results: accuracies of the run that the artefact was loaded from, by kind
      and name: 'evaluations' of networks and 'own' of the method's own test,
      each a dict with 'last_mean' and 'last_std'. None where no `results.json`
      of this very file lies beside it. Not an argument, and not saved.

  Raises:
    ValueError: a field has a wrong type, shape, dtype or value; the message
      names it.
  """

  params: Mapping[str, Any]
  spec: Mapping[str, Any]
  mean: tuple[float, ...]
  std: tuple[float, ...]
  class_names: tuple[str, ...]
  labels: np.ndarray | None = None
  value_range: tuple[float | None, float | None] = (0.0, 1.0)
  label_regime: str = 'hard'
  protocol: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  zca: Zca | None = None
  decoded_sha256: str | None = dataclasses.field(default=None, init=False)
  results: Mapping[str, Any] | None = dataclasses.field(
    default=None, init=False
  )

  def __post_init__(self):
    for name, value in _checks.checked_fields(vars(self)).items():
      object.__setattr__(self, name, value)

  def __repr__(self) -> str:
    return _display.one_line(self)

  def _repr_html_(self) -> str:
    """What a notebook shows: gallery, size, accuracy, protocol."""
    return _display.page(self)

  @property
  def step_size(self) -> np.ndarray | None:
    """Learned rate of training on the images, float32 `[]` or one a step.

    None if the set stores none. Decoded with NumPy alone.
    """
    return _decoded.step_size(self)

  @functools.cached_property
  def _generated(self) -> np.ndarray:
    """Images `[C, N, H, W, D]` of a codebook: generated once, kept."""
    return _decoded.generated(self)

  def batch(self) -> Batch:
    """Decodes with JAX; a codebook as `numpy` does.

    Returns:
      A `Batch` with unnormalised images `[C, M, H, W, D]` and labels
      `[C, M, K]`; `weights` is None.

    Raises:
      ArtefactError: as `numpy`.
    """
    return _decoded.batch(self)

  def numpy(
    self, normalised: bool = False, *, label_form: str | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Decodes with NumPy, the formation `learnable` with JAX.

    A codebook decodes to the same bytes on every machine, see
    `formations.decode_exactly`; `batch`, `jax` and `torch` give the same
    images. They are made once and kept as long as the artefact.

    Args:
      normalised: subtract `mean` and divide by `std`: ready to train on.
      label_form: `'probabilities'`, as cross-entropy takes them, or
        `'centred'`, one-hot minus 1 / K; None: as they are stored, which warns
        if that is centred. Nonnegative labels stay as they are then, which is
        what evaluations train with; as probabilities they sum to 1.

    Returns:
      images: float32 `[C * M, H, W, D]`, class by class.
      labels: int32 `[C * M]` class indices if hard, else float32 `[C * M, K]`.

    Raises:
      ArtefactError: the images of a codebook are not those that it had when it
        was saved.
    """
    return _decoded.numpy_arrays(self, normalised, label_form)

  def jax(
    self, normalised: bool = False, *, label_form: str | None = None
  ) -> Batch:
    """Decodes into one mixed batch on the default device.

    Args:
      normalised: subtract `mean` and divide by `std`: ready to train on.
      label_form: see `numpy`.

    Returns:
      A `Batch` with images `[C * M, H, W, D]`, class by class, and labels
      `[C * M, K]` (one-hot if hard); `weights` is None.
    """
    return _decoded.mixed_batch(self, normalised, label_form)

  def torch(
    self,
    normalised: bool = False,
    transform: Callable | None = None,
    target_transform: Callable | None = None,
    *,
    label_form: str | None = None,
  ) -> 'CondensedDataset':
    """Decodes into a map-style PyTorch data set.

    It has torchvision's attributes `classes`, `class_to_idx`, `targets`,
    `transform` and `target_transform`. An element is a float32 image
    `[D, H, W]` and its label: an int if hard, else float32 `[K]`.

    Args:
      normalised: subtract `mean` and divide by `std`. Leave it out if
        `transform` normalises.
      transform: applied to each image.
      target_transform: applied to each label.
      label_form: see `numpy`.

    Raises:
      ImportError: PyTorch is not installed.
    """
    return _decoded.torch_dataset(
      self, normalised, transform, target_transform, label_form
    )
