"""Statistics of real images, of all and of each class, in one pass."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import networks
from dcjax.base import Array, Augment, Batch, Key, Network, Variables
from dcjax.data import sampling
from dcjax.statistics._moments import (
  LayerStatistics,
  Moments,
  Statistics,
  Targets,
  image_statistics,
  map_moments,
  pool,
)
from dcjax.statistics._observer import (
  check_observer,
  observed_layers,
  running_moments,
)
from dcjax.utils import check_at_least, check_choice

CLASS_VARIANCES = ('total', 'within')


class _Class(NamedTuple):
  """Averages over the images of each class so far, `[C, F]` each."""

  mean: Array
  within: Array  # mean variance of an image
  between: Array  # variance of the means of images


class Collected(NamedTuple):
  """One pass over the data so far.

  Attributes:
    seen: `[]` images.
    counts: `[C]` images of each class.
    whole: leaves `[F]`, batch statistics averaged by the size of the batch.
    classes: like `whole`, with averages `[C, F]`.
  """

  seen: Array
  counts: Array
  whole: Statistics
  classes: OrderedDict


class Collector(NamedTuple):
  """Statistics over batches, with their state made explicit.

  Attributes:
    init: `variables -> Collected`, of no image yet.
    update: `(state, variables, batch) -> state`; images `[B, H, W, D]`
      normalised, labels `[B, K]` one-hot, weights `[B]` or None. Pure.
    finish: `(state, variables) -> Targets`.
  """

  init: Callable[[Variables], Collected]
  update: Callable[[Collected, Variables, Batch], Collected]
  finish: Callable[[Collected, Variables], Targets]


def collector(
  network: Network,
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  layers: str = 'all',
  patch_size: int = 4,
  class_variance: str = 'total',
  batch_norm: str = 'running',
) -> Collector:
  """Prepares one pass of real images through an observer.

  Statistics of all images are averages of those of the batches, weighted by
  their size, as in G-VBSM (Shao et al., CVPR 2024). Those of a class (EDC, Shao
  et al., NeurIPS 2024, section 3.2) do not depend on how the images are cut
  into batches.

  Args:
    network: the observer.
    image_shape: `(H, W, D)` of the batches.
    num_classes: C.
    layers: which layers count: `'all'`, `'batch_norm'`, `'convolution'`.
    patch_size: 4 for images up to 64 pixels, 16 for ImageNet.
    class_variance: `'total'` (of all pixels of the class) or `'within'` (EDC's
      code: the mean variance within an image, which leaves out that the means
      of images differ, and so is always smaller).
    batch_norm: statistics of all images at BatchNorm layers: `'running'` (the
      layer's own) or `'measured'` (in this pass).

  Raises:
    ValueError: if an option is unknown, or the network has no such layer; when
      starting, if the observer does not fit the data (see `check_observer`);
      when finishing, if a class had no image.
  """
  check_choice('class_variance', class_variance, CLASS_VARIANCES)
  check_choice('batch_norm', batch_norm, ('running', 'measured'))
  check_at_least('patch_size', patch_size, 1)
  kinds = observed_layers(network, image_shape, layers)

  def measure(variables, images):
    inputs = networks.layer_inputs(network, variables, images)
    chosen = OrderedDict((name, inputs[name]) for name in kinds)
    return image_statistics(chosen, _patched(kinds), patch_size)

  def init(variables):
    check_observer(network, variables, image_shape, num_classes)
    return _empty(measure, variables, image_shape, num_classes)

  def update(state, variables, batch):
    return _merge(state, measure(variables, batch.images), batch)

  def finish(state, variables):
    missing = np.flatnonzero(np.asarray(state.counts) == 0)
    if missing.size:
      raise ValueError(
        f'class {missing[0]}: has no image; statistics need one at least'
      )
    whole = OrderedDict(state.whole)
    if batch_norm == 'running':
      whole |= {
        name: LayerStatistics(running_moments(variables, name), None)
        for name in kinds
        if name not in _patched(kinds)
      }
    return Targets(whole, _class_statistics(state.classes, class_variance))

  return Collector(init, update, finish)


def _patched(kinds):
  return {name for name, kind in kinds.items() if kind == 'convolution'}


def _empty(measure, variables, image_shape, num_classes):
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  shapes = jax.eval_shape(measure, variables, images)

  def zeros(moments, rows):
    return jnp.zeros((*rows, moments.mean.shape[-1]))

  return Collected(
    jnp.zeros(()),
    jnp.zeros(num_classes),
    map_moments(lambda m: Moments(*(zeros(m, ()),) * 2), shapes),
    map_moments(lambda m: _Class(*(zeros(m, (num_classes,)),) * 3), shapes),
  )


def _merge(state, measured, batch):
  """The state after a batch whose images measure `[B, F]`."""
  weights = batch.weights
  if weights is None:
    weights = jnp.ones(batch.images.shape[0])
  members = batch.labels * weights[:, None]
  seen, added = state.seen + weights.sum(), members.sum(0)
  counts = state.counts + added
  share = weights.sum() / jnp.maximum(seen, 1)
  class_share = (added / jnp.maximum(counts, 1))[:, None]
  means = members / jnp.maximum(added, 1)
  return Collected(
    seen,
    counts,
    jax.tree.map(
      lambda old, new: old + share * (new - old),
      state.whole,
      pool(measured, weights),
    ),
    map_moments(
      lambda old, new: _merge_class(old, _of_classes(new, means), class_share),
      state.classes,
      measured,
      kind=_Class,
    ),
  )


def _of_classes(moments, means):
  """Averages by class, with `means [B, C]` the weights of the images."""
  mean = _product('bc,bf->cf', means, moments.mean)
  # A batch holds one class per image: the weights pick its mean.
  own = _product('bc,cf->bf', jnp.sign(means), mean)
  between = _product('bc,bf->cf', means, jnp.square(moments.mean - own))
  return _Class(mean, _product('bc,bf->cf', means, moments.variance), between)


def _product(equation, *operands):
  return jnp.einsum(equation, *operands, precision='highest')


def _merge_class(old, new, share):
  """Averages of both parts, `share [C, 1]` of the images being new."""
  step = new.mean - old.mean
  between = old.between + share * (new.between - old.between)
  return _Class(
    old.mean + share * step,
    old.within + share * (new.within - old.within),
    between + share * (1 - share) * jnp.square(step),
  )


def _class_statistics(classes, variance):
  def read(c):
    total = c.within + (c.between if variance == 'total' else 0.0)
    return Moments(c.mean, total)

  return map_moments(read, classes, kind=_Class)


def collect(
  network: Network,
  variables: Variables,
  data: sampling.DeviceData,
  num_classes: int,
  *,
  key: Key,
  augment: Augment,
  batch_size: int = 64,
  **options: Any,
) -> Targets:
  """Collects the statistics of a set in one pass, in one compiled program.

  Args:
    network: the observer.
    variables: of the network.
    data: real images, on the device.
    num_classes: C.
    key: decides order and augmentation.
    augment: normalisation and augmentation; EDC crops and flips.
    batch_size: images at a time, of mixed classes; the last, shorter batch
      counts by its size.
    **options: see `collector`.

  Raises:
    ValueError: see `collector`.
  """
  parts = collector(network, data.images.shape[-3:], num_classes, **options)
  add = accumulator(parts, num_classes, augment=augment, batch_size=batch_size)
  state = add(parts.init(variables), variables, data, key)
  return parts.finish(state, variables)


def accumulator(
  parts: Collector,
  num_classes: int,
  *,
  augment: Augment,
  batch_size: int = 64,
) -> Callable[[Collected, Variables, sampling.DeviceData, Key], Collected]:
  """Makes the compiled pass that `collect` is one of.

  A set larger than memory takes several, window after window; images that two
  windows share then count twice.

  Args:
    parts: see `collector`.
    num_classes: C.
    augment: see `collect`.
    batch_size: see `collect`.

  Returns:
    `(state, variables, data, key) -> state`.

  Raises:
    ValueError: if `batch_size` is below 1.

  Example:
    >>> parts = collector(network, image_shape, 10)
    >>> add = accumulator(parts, 10, augment=augment)
    >>> state = parts.init(variables)
    >>> for number, window in enumerate([data.real]):
    ...   key = jax.random.fold_in(jax.random.key(0), number)
    ...   state = add(state, variables, window, key)
    >>> list(parts.finish(state, variables).whole)
    ['conv0', 'norm0']
  """
  check_at_least('batch_size', batch_size, 1)

  @jax.jit
  def run(state, variables, data, key):
    count = data.labels.shape[0]
    walk = sampling.shuffler(count, batch_size, keep_last=True)
    whole = jnp.asarray([count], jnp.int32)
    walk_key, augment_key = jax.random.split(key)

    def body(step, carry):
      state, source = carry
      source, positions, weights = walk.next(walk_key, whole, source)
      batch = sampling.mixed_batch(data, positions[0], weights[0], num_classes)
      images = augment(jax.random.fold_in(augment_key, step), batch.images)
      state = parts.update(state, variables, batch._replace(images=images))
      return state, source

    start = (state, walk.init(walk_key, whole))
    steps = -(-count // min(batch_size, count))
    return jax.lax.fori_loop(0, steps, body, start)[0]

  return run
