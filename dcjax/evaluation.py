"""Training networks from scratch on a set, and testing them honestly."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import sharding, training
from dcjax._students import (
  LOSSES,
  check_protocol,
  optimizer_of as _optimizer,
  stops as _stops,
  tested_variables,
)
from dcjax.base import Array, Augment, Key, Network, PyTree
from dcjax.data import _sampling as sampling
from dcjax.matching import ClassStrategy, over_classes
from dcjax.protocols import (
  PROTOCOLS,
  Protocol,
  dc_protocol,
  dm_protocol,
  frepo_protocol,
  idc_protocol,
  imagenet_epochs,
)
from dcjax.training import Mix


class Evaluation(NamedTuple):
  """Test accuracies of networks trained from scratch, fractions in [0, 1].

  Attributes:
    accuracy: `[S, P]`, of `S` seeds at `P` test points. The last column is the
      result; the best one is picked on the test data.
    loss: `[S]` mean training loss over the last stretch of training.
    predicted: `[S, M]` classes of the test images in the end.
  """

  accuracy: np.ndarray
  loss: np.ndarray
  predicted: np.ndarray | None = None

  @property
  def last(self) -> np.ndarray:
    """`[S]` accuracy at the end of training."""
    return self.accuracy[:, -1]

  @property
  def best(self) -> np.ndarray:
    """`[S]` highest accuracy of the test points: chosen on test data."""
    return self.accuracy.max(axis=1)

  def summary(self) -> dict[str, float | list[float]]:
    """Returns last and best, mean and std (n - 1) over seeds, per seed."""
    spread = 1 if len(self.last) > 1 else 0
    return {
      'last_mean': float(self.last.mean()),
      'last_std': float(self.last.std(ddof=spread)),
      'best_mean': float(self.best.mean()),
      'best_std': float(self.best.std(ddof=spread)),
      'per_seed_last': [float(a) for a in self.last],
      'per_seed_best': [float(a) for a in self.best],
    }


class TrainingSet(NamedTuple):
  """Images to train on, padded so that sets of several sizes share a program.

  Padding is never drawn. A set smaller than the batch fills it up with copies
  of its own images at weight 0; see `Protocol.batch_size`.

  Attributes:
    images: `[M, H, W, D]` in [0, 1].
    labels: `[M, K]` probabilities, or centred.
    count: `[]` int32; images after it are padding.
    teacher: what the evaluator's `loss` and `draw` learn from (teachers or
      stored labels, see `dcjax.labelling`).
  """

  images: Array
  labels: Array
  count: Array
  teacher: PyTree = ()


def training_set(
  images: np.ndarray | Array,
  labels: np.ndarray | Array,
  num_classes: int,
  padded_to: int | None = None,
  *,
  centred: bool = False,
) -> TrainingSet:
  """Makes a `TrainingSet`.

  Args:
    images: `[M, H, W, D]` float in [0, 1].
    labels: `[M]` integers or `[M, K]`, taken as they are.
    num_classes: `K`.
    padded_to: at least `M`; None for no padding.
    centred: whether integers become one-hot minus 1 / K (for the loss
      `'squared'`).

  Raises:
    ValueError: if images and labels do not fit, or `padded_to` is too small.
  """
  images, labels = jnp.asarray(images, jnp.float32), jnp.asarray(labels)
  if images.ndim != 4 or images.shape[0] != labels.shape[0]:
    raise ValueError(
      f'images {images.shape} and labels {labels.shape}: must be [M, H, W, D] '
      'and [M] or [M, K] with the same M'
    )
  if labels.ndim == 1:
    if labels.min() < 0 or labels.max() >= num_classes:
      raise ValueError(
        f'labels {labels.min()}..{labels.max()}: must be in 0..'
        f'{num_classes - 1}'
      )
    labels = jax.nn.one_hot(labels, num_classes) - centred / num_classes
  if labels.shape[1] != num_classes:
    raise ValueError(
      f'labels have {labels.shape[1]} columns: must be {num_classes}'
    )
  count = images.shape[0]
  padding = (padded_to or count) - count
  if padding < 0:
    raise ValueError(f'padded_to {padded_to}: must be at least {count}')
  return TrainingSet(
    jnp.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0))),
    jnp.pad(labels, ((0, padding), (0, 0))),
    jnp.asarray(count, jnp.int32),
  )


class Evaluator(NamedTuple):
  """Compiled pieces of an evaluation; every set of one run shares them.

  Attributes:
    start: `(keys [S], set) -> state`.
    train: `(keys [S], set, state, epochs) -> (state, loss [S])`.
    test: `state -> (accuracy [S], predicted classes [S, M])`.
  """

  start: Callable
  train: Callable
  test: Callable


def evaluator(
  network: Network,
  test_images: np.ndarray,
  test_labels: np.ndarray,
  *,
  protocol: Protocol,
  normalise: Augment,
  scale: float = 1.0,
  augment: Augment | None = None,
  mix: Mix | None = None,
  seeds: ClassStrategy = 'auto',
  loss: Callable[[PyTree, Array, training.Batch, Array], Array] | None = None,
  draw: Callable[[PyTree, Array, Array, Array], training.Batch] | None = None,
) -> Evaluator:
  """Prepares the evaluation of sets of images with one network and protocol.

  Args:
    network: trained from scratch for every seed.
    test_images: `[M, H, W, D]` uint8 or float.
    test_labels: `[M]` integers.
    protocol: how it is trained.
    normalise: applied to test images.
    scale: test images are divided by it.
    augment: normalisation and augmentation of training images.
    mix: CutMix, after augmentation.
    seeds: `'scan'` (one network after another), `'vmap'` (all at once),
      `'auto'`, which picks by platform, or a function that does the mapping
      (`dcjax.sharding.seed_strategy`).
    loss: instead of the protocol's, `(teacher, logits, batch, labels) -> []`,
      with the teacher of the training set; see `labelling.online`.
    draw: instead of shuffled, augmented and mixed batches, `(teacher, images,
      labels, step) -> batch`, of a set without padding; see
      `labelling.stored_source`.

  Raises:
    ValueError: if the test points do not end with 1, `seeds` is unknown, or
      `draw` comes with `augment` or `mix`.
  """
  if draw is not None and not augment is mix is None:
    raise ValueError(
      'draw: makes augmented and mixed batches; augment and mix must be None'
    )
  check_protocol(protocol)
  held_out = jnp.asarray(test_images)
  answers = jnp.asarray(test_labels, jnp.int32)
  over_seeds = _over_seeds(seeds)

  def start(keys, data):
    def one(key):
      network_key, walk_key, _ = jax.random.split(key, 3)
      optimizer = _optimizer(protocol, _steps_per_epoch(data, protocol))
      walk = _walk(data, protocol)
      return (
        training.start(network, optimizer, network_key),
        walk.init(walk_key, data.count[None]),
      )

    return over_seeds(one)(keys)

  def train(keys, data, state, epochs):
    def one(key, state):
      return _train_epochs(
        network, protocol, data, state, epochs, key, augment, mix, loss, draw
      )

    return over_seeds(one)(keys, state)

  def test(state, images, answers):
    def one(train_state):
      variables = tested_variables(protocol, train_state)
      found = _predicted(network, variables, images, normalise, scale)
      return jnp.mean(found == answers), found

    return over_seeds(one)(state[0])

  test = jax.jit(test)
  return Evaluator(
    jax.jit(start),
    jax.jit(train, donate_argnums=2),
    lambda state: test(state, held_out, answers),
  )


def evaluate(
  evaluator: Evaluator,
  data: TrainingSet,
  key: Key,
  *,
  protocol: Protocol,
  num_seeds: int = 1,
  pieces: int = 20,
  progress: Callable[[float], None] | None = None,
) -> Evaluation:
  """Trains `num_seeds` networks on a set and tests them.

  Args:
    evaluator: see `evaluator`.
    data: see `training_set`.
    key: network `i` uses `fold_in(key, i)`.
    protocol: the evaluator's.
    num_seeds: `S`.
    pieces: compiled calls the training is cut into, for progress.
    progress: called with the fraction done.
  """
  keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num_seeds))
  state = evaluator.start(keys, data)
  accuracies, loss, done = [], None, 0
  for until, tested in _stops(protocol, pieces):
    state, loss = evaluator.train(keys, data, state, until - done)
    done = until
    if tested:
      accuracy, predicted = evaluator.test(state)
      accuracies.append(np.asarray(accuracy))
    if progress is not None:
      jax.block_until_ready(loss)
      progress(done / protocol.epochs)
  predicted = sharding.to_host(predicted)
  return Evaluation(np.stack(accuracies, axis=1), np.asarray(loss), predicted)


def _over_seeds(strategy):
  if not callable(strategy) and strategy not in ('auto', 'scan', 'vmap'):
    raise ValueError(
      f"seeds {strategy!r}: must be one of 'auto', 'scan', 'vmap'"
    )
  return lambda function: over_classes(function, strategy)


def _walk(data, protocol):
  return sampling.shuffler(
    data.images.shape[0], protocol.batch_size, keep_last=True
  )


def _steps_per_epoch(data, protocol):
  batch = min(protocol.batch_size, data.images.shape[0])
  return -(-data.count // jnp.minimum(batch, data.count))


def _train_epochs(
  network, protocol, data, state, epochs, key, augment, mix, loss, draw
):
  steps = _steps_per_epoch(data, protocol)
  walk = _walk(data, protocol)
  *_, train_key = jax.random.split(key, 3)
  train_state, source = state

  def draw_own(key, source):
    source, positions, weights = walk.next(key, data.count[None], source)
    chosen = positions[0]
    batch = training.Batch(data.images[chosen], data.labels[chosen], weights[0])
    return source, batch

  # The walk's cursor counts steps of its own where batches are drawn stored.
  def draw_stored(key, source):
    del key
    count = source.cursor
    batch = draw(data.teacher, data.images, data.labels, count[0])
    return source._replace(cursor=count + 1), batch

  def bound_loss(logits, batch, labels):
    return loss(data.teacher, logits, batch, labels)

  train_state, source, metrics = training.fit(
    network,
    _optimizer(protocol, steps),
    train_state,
    source,
    draw_own if draw is None else draw_stored,
    epochs * steps,
    train_key,
    augment=augment,
    mix=mix,
    loss=LOSSES[protocol.loss] if loss is None else bound_loss,
  )
  return (train_state, source), metrics['loss']


def _predicted(network, variables, images, norm, scale):
  def predict(batch):
    batch = norm(jax.random.key(0), batch.astype(jnp.float32) / scale)
    return jnp.argmax(network.apply(variables, batch, False)[0].logits, -1)

  return training.in_batches(predict, images)


__all__ = [
  'PROTOCOLS',
  'Evaluation',
  'Evaluator',
  'Protocol',
  'TrainingSet',
  'check_protocol',
  'dc_protocol',
  'dm_protocol',
  'evaluate',
  'evaluator',
  'frepo_protocol',
  'idc_protocol',
  'imagenet_epochs',
  'training_set',
]
