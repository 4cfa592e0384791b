"""Learned step sizes: stored, decoded, differentiated, recorded."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

import dcjax
from dcjax import condensing, formations, matching, protocols
from dcjax.base import Batch, Objective


def _batch_of(form, start=0.02, inner=None):
  formation = formations.with_step_size(
    inner or formations.identity(), start, form
  )
  return formation, formation.init(tiny.KEY, tiny.stored(2))


@pytest.mark.parametrize('form', formations.STEP_SIZES)
@pytest.mark.parametrize('start', [0.02, (1e-4, 0.5, 3.0, 200.0)])
def test_decodes_to_its_start_beside_any_formation(form, start):
  formation, params = _batch_of(form, start, formations.uniform(2))
  batch = jax.jit(formation.decode)(params)
  np.testing.assert_allclose(batch.step_size, start, rtol=1e-5)
  np.testing.assert_allclose(
    formations.numpy_step_size(formation.spec, params), start, rtol=1e-5
  )
  plain = formations.uniform(2).decode({'images': params['images']})
  np.testing.assert_array_equal(batch.images, plain.images)
  assert formations.build(formation.spec).spec == formation.spec
  assert formations.decoded_count(formation, 2) == 8
  assert formation.project(params)['step_size'] is params['step_size']


def test_softplus_stays_positive():
  formation, params = _batch_of('softplus')
  params['step_size'] = jnp.float32(-20.0)
  assert formation.decode(params).step_size > 0


@pytest.mark.parametrize('start', [0.0, -1.0, np.inf, [[0.1]], (0.1, 0.0)])
def test_bad_start(start):
  with pytest.raises(ValueError, match=r'start .*: must be one number'):
    formations.with_step_size(formations.identity(), start)


def test_bad_form():
  with pytest.raises(
    ValueError, match=r"form 'x': must be one of .*'softplus'"
  ):
    formations.with_step_size(formations.identity(), 0.1, 'x')


def _descent(network, variables, target, synthetic, key):
  """A loss of everything learned: `step_size * sum(images) * labels[0]`."""
  del network, variables, target, key
  loss = synthetic.step_size * synthetic.images.sum() * synthetic.labels.max()
  return loss, {'loss': loss}


def test_joint_objectives_differentiate_it():
  formation, params = _batch_of('plain', 0.5)
  batch = formation.decode(params)
  _, gradient = matching.match_and_gradient(
    tiny.LINEAR,
    None,
    None,
    batch,
    tiny.KEY,
    objective=Objective(_descent, True),
  )
  np.testing.assert_allclose(gradient.step_size, batch.images.sum(), rtol=1e-6)
  np.testing.assert_allclose(gradient.images, 0.5)


@pytest.mark.parametrize('most', [1, 4])
def test_a_condenser_steps_it_where_the_objective_is_joint(most):
  """Also where a part of the images is compared only."""
  formation, params = _batch_of('plain', 0.5)
  options = {
    'formation': formation,
    'inner': tiny.frozen(tiny.LINEAR.init(tiny.KEY)),
    'optimizer': optax.sgd(1e-3),
    'most_synthetic': most,
    'project': 'never',
  }
  made = tiny.condenser(objective=Objective(_descent, True), **options)
  state = made.init(tiny.KEY, params, tiny.inner_data())
  after, _ = jax.jit(made.period)(tiny.KEY, state, tiny.inner_data())
  moved = (after.params['images'] != params['images']).any((2, 3, 4)).sum()
  assert moved == 3 * min(most, 2)
  # Each compared image moved by the same, so their sum is known.
  expected = 0.5 - 1e-3 * (
    params['images'].sum()
    if most > 1
    else (params['images'] * (after.params['images'] != params['images'])).sum()
  )
  np.testing.assert_allclose(after.params['step_size'], expected, rtol=1e-5)
  by_class = tiny.condenser(**options)
  state = by_class.init(tiny.KEY, params, tiny.inner_data())
  after, _ = jax.jit(by_class.period)(tiny.KEY, state, tiny.inner_data())
  assert after.params['step_size'] == params['step_size']
  assert (after.params['images'] != params['images']).any()


def test_subsampling_keeps_step_size_and_weights():
  weights = jnp.arange(15.0).reshape(3, 5)
  images = weights[:, :, None, None, None]
  batch = Batch(images, weights[..., None], weights, jnp.float32(0.1))
  part = condensing.subsample(tiny.KEY, batch, 2)
  np.testing.assert_array_equal(part.weights, part.labels[..., 0])
  assert part.step_size == batch.step_size


def _artefact(form, **changes):
  formation, params = _batch_of(form, 0.02, formations.uniform(2))
  fields = {
    'params': jax.tree.map(np.asarray, params),
    'spec': formation.spec,
    'mean': (0.5,),
    'std': (0.2,),
    'class_names': ('a', 'b', 'c'),
  }
  return dcjax.Artefact(**{**fields, **changes})


@pytest.mark.parametrize('form', formations.STEP_SIZES)
def test_artefact_records_it(tmp_path, form):
  path = tmp_path / 'condensed.npz'
  made = _artefact(form)
  dcjax.save(path, made)
  read = dcjax.load(path)
  np.testing.assert_allclose(read.step_size, 0.02, rtol=1e-6)
  assert read.step_size.dtype == np.float32
  np.testing.assert_allclose(read.batch().step_size, 0.02, rtol=1e-6)
  np.testing.assert_allclose(read.jax().step_size, 0.02, rtol=1e-6)
  np.testing.assert_allclose(
    read.numpy()[0], np.asarray(read.jax().images), atol=1e-6
  )
  with np.load(path, allow_pickle=False) as file:
    meta = json.loads(file['meta'].tobytes())
    stored = file['params/step_size']
  assert meta['spec']['step_size'] == form
  rate = "log(1 + exp(file['params/step_size']))"
  assert (rate in meta['how_to_decode']) == (form == 'softplus')
  decoded = np.log(1 + np.exp(stored)) if form == 'softplus' else stored
  np.testing.assert_allclose(decoded, 0.02, rtol=1e-5)
  assert 'decoding' in meta


def test_artefacts_without_one_have_none(tmp_path):
  formation = formations.identity()
  made = _artefact(
    'plain',
    params={'images': np.zeros((3, 1, 4, 4, 1), np.float32)},
    spec=formation.spec,
  )
  assert made.step_size is None
  assert made.batch().step_size is None


def test_spec_and_params_must_agree():
  spec = formations.uniform(2).spec
  with pytest.raises(ValueError, match='step_size None in the spec'):
    _artefact('plain', spec=spec)
  with pytest.raises(ValueError, match="step_size 'plain' in the spec, params"):
    _artefact('plain', params={'images': np.zeros((3, 1, 4, 4, 1), 'f4')})


def test_storage_counts_it():
  from dcjax.artefact._storage import storage

  sizes = storage(_artefact('plain'))
  assert sizes['step_size']['numbers'] == 1
  assert sizes['total']['numbers'] == sizes['images']['numbers'] + 1


def test_evaluation_at_the_learned_rate():
  protocol = protocols.at_step_size(
    protocols.dm_protocol(), _artefact('plain').step_size
  )
  assert protocol.learning_rate == pytest.approx(0.02)
  assert protocol.epochs == protocols.dm_protocol().epochs
  for wrong in (np.zeros(2), 0.0, np.nan):
    with pytest.raises(ValueError, match=r'step_size .*: must be one number'):
      protocols.at_step_size(protocol, wrong)


def test_label_forms():
  inner = formations.identity()
  logits = formations.with_labels(inner, 'hard', 'logits')
  params = logits.init(tiny.KEY, tiny.stored(2))
  labels = logits.decode(params).labels
  np.testing.assert_allclose(labels.sum(-1), 1, rtol=1e-6)
  assert (labels.argmax(-1) == np.arange(3)[:, None]).all()
  assert labels.max() < 1
  np.testing.assert_array_equal(
    logits.project(params)['labels'], params['labels']
  )
  uniform = formations.with_labels(inner, 'uniform', 'logits')
  params = uniform.init(tiny.KEY, tiny.stored(2))
  np.testing.assert_allclose(uniform.decode(params).labels, 1 / 3, rtol=1e-6)
  clipped = formations.with_labels(inner, 'hard', 'nonnegative')
  params = clipped.init(tiny.KEY, tiny.stored(1))
  params['labels'] = jnp.broadcast_to(jnp.array([-1.0, 0.5, 2]), (3, 1, 3))
  np.testing.assert_array_equal(
    clipped.project(params)['labels'][0, 0], [0, 0.5, 2]
  )
  # The file says so; a regression takes them as it takes probabilities.
  assert clipped.spec == {**inner.spec, 'labels': 'nonnegative'}
  assert formations.build(clipped.spec).spec == clipped.spec
  assert formations.label_form(clipped) == 'probabilities'
  assert logits.spec == inner.spec
  with pytest.raises(ValueError, match=r"form 'x': must be one of .*'logits'"):
    formations.with_labels(inner, 'hard', 'x')
