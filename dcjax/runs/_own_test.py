"""What the set does for what it was made for, where that is no network of ours.

A kernel regression (KIP), or the very training that was differentiated (DD,
RaT-BPTT). The usual evaluations come beside it, under one protocol for all.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import formations, kernels, objectives, specs
from dcjax.base import Batch
from dcjax.runs import _condense, _given
from dcjax.runs._build import Built
from dcjax.runs._given import Given
from dcjax.runs._stage import RECORD, Stage
from dcjax.runs._wanted import Wanted
from dcjax.training import in_batches

_KEY_FOLD = 81


def stages(built: Built, asked: Sequence[Wanted]) -> list[Stage]:
  """The tests of a method's own; none for most of them."""
  section = built.config.get('method', {})
  names = [w.name for w in asked]
  if section.get('kernel'):
    of = [n for n in ('condensed', 'initial', 'random') if n in names]
    return [_regression(built, name) for name in of]
  if _given.is_unrolled(built):
    of = [n for n in ('condensed', 'initial') if n in names]
    return [_unrolled(built, name) for name in of]
  return []


def _recorded(kind, per_seed, dataset):
  values = [float(value) for value in per_seed]
  spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
  return {
    'how': kind,
    'last_mean': float(np.mean(values)),
    'last_std': spread,
    'per_seed_last': values,
    'tests': len(dataset.test_labels),
  }


def _regression(built, name) -> Stage:
  """Kernel ridge regression on the set, asked about the test images."""
  section, dataset = built.config.method, built.dataset
  form = 'probabilities'
  if name != 'random':
    form = formations.label_form(built.formation)

  def make(batch):
    kernel = kernels.build(specs.parse('method.kernel', section.kernel))
    images = jnp.asarray(batch.images).reshape(-1, *dataset.image_shape)
    labels = jnp.asarray(batch.labels).reshape(-1, dataset.num_classes)
    right = jax.jit(
      lambda support, tests, answers: kernels.accuracy(
        kernel,
        support,
        tests,
        answers,
        regularisation=section.regularisation,
        label_form=form,
        normalise=built.normalise,
        scale=dataset.scale,
      )
    )(Batch(images, labels), dataset.test_images, dataset.test_labels)
    if not np.isfinite(right):
      raise ValueError(
        f'method.regularisation {section.regularisation}: the regression on '
        f'{name} images has no solution; must be larger'
      )
    how = f'kernel regression, {section.kernel}'
    return _recorded(how, [right], dataset)

  settings = {n: section[n] for n in ('kernel', 'regularisation')}
  return Stage(f'own/{name}', make, (f'set/{name}',), settings, RECORD)


def _unrolled(built, name) -> Stage:
  """Networks trained as the unrolled training was, from its start or anew."""
  section, dataset = built.config.method, built.dataset
  network = _given.judge(Given(built))
  known = section.get('initialisation') == 'known'

  def starts(start):
    if known:
      return [_condense.known_start(built, start)]
    key = jax.random.fold_in(built.keys['evaluate'], _KEY_FOLD)
    keys = jax.random.split(key, built.config.evaluation.seeds)
    return [network.init(key) for key in keys]

  @jax.jit
  def right(variables, batch, key, tests, answers):
    trained = objectives.train_on(
      network, variables, batch, key, _given.unroll(built)
    )

    def predict(images):
      images = images.astype(jnp.float32) / dataset.scale
      images = built.normalise(jax.random.key(0), images)
      return jnp.argmax(network.apply(trained, images, False)[0].logits, -1)

    return jnp.mean(in_batches(predict, tests) == answers)

  def make(batch, start):
    batch = jax.tree.map(jnp.asarray, batch)
    tests = jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels)
    how = f'{_given.unroll(built).steps} steps of the unrolled training'
    found = [
      right(v, batch, jax.random.fold_in(built.keys['evaluate'], n), *tests)
      for n, v in enumerate(starts(start))
    ]
    return _recorded(how, found, dataset)

  settings: dict[str, Any] = {
    'method': section.to_dict(),
    'seeds': built.config.evaluation.seeds,
    'seed': built.config.seed,
    'network': built.config.network,
  }
  return Stage(f'own/{name}', make, (f'set/{name}', 'start'), settings, RECORD)
