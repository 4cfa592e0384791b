"""The glossary: every pytree and callable type that dcjax's parts exchange.

Axis legend, used in every shape of this package:

  C  classes               N  images of one class (stored, decoded or real)
  H  image rows            W  image columns          D  image channels
  K  label dimension       E  networks (ensemble)    T  steps
  F  features              B  images of a batch that mixes classes

Images are channels-last and in [0, 1] (spectrograms: any range), not
normalised; normalisation happens just before augmentation.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import jax
import numpy as np

Array = jax.Array
Key = jax.Array
PyTree: TypeAlias = (
  Array
  | np.ndarray
  | np.generic
  | float
  | Iterable['PyTree']
  | Mapping[Any, 'PyTree']
)
Params = Mapping[str, PyTree]
Metrics = dict[str, Array]

# (key, images [N, H, W, D]) -> images [N, H, W, D]. The key alone decides the
# draw, so the same key treats two sets of images alike (siamese augmentation).
Augment = Callable[[Key, Array], Array]


class Batch(NamedTuple):
  """Images with labels; the class axis comes first, or is absent everywhere.

  Attributes:
    images: `[C, N, H, W, D]`, or `[N, H, W, D]` for one class or a mixed batch.
    labels: `[C, N, K]` probabilities (one-hot for hard labels), or `[N, K]`.
    weights: `[C, N]` in {0, 1}, or `[N]`: 0 marks padding in classes that hold
      fewer images than the batch. None means that every image counts.
    step_size: learned rate of gradient descent on these images: `[]`, or `[T]`
      of the T steps of an unrolled training. None for sets that learn none.
    classes: `[C]` int, which classes these are; None for all, in order.
    embeddings: `[C, F]` what tells the classes apart, where a formation stores
      that; else None.
  """

  images: Array
  labels: Array
  weights: Array | None = None
  step_size: Array | None = None
  classes: Array | None = None
  embeddings: Array | None = None


def mixed(batch: Batch) -> Batch:
  """Joins the class axis with the images: `[C, N, ...]` to `[C * N, ...]`."""
  images, labels, weights = (
    None if x is None else x.reshape(-1, *x.shape[2:])
    for x in (batch.images, batch.labels, batch.weights)
  )
  return Batch(images, labels, weights, batch.step_size)


class Variables(NamedTuple):
  """A network's numbers: what is trained, and what is only tracked.

  Attributes:
    params: pytree of trained arrays.
    state: collections of running statistics; `{}` for networks without any.
  """

  params: Params
  state: Params


class Outputs(NamedTuple):
  """What a network says about images.

  Attributes:
    logits: `[B, K]`.
    embedding: `[B, F]`, the input of the classifier, or None if not exposed.
    taps: block outputs `[B, h, w, channels]` in order, for feature matching.
    unpooled: the same before the block's pooling, where blocks end with one.
  """

  logits: Array
  embedding: Array | None = None
  taps: tuple[Array, ...] = ()
  unpooled: tuple[Array, ...] = ()


class Network(NamedTuple):
  """A network as two pure functions.

  Attributes:
    init: `key -> Variables`.
    apply: `(variables, images [B, H, W, D], train) -> (Outputs, state)`; images
      are normalised. `train` (a Python bool) selects batch statistics in
      BatchNorm and dropout; `state` is the updated running statistics.
    name: for reports and messages.
    independent: whether what it says in train mode about an image depends on
      that image alone, so that a batch may be taken in parts; None: found out,
      see `networks.images_are_independent`.
  """

  init: Callable[[Key], Variables]
  apply: Callable[[Variables, Array, bool], tuple[Outputs, PyTree]]
  name: str = 'network'
  independent: bool | None = None

  def __repr__(self) -> str:
    return f'<Network {self.name}>'


class Formation(NamedTuple):
  """Stored numbers and the pure function that turns them into images.

  Attributes:
    spec: name and options, JSON-able; what the artefact records.
    tiles: number of real images that `pack` puts into one stored image.
    pack: images `[C, N * tiles, H, W, D]` -> `[C, N, H, W, D]` (`mix` start).
    init: `(key, images [C, N, H, W, D]) -> params`, a dict of arrays.
    decode: `params -> Batch`, images `[C, M, H, W, D]`, labels `[C, M, C]`.
    project: `params -> params` within the valid range of stored values.
    stored_images: the entries of `params` that are images, in their units;
      methods that step images in normalised units leave the others alone.
    sample: `(params, key, most, classes) -> Batch`: at most `most` images of
      each class (of `classes [c]` alone, unless that is None) as a step of
      training makes them; None: they are drawn from the decoded ones.
    finish: `params -> params` at the end of a period, measures what training
      does not keep; None: nothing.
    by_class: whether images of a class come from its own entries of `params`
      alone, with hard labels: they may be decoded where the class is matched.
  """

  spec: Mapping[str, Any]
  tiles: int
  pack: Callable[[Array], Array]
  init: Callable[[Key, Array], Params]
  decode: Callable[[Params], Batch]
  project: Callable[[Params], Params]
  stored_images: tuple[str, ...] = ('images',)
  sample: Callable[[Params, Key, int, Array | None], Batch] | None = None
  finish: Callable[[Params], Params] | None = None
  by_class: bool = False


class ObjectiveFn(Protocol):
  """`(network, variables, target, synthetic, key) -> (loss [], metrics)`."""

  def __call__(
    self,
    network: Network,
    variables: Variables,
    target: PyTree,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]: ...


class Objective(NamedTuple):
  """What must agree between the target and the synthetic images.

  Attributes:
    loss: an `ObjectiveFn`. Images arrive normalised and augmented.
    joint: False: `loss` sees one class (`synthetic.images` is `[N, H, W, D]`)
      and is mapped over the class axis of target and synthetic batch; the sum
      over classes is the loss. True: `loss` sees all classes at once.
  """

  loss: ObjectiveFn
  joint: bool = False


class StatefulObjectiveFn(Protocol):
  """The loss of an objective that remembers.

  `(network, variables, target, synthetic, key, state) -> (loss [], (metrics,
  next state))`.
  """

  def __call__(
    self,
    network: Network,
    variables: Variables,
    target: PyTree,
    synthetic: Batch,
    key: Key,
    state: PyTree,
  ) -> tuple[Array, tuple[Metrics, PyTree]]: ...


class StatefulObjective(NamedTuple):
  """An objective that remembers earlier steps, for `condenser`; always joint.

  Attributes:
    init: `(key, synthetic, data) -> state`; of the synthetic batch it sees the
      shapes only.
    loss: a `StatefulObjectiveFn`.
    restart: `(state, synthetic) -> state`, when other images take the place of
      those so far; the shapes are those of the new ones. By default everything
      is remembered.
  """

  init: Callable[[Key, Batch, PyTree], PyTree]
  loss: StatefulObjectiveFn
  restart: Callable[[PyTree, Batch], PyTree] = lambda state, synthetic: state


class InTurns(NamedTuple):
  """What each of the networks that take turns has of its own.

  A network sees its own entry in place of the whole, wherever one stands in its
  variables, in the target or in the state of an objective.

  Attributes:
    each: an entry for each network, in their order.
  """

  each: tuple[PyTree, ...]
