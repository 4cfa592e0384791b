"""The examples of docstrings: those with an answer run, the others are traced.

Tracing finds every name and shape that is wrong, and compiles nothing.
"""

import doctest
import importlib
import pathlib
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from flax import nnx

import dcjax
from dcjax import networks

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PARSER = doctest.DocTestParser()
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _examples():
  """`(name, docstring, names of its module)` of all that show an example."""
  for path in sorted((_ROOT / 'dcjax').glob('**/*.py')):
    if '>>>' not in path.read_text(encoding='utf-8'):
      continue
    file = '.'.join(path.relative_to(_ROOT).with_suffix('').parts)
    module = importlib.import_module(file.removesuffix('.__init__'))
    for member in (module, *vars(module).values()):
      plain = isinstance(member, type | types.FunctionType) or member is module
      text = (plain and member.__doc__) or ''
      owner = getattr(member, '__module__', module.__name__)
      if '>>>' in text and owner == module.__name__:
        name = getattr(member, '__qualname__', '')
        package = vars(importlib.import_module(owner.partition('._')[0]))
        scope = package | vars(module)
        yield pytest.param(text, scope, id=f'{owner}:{name}')


class _Linear(nn.Module):
  num_classes: int

  @nn.compact
  def __call__(self, images):
    return nn.Dense(self.num_classes)(images.reshape(images.shape[0], -1))


def _module(num_classes, rngs=None):
  """A module of one's own: of linen, or with `rngs` of nnx."""
  if rngs is None:
    return _Linear(num_classes)
  linear = nnx.Linear(144, num_classes, rngs=rngs)
  return nnx.Sequential(lambda x: x.reshape(x.shape[0], -1), linear)


@pytest.fixture(scope='module')
def names():
  """What examples take for granted: a network, images, a data set."""
  shape, classes = (12, 12, 1), 10
  network = networks.convnet(shape, classes, width=2, depth=1, norm='batch')
  images, labels = tiny.images_and_labels([3] * classes, shape)
  dataset = dcjax.data.from_arrays(images, labels, name='tiny')
  stored = tiny.stored(2, classes, shape)
  one_hot = jnp.broadcast_to(jnp.eye(classes)[:, None], (classes, 2, classes))
  normalise = dcjax.augment.normalise(dataset.mean, dataset.std)
  formation = dcjax.formations.identity()
  variables = network.init(tiny.KEY)
  data = tiny.inner_data([3] * classes, shape)
  targets = dcjax.statistics.collect(
    network, variables, data.real, classes, key=tiny.KEY, augment=normalise
  )
  flat = jnp.zeros(sum(leaf.size for leaf in jax.tree.leaves(variables.params)))
  modules = {name: getattr(dcjax, name) for name in dcjax.__all__}
  return modules | dict(
    jax=jax,
    jnp=jnp,
    np=np,
    optax=optax,
    dcjax=dcjax,
    key=tiny.KEY,
    shape=shape,
    image_shape=shape,
    network=network,
    variables=variables,
    observers=[network],
    dataset=dataset,
    counts=dataset.counts,
    mean=dataset.mean,
    std=dataset.std,
    data=data,
    images=stored[:, 0],
    real_images=stored,
    real=dcjax.Batch(stored, one_hot),
    synthetic=dcjax.Batch(stored, one_hot),
    embeddings=dataset.images.reshape(len(dataset.labels), -1)[:, :5],
    targets=targets,
    segment=dcjax.objectives.Segment(flat, flat),
    experts=dcjax.trajectories.Experts(flat * jnp.ones((2, 30, 1)), flat),
    MyModule=_module,
    normalise=normalise,
    augment=normalise,
    formation=formation,
    params=formation.init(tiny.KEY, stored),
  )


@pytest.mark.parametrize(('text', 'scope'), _examples())
def test_the_example_is_right(text, scope, names):
  test = _PARSER.get_doctest(text, {**scope, **names}, 'example', None, None)
  said = []
  runner = doctest.DocTestRunner(optionflags=_OPTIONS)

  def run():
    runner.run(test, out=said.append)

  # What is told of a shape, tracing tells, too.
  told = [e.source.strip() for e in test.examples if e.want]
  if all(source.endswith('.shape') for source in told):
    jax.eval_shape(run)
  else:
    run()
  assert not said, ''.join(said)
