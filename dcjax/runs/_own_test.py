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
from dcjax.runs._build import Parts
from dcjax.runs._given import Given
from dcjax.runs._stage import RECORD, Stage
from dcjax.runs._wanted import Wanted
from dcjax.training import in_batches

_KEY_FOLD = 81


def stages(parts: Parts, asked: Sequence[Wanted]) -> list[Stage]:
  """The tests of a method's own; none for most of them."""
  section = parts.config.get('method', {})
  names = [w.name for w in asked]
  if section.get('kernel'):
    of = [n for n in ('condensed', 'initial', 'random') if n in names]
    return [_regression(parts, name) for name in of]
  if section.get('name') in ('dd', 'rat_bptt'):
    of = [n for n in ('condensed', 'initial') if n in names]
    return [_unrolled(parts, name) for name in of]
  return []


def _recorded(kind, per_seed):
  values = [float(value) for value in per_seed]
  spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
  return {
    'how': kind,
    'last_mean': float(np.mean(values)),
    'last_std': spread,
    'per_seed_last': values,
  }


def _regression(parts, name) -> Stage:
  """Kernel ridge regression on the set, asked about the test images."""
  section, dataset = parts.config.method, parts.dataset
  form = 'probabilities'
  if name != 'random':
    form = formations.label_form(parts.formation)

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
        normalise=parts.normalise,
        scale=dataset.scale,
      )
    )(Batch(images, labels), dataset.test_images, dataset.test_labels)
    return _recorded(f'kernel regression, {section.kernel}', [right])

  settings = {n: section[n] for n in ('kernel', 'regularisation')}
  return Stage(f'own/{name}', make, (f'set/{name}',), settings, RECORD)


def _unrolled(parts, name) -> Stage:
  """Networks trained as the unrolled training was, from its start or anew."""
  section, dataset = parts.config.method, parts.dataset
  network = _given.judge(Given(parts))
  known = section.get('initialisation') == 'known'

  def starts(start):
    if known:
      return [_condense.known_start(parts, start)]
    key = jax.random.fold_in(parts.keys['evaluate'], _KEY_FOLD)
    keys = jax.random.split(key, parts.config.evaluation.seeds)
    return [network.init(key) for key in keys]

  @jax.jit
  def right(variables, batch, tests, answers):
    trained = objectives.train_on(
      network, variables, batch, parts.keys['evaluate'], _given.unroll(parts)
    )

    def predict(images):
      images = images.astype(jnp.float32) / dataset.scale
      images = parts.normalise(jax.random.key(0), images)
      return jnp.argmax(network.apply(trained, images, False)[0].logits, -1)

    return jnp.mean(in_batches(predict, tests) == answers)

  def make(batch, start):
    batch = jax.tree.map(jnp.asarray, batch)
    tests = jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels)
    how = f'{_given.unroll(parts).steps} steps of the unrolled training'
    return _recorded(how, [right(v, batch, *tests) for v in starts(start)])

  settings: dict[str, Any] = {
    'method': section.to_dict(),
    'seeds': parts.config.evaluation.seeds,
    'seed': parts.config.seed,
    'network': parts.config.network,
  }
  return Stage(f'own/{name}', make, (f'set/{name}', 'start'), settings, RECORD)
