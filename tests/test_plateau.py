"""Networks that are used until their error stops falling."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from dcjax import inner
from dcjax.base import Batch
from dcjax.inner import _plateau

_PATIENCE = 4


def _published(errors, gap):
  """Which steps end a network, and at how many it was best: by lists."""
  window, lowest, steps, since, ends = [], np.inf, 0, 0, []
  for number, error in enumerate(errors):
    steps += 1
    window = [*window, error][-gap:]
    if steps < gap:
      continue
    if steps == gap or sum(window) < lowest:
      lowest, since = sum(window), 0
    elif since < gap:
      since += 1
    else:
      ends.append((number, steps - since - 1))
      window, lowest, steps, since = [], np.inf, 0, 0
  return ends


@pytest.mark.parametrize('kind', ['falling', 'level', 'noisy'])
def test_ends_are_those_of_the_published_rule(kind):
  rng = np.random.default_rng(0)
  errors = {
    'falling': np.linspace(1, 0, 60),
    'level': np.full(60, 0.5),
    'noisy': rng.integers(0, 64, 60) / 64,
  }[kind].astype(np.float32)
  state = _plateau._unwatched((), _PATIENCE, jnp.zeros(3))
  watch = jax.jit(_plateau._watched)
  found = []
  for number, error in enumerate(errors):
    state = watch(state, error)
    if state.since > _PATIENCE:
      lives = _plateau._remembered(state)
      found.append((number, int(lives[0])))
      state = _plateau._unwatched((), _PATIENCE, lives)
  assert found == _published(errors, _PATIENCE)
  assert bool(found) is (kind != 'falling')


def _run(learning_rate, steps=30, **options):
  options = {'patience': _PATIENCE, 'batch_size': 2, 'seen': 6, **options}
  loop = inner.until_plateau(
    tiny.LINEAR,
    optax.sgd(learning_rate),
    num_images=sum(tiny.COUNTS),
    num_classes=3,
    **options,
  )
  data = tiny.inner_data()
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 4, 3))
  synthetic = Batch(tiny.stored(4), labels)

  @jax.jit
  def run(key):
    def step(state, key):
      following, metrics = loop.update(key, state, data, synthetic)
      return following, (following.train, metrics)

    state = loop.init(key, data)
    return state, *jax.lax.scan(step, state, jax.random.split(key, steps))

  return run(tiny.KEY), loop


def test_a_network_that_gets_no_better_is_replaced_by_a_new_one():
  (state, after, (networks, metrics)), loop = _run(0.0, seen=10**6)
  # Its error never changes, so each is used for two windows and a step.
  made = np.asarray(networks.step)
  life = 2 * _PATIENCE + 1
  np.testing.assert_array_equal(made, np.arange(1, 31) % life)
  kernel = np.asarray(jax.tree.leaves(networks.variables.params)[-1])
  assert not np.array_equal(kernel[0], kernel[life])
  np.testing.assert_array_equal(kernel[0], kernel[life - 2])
  assert float(metrics['updates'][life - 2]) == 0
  assert float(metrics['updates'][-1]) == _PATIENCE
  assert loop.reset(tiny.KEY, after, None) is after
  assert jax.tree.structure(state) == jax.tree.structure(after)


def test_errors_are_those_of_real_images():
  (_, _, (networks, metrics)), _ = _run(0.1, seen=10**6)
  data = tiny.inner_data().real
  images = data.images.astype(jnp.float32) / data.scale
  for i in (0, 3):
    variables = jax.tree.map(lambda leaf, i=i: leaf[i], networks.variables)
    outputs, _ = tiny.LINEAR.apply(variables, images, False)
    wrong = jnp.argmax(outputs.logits, -1) != data.labels
    assert float(metrics['error'][i]) == pytest.approx(
      float(jnp.mean(wrong.astype(jnp.float32)))
    )


@pytest.mark.parametrize('name', ['batch_size', 'seen', 'patience'])
def test_bad_numbers(name):
  with pytest.raises(ValueError, match=f'{name} 0: must be at least 1'):
    _run(0.1, **{name: 0})
