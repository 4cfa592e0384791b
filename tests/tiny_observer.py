"""Observers so small that tests compile in moments."""

import flax.linen as nn
import jax
import tiny

from dcjax import networks

SHAPE = (6, 6, 2)
# Tests run a program once or twice: compiling it fast is what counts.
_QUICK = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}


def jit(function):
  """Compiles fast, runs slowly."""
  return jax.jit(function, compiler_options=_QUICK)


class TinyObserver(nn.Module):
  """A convolution, perhaps a BatchNorm, and a head."""

  num_classes: int = 3
  norm: bool = True

  @nn.compact
  def __call__(self, images, train=False):
    """Returns logits of `images [B, H, W, D]`."""
    x = nn.Conv(3, (3, 3), name='conv')(images)
    if self.norm:
      x = nn.BatchNorm(not train, name='norm')(x)
    x = nn.relu(x).mean((1, 2))
    return nn.Dense(self.num_classes, name='head')(x)


def network(num_classes=3, norm=True, shape=SHAPE):
  """The observer as a `Network`."""
  return networks.from_linen(TinyObserver(num_classes, norm), shape)


def observer(norm=True):
  """A network, and weights with running statistics that are not 0 and 1."""
  built = network(norm=norm)
  variables = jit(built.init)(tiny.KEY)
  state = jax.tree.map(lambda x: x + 0.2, variables.state)
  return built, variables._replace(state=state)
