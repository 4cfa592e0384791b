"""Methods that are made for images condense into a codebook."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import runner
import tiny

import dcjax
from dcjax import formations, methods

builder = runner.module('builder')
_ARGUMENTS = 'digits,smoke,network=mlp,factor=1,formation=codebook'


@pytest.mark.parametrize('recipe', ['dc', 'dm', 'dsa', 'idc'])
def test_methods_condense_into_a_codebook(recipe, monkeypatch):
  monkeypatch.setattr(
    runner.module('codebook_start'),
    'trained_embeddings',
    lambda *_: methods.ClassEmbeddings(jnp.eye(10, 4), jnp.eye(10)),
  )
  made = runner.config(
    _ARGUMENTS, recipe, data__options__size=8, generator__fit_steps=0
  )
  parts = builder.build(made)
  params = builder.initial_params(parts, tiny.KEY)
  assert params['embeddings'].shape == (10, 4)
  method, data = parts.condenser, parts.inner_data
  state = jax.eval_shape(method.init, tiny.KEY, params, data)
  # Codes and generator have steps of their own; nothing else moves.
  assert set(state.opt_state.inner_states) == {'codes', 'generator', 'fixed'}
  after, metrics = jax.eval_shape(method.period, tiny.KEY, state, data)
  assert metrics['loss'].shape == (2,)
  assert jax.tree.map(jnp.shape, after.params) == jax.tree.map(
    jnp.shape, params
  )


def test_a_run_stores_and_reports_a_codebook(tmp_path):
  results = runner.run(
    tmp_path, _ARGUMENTS, 'dm', formation__stored='float16', ipc=2
  )
  stored = dcjax.load(tmp_path / 'condensed.npz')
  assert stored.spec['name'] == 'codebook'
  assert stored.params['codes'].dtype == np.float16
  assert len(stored.params['codes']) == 2
  assert stored.numpy()[0].shape == (20, 16, 16, 1)
  assert results['codebook']['total'] > 0
  report = (tmp_path / 'report.html').read_text()
  assert 'From code to code' in report and 'break-even' in report


def test_after_a_period_the_set_decodes_as_training_saw_it():
  shape, counts = (8, 8, 1), np.array([9, 9, 9])
  formation = formations.codebook(
    3, shape, codes_dim=5, projection_dim=4, width=4
  )
  shown = formations.in_training(formation)
  network = tiny.linear_network(shape, 3)
  method = methods.calibrated(
    methods.dm(
      network,
      shown,
      counts,
      (1.0,),
      optimizer=methods.codebook_optimizer(0.05, 0.05, 8, optimizer='adam'),
      inner_steps=4,
      batch_real=4,
    ),
    formation,
  )
  data = tiny.inner_data(counts, shape)
  start = formation.init(tiny.KEY, jnp.zeros((3, 4, *shape)))
  state, _ = jax.jit(method.period)(
    tiny.KEY, method.init(tiny.KEY, start, data), data
  )
  stored = formation.decode(state.params).images
  np.testing.assert_allclose(
    stored, shown.decode(state.params).images, atol=1e-4
  )
  # Statistics of the start would not do.
  stale = {**state.params, 'statistics': start['statistics']}
  assert np.abs(formation.decode(stale).images - stored).max() > 1e-2


def test_optimisers_are_replaced():
  counts = np.array([4, 4])
  formation = formations.identity()
  frozen = optax.set_to_zero()
  network = tiny.linear_network((8, 8, 1), 2)
  data = tiny.inner_data(counts, (8, 8, 1))
  for make in (methods.dm, methods.dc):
    options = {'epochs': 1} if make is methods.dc else {}
    method = make(
      network,
      formation,
      counts,
      (1.0,),
      optimizer=frozen,
      inner_steps=1,
      batch_real=2,
      **options,
    )
    start = formation.init(
      tiny.KEY, jax.random.uniform(tiny.KEY, (2, 1, 8, 8, 1))
    )
    state, _ = jax.jit(method.period)(
      tiny.KEY, method.init(tiny.KEY, start, data), data
    )
    tiny.assert_trees_equal(state.params, start)


@pytest.mark.parametrize(
  ('recipe', 'arguments', 'message'),
  [
    ('cafe', 'digits,formation=codebook', "'cafe' takes none; .*generative.py"),
    ('dm', 'digits,formation=codebook,factor=2', 'factor=2: a codebook takes'),
    ('idc', 'digits,formation=codebook', 'factor=2: .*say factor=1'),
    ('dm', 'digits,formation=codes', "'codes': must be one of .*codebook"),
  ],
)
def test_bad_arguments(recipe, arguments, message):
  with pytest.raises(ValueError, match=message):
    runner.config(arguments, recipe)
