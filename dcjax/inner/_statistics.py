"""Running statistics of real images, for networks that track them."""

import jax
import numpy as np

from dcjax.base import Augment, Network
from dcjax.data import sampling
from dcjax.inner._types import InnerLoop
from dcjax.utils import check_at_least


def tracks_statistics(network: Network) -> bool:
  """Whether a network keeps running statistics, as BatchNorm does.

  Nothing is computed: the answer is known before anything is compiled.

  Args:
    network: any; those with a non-empty `Variables.state` track statistics.

  Example:
    >>> network = networks.convnet((32, 32, 3), 10, norm='batch')
    >>> inner.tracks_statistics(network)
    True
  """
  variables = jax.eval_shape(network.init, jax.random.key(0))
  return bool(jax.tree.leaves(variables.state))


def with_real_statistics(
  loop: InnerLoop,
  network: Network,
  counts: np.ndarray,
  *,
  images_per_class: int = 16,
  augment: Augment | None = None,
) -> InnerLoop:
  """Lets real images update the running statistics before every image step.

  As the code of Zhao et al. (2021) treats BatchNorm networks: random real
  images of all classes go through the network together in train mode, once, so
  that the statistics move by one update of the network's momentum. The match
  that follows should then use eval mode (`gradient_matching(train=False)`), so
  that it never depends on the statistics of one class alone.

  Args:
    loop: where the networks come from.
    network: the loop's; without running statistics `loop` itself is returned.
    counts: `[C]` real images of each class.
    images_per_class: real images of each class, drawn anew every time; those
      of a class that holds fewer come more than once.
    augment: of these images `[C * images_per_class, H, W, D]`; normalisation.

  Raises:
    ValueError: if `images_per_class` is below 1.

  Example:
    >>> loop = train_on_synthetic(network, optax.sgd(0.01), epochs=50)
    >>> loop = with_real_statistics(loop, network, dataset.counts)
  """
  check_at_least('images_per_class', images_per_class, 1)
  if not tracks_statistics(network):
    return loop
  walk = sampling.shuffler(int(np.max(counts)), images_per_class)

  def prepare(key, state, data):
    loop_key, order_key, walk_key, augment_key = jax.random.split(key, 4)
    state = loop.prepare(loop_key, state, data)
    real = data.real
    start = walk.init(order_key, real.counts)
    _, positions, _ = walk.next(walk_key, real.counts, start)
    places = real.starts[:, None] + positions
    images = sampling.fetch(real, places.reshape(-1))
    if augment is not None:
      images = augment(augment_key, images)
    variables = state.variables
    _, tracked = network.apply(variables, images, True)
    variables = variables._replace(state=tracked)
    return state._replace(train=state.train._replace(variables=variables))

  return loop._replace(prepare=prepare)
