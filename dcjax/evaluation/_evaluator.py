"""Networks trained on a feed, from any start, and asked about images."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax import sharding, training
from dcjax.base import Array, Augment, Key, Network
from dcjax.evaluation._words import (
  check_protocol,
  optimizer_of,
  stops,
  tested_variables,
)
from dcjax.feeds import Feed
from dcjax.mapping import Strategy, over_networks
from dcjax.networks import with_outputs
from dcjax.protocols import Protocol
from dcjax.utils import check_at_least

WrapOptimizer = Callable[
  [optax.GradientTransformation], optax.GradientTransformation
]


class Evaluation(NamedTuple):
  """Test accuracies of networks trained from scratch, fractions in [0, 1].

  Attributes:
    accuracy: `[S, P]`, of `S` seeds at `P` test points. The last column is the
      result; the best one is picked on the test data.
    loss: `[S]` mean training loss over the last stretch of training; NaN of a
      network whose numbers are not finite.
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


class Evaluator(NamedTuple):
  """Compiled pieces that train and ask `S` networks; made by `evaluator`.

  Sets of one size share its programs, and so do numbers of classes. `data` is
  what its feed takes, such as a `TrainingSet`; `present` is `[K]` bool, classes
  that have an output by now, or None for all.

  Attributes:
    init: `keys [S] -> variables`, leaves with a leading axis `S`.
    start: `(keys [S], data, variables) -> state`, with a new optimiser; without
      variables of the networks that `init` gives.
    train: `(keys [S], data, state, epochs, present) -> (state, loss [S])`.
    tested: `state -> variables`, averaged where the protocol says so.
    test: `(state, images [M, H, W, D] as stored, labels [M]) -> ([S], [S, M])`,
      the fraction that is right, and the classes that are seen.
    logits: `(variables, images as stored, present) -> [S, M, K]`; logits of
      absent classes are below all others.
    protocol: of training.
  """

  init: Callable
  start: Callable
  train: Callable
  tested: Callable
  test: Callable
  logits: Callable
  protocol: Protocol


def evaluator(
  network: Network,
  feed: Feed,
  *,
  protocol: Protocol,
  normalise: Augment,
  scale: float = 1.0,
  wrap_optimizer: WrapOptimizer = lambda optimizer: optimizer,
  seeds: Strategy = 'auto',
) -> Evaluator:
  """Prepares the training of networks on sets of one kind.

  Args:
    network: with all the `K` classes that there will ever be.
    feed: what it is trained on; see `feed`, `labelling.online`,
      `labelling.replayed` and `applications.lessons`.
    protocol: how it is trained, each time from the start of its schedule; its
      batch size and loss are the feed's.
    normalise: of images that are asked about.
    scale: these are divided by it.
    wrap_optimizer: changes the protocol's optimiser, whose state must stay of
      one structure; see `applications.with_sparsity`.
    seeds: `'scan'` (one network after another), `'vmap'` (all at once),
      `'auto'`, which picks by platform, or a function that does the mapping
      (`dcjax.sharding.seed_strategy`).

  Raises:
    ValueError: if the test points do not end with 1, or `seeds` is unknown.
  """
  check_protocol(protocol)
  if not callable(seeds) and seeds not in ('auto', 'scan', 'vmap'):
    raise ValueError(f"seeds {seeds!r}: must be one of 'auto', 'scan', 'vmap'")

  def mapped(function, *args):
    return over_networks(function, seeds)(*args)

  def optimizer(data):
    return wrap_optimizer(optimizer_of(protocol, feed.steps(data)))

  def init(keys):
    return mapped(lambda key: network.init(_split(key)[0]), keys)

  def tested(state):
    return jax.vmap(lambda s: tested_variables(protocol, s))(state[0])

  ask = _ask(normalise, scale)

  def test(state, images, labels):
    def one(train_state):
      variables = tested_variables(protocol, train_state)
      chosen = ask(network, variables, images, lambda x: jnp.argmax(x, -1))
      return jnp.mean(chosen == labels), chosen

    return mapped(one, state[0])

  def logits(variables, images, present=None):
    student = with_outputs(network, present)
    return mapped(lambda v: ask(student, v, images), variables)

  return Evaluator(
    jax.jit(init),
    jax.jit(_start(network, feed, optimizer, mapped)),
    jax.jit(_train(network, feed, optimizer, mapped), donate_argnums=2),
    tested,
    jax.jit(test),
    jax.jit(logits),
    protocol,
  )


