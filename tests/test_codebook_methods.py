"""Methods that are made for images condense into a codebook."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import runner
import tiny
import traced

from dcjax import formations, methods

_ARGUMENTS = (
  'digits:size=8,smoke,network=mlp,factor=1,formation=codebook,start=weights'
)


@pytest.mark.parametrize('recipe', ['cafe', 'dc', 'dm', 'dsa', 'idc'])
def test_methods_condense_into_a_codebook(recipe):
  found = traced.period(runner.built(_ARGUMENTS, recipe))
  classes = found.params['embeddings'].shape
  assert classes[0] == 10
  # Codes and generator have steps of their own; nothing else moves.
  inner = found.state.opt_state.inner_states
  assert set(inner) == {'codes', 'generator', 'fixed'}
  assert found.metrics['loss'].shape == (2,)
  assert jax.tree.map(jnp.shape, found.after.params) == jax.tree.map(
    jnp.shape, found.params
  )


def test_a_codebook_starts_as_real_images_and_stores_as_it_is_told():
  config = runner.resolved('digits,smoke,formation=codebook', 'dm').config
  assert config.start == 'fit:steps=2:embedding_steps=4'
  built = runner.built(
    'digits:size=8,smoke,network=mlp,formation=codebook:stored=float16', 'dm'
  )
  assert built.formation.spec['stored'] == 'float16'
  assert built.formation.spec['codes_dim'] == 8


def test_after_a_period_the_set_decodes_as_training_saw_it():
  shape, counts = (8, 8, 1), np.array([9, 9, 9])
  formation = formations.codebook(
    3, shape, codes_dim=5, projection_dim=4, width=4
  )
  network = tiny.linear_network(shape, 3)
  steps = methods.CodebookSteps(0.05, 0.05, optimizer='adam')
  method = methods.dm(
    network,
    formation,
    counts,
    (1.0,),
    inner_steps=4,
    batch_real=4,
    instead=methods.Instead(optimizer=methods.codebook_optimizer(steps, 8)),
  )
  data = tiny.inner_data(counts, shape)
  start = formation.init(tiny.KEY, jnp.zeros((3, 4, *shape)))
  state, _ = jax.jit(method.period)(
    tiny.KEY, method.init(tiny.KEY, start, data), data
  )
  stored = formation.decode(state.params).images
  seen = formation.sample(state.params, tiny.KEY, 4, None).images
  np.testing.assert_allclose(stored, seen, atol=1e-4)
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
    trained = {'networks': methods.OnSynthetic(epochs=1)}
    options = trained if make is methods.dc else {}
    method = make(
      network,
      formation,
      counts,
      (1.0,),
      instead=methods.Instead(optimizer=frozen),
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
    ('dm', 'formation=codebook,factor=2', 'factor 2: a codebook takes none'),
    ('idc', 'formation=codebook', 'factor 2: .*say factor=1'),
    ('dm', 'formation=codes', "formation 'codes': must be one of .*codebook"),
  ],
)
def test_bad_arguments(recipe, arguments, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    runner.run(tmp_path / 'run', f'digits:size=8,smoke,{arguments}', recipe)