def _start(network, feed, optimizer, mapped):
  def start(keys, data, variables=None):
    def one(data, key, variables):
      network_key, feed_key, _ = _split(key)
      if variables is None:
        variables = network.init(network_key)
      # A copy: the state is donated, while the variables may teach.
      copied = jax.tree.map(jnp.copy, variables)
      return (
        training.start_from(copied, optimizer(data)),
        feed.init(feed_key, data),
      )

    one, own = _with_own(one, data, feed.own)
    return mapped(one, own, keys, variables)

  return start


def _train(network, feed, optimizer, mapped):
  def train(keys, data, state, epochs, present=None):
    def one(data, key, state):
      train_state, source, metrics = training.fit(
        with_outputs(network, present),
        optimizer(data),
        *state,
        lambda key, source: feed.next(key, source, data),
        epochs * feed.steps(data),
        _split(key)[2],
        loss=feed.loss,
      )
      return (train_state, source), metrics['loss']

    one, own = _with_own(one, data, feed.own)
    return mapped(one, own, keys, state)

  return train


def _split(key):
  """Keys of a network's numbers, of its feed and of its training."""
  return jax.random.split(key, 3)


def _with_own(function, data, own):
  """A function of a network's own data, and the data of all networks for it.

  Args:
    function: of data as one network sees it, then of other arguments.
    data: of all networks.
    own: see `Feed`.
  """
  leaves, form = jax.tree.flatten(data)
  chosen = jax.tree.leaves(jax.tree.broadcast(own, data))
  pairs = list(zip(leaves, chosen, strict=True))

  def of_one(mine, *args):
    given = iter(mine)
    whole = [next(given) if has_own else leaf for leaf, has_own in pairs]
    return function(form.unflatten(whole), *args)

  return of_one, [leaf for leaf, has_own in pairs if has_own]


def _ask(normalise, scale):
  """What a network says of images, a batch at a time: `answer` of its logits.

  Images are as stored.
  """

  def ask(network, variables, images, answer=lambda logits: logits):
    def of_batch(batch):
      batch = normalise(jax.random.key(0), batch.astype(jnp.float32) / scale)
      return answer(network.apply(variables, batch, False)[0].logits)

    return training.in_batches(of_batch, images)

  return ask


def evaluate(
  evaluator: Evaluator,
  data: Any,
  test: tuple[np.ndarray, np.ndarray],
  key: Key,
  *,
  num_seeds: int = 1,
  pieces: int = 20,
  progress: Callable[[float], None] | None = None,
) -> Evaluation:
  """Trains `num_seeds` networks on a set and tests them.

  Args:
    evaluator: see `evaluator`.
    data: what its feed takes; see `training_set`.
    test: images `[M, H, W, D]` as stored, uint8 or float, and labels `[M]`.
    key: network `i` uses `fold_in(key, i)`.
    num_seeds: `S`, at least 1.
    pieces: compiled calls the training is cut into, for progress.
    progress: called with the fraction done.

  Raises:
    ValueError: if `num_seeds` is below 1.
  """
  protocol, keys = evaluator.protocol, seed_keys(key, num_seeds)
  images, labels = jnp.asarray(test[0]), jnp.asarray(test[1], jnp.int32)
  state = evaluator.start(keys, data)
  accuracies, loss, done = [], None, 0
  for until, tested in stops(protocol, pieces):
    state, loss = evaluator.train(keys, data, state, until - done)
    done = until
    if tested:
      accuracy, predicted = evaluator.test(state, images, labels)
      accuracies.append(np.asarray(accuracy))
    if progress is not None:
      jax.block_until_ready(loss)
      progress(done / protocol.epochs)
  predicted = sharding.to_host(predicted)
  # A last step can break networks that no loss has seen since.
  whole = _finite_networks(sharding.to_host(evaluator.tested(state)))
  loss = np.where(whole, np.asarray(loss), np.nan)
  return Evaluation(np.stack(accuracies, axis=1), loss, predicted)


def _finite_networks(variables):
  """Which of `S` networks on the host hold finite numbers only, `[S]`."""
  floats = [
    leaf
    for leaf in jax.tree.leaves(variables)
    if jnp.issubdtype(leaf.dtype, jnp.floating)
  ]
  return np.all([np.isfinite(a).reshape(len(a), -1).all(1) for a in floats], 0)


def seed_keys(key: Key, num_seeds: int) -> Array:
  """Keys `[S]` of networks, those that `evaluate` takes.

  Args:
    key: network `i` has `fold_in(key, i)`.
    num_seeds: `S`, at least 1.

  Raises:
    ValueError: if `num_seeds` is below 1.
  """
  check_at_least('num_seeds', num_seeds, 1)
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num_seeds))
