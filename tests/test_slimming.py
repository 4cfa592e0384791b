"""Network slimming against its rules, and as a command from data to report."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import runner
import tiny

from dcjax import applications, labelling, networks, training, trees
from dcjax.base import Variables
from dcjax.optimizers import sgd

_SHAPE = (8, 8, 1)
_SPEC = {'name': 'convnet', 'depth': 2, 'width': 4, 'norm': 'batch'}


def _numbers(network, seed=0):
  """Variables without zeros, ones or equal numbers."""
  shapes = jax.eval_shape(network.init, tiny.KEY)
  rng = np.random.default_rng(seed)

  def draw(leaf):
    return rng.uniform(0.1, 1.0, leaf.shape).astype(np.float32)

  params = jax.tree.map(lambda leaf: draw(leaf) - 0.5, shapes.params)
  return Variables(params, jax.tree.map(draw, shapes.state))


def _with_scales(*scales):
  """A chain whose scales are given; nothing else of it matters."""
  layers = {f'norm{i}': np.asarray(s, np.float32) for i, s in enumerate(scales)}
  params = {name: {'scale': s, 'bias': 0 * s} for name, s in layers.items()}
  others = {f'conv{i}': {} for i in range(len(scales))}
  state = {name: {'mean': s, 'var': s} for name, s in layers.items()}
  params |= {**others, 'classifier': {}}
  return Variables(params, {'batch_stats': state})


def _as_lists(kept):
  return [np.asarray(mask).tolist() for mask in kept.values()]


def test_one_threshold_for_all_layers():
  variables = _with_scales([0.3, -0.9, 0.1], [-0.5, 0.2, 0.4])
  # Sorted: .1 .2 .3 .4 .5 .9; the entry int(6 * 0.4) = 2 falls as well.
  kept = applications.select_channels(variables, 0.4)
  assert list(kept) == ['norm0', 'norm1']
  assert _as_lists(kept) == [[False, True, False], [True, False, True]]
  kept = applications.select_channels(variables, 0.1)
  assert _as_lists(kept) == [[True, True, False], [True, True, True]]


def test_every_layer_keeps_a_channel():
  variables = _with_scales([0.01, -0.03, 0.02], [0.5, 0.6, 0.7])
  kept = applications.select_channels(variables, 0.5)
  assert _as_lists(kept) == [[False, True, False], [False, True, True]]
  kept = applications.select_channels(variables, 0.99)
  assert _as_lists(kept) == [[False, True, False], [False, False, True]]


@pytest.mark.parametrize(
  ('spec', 'shape'),
  [
    (_SPEC, _SHAPE),
    ({'name': 'vgg11', 'width': 2, 'norm': 'batch'}, (32, 32, 3)),
  ],
  ids=['convnet', 'vgg11'],
)
def test_masked_and_removed_channels_give_the_same_logits(spec, shape):
  network = networks.build(spec, shape, 3)
  variables = _numbers(network)
  kept = applications.select_channels(variables, 0.5)
  masked = applications.mask_channels(variables, kept)
  removed = applications.remove_channels(variables, kept)
  narrow = networks.build(applications.slim_spec(spec, kept), shape, 3)
  # Removal fits the network that is built from the description.
  assert jax.tree.map(jnp.shape, removed) == jax.tree.map(
    jnp.shape, jax.eval_shape(narrow.init, tiny.KEY)
  )
  images = jax.random.normal(tiny.KEY, (3, *shape))
  wide, slim = (jax.jit(n.apply, static_argnums=2) for n in (network, narrow))
  expected, whole = (
    wide(v, images, False)[0].logits for v in (masked, variables)
  )
  found = slim(removed, images, False)[0].logits
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
  assert np.abs(expected - whole).max() > 1e-3
  again = applications.remove_channels(masked, kept)
  tiny.assert_trees_equal(again.params, removed.params)


def test_parameters_that_are_left():
  network = networks.build(_SPEC, _SHAPE, 3)
  variables = _numbers(network)
  kept = {
    'norm0': np.array([True, False, True, False]),
    'norm1': np.array([False, False, True, False]),
  }
  removed = applications.remove_channels(variables, kept)
  # conv 9 * inputs * outputs + outputs, BatchNorm 2 * outputs, 3 x 3 pixels.
  convolutions = (9 * 1 * 2 + 2) + (9 * 2 * 1 + 1)
  total = convolutions + 2 * (2 + 1) + (9 * 1 * 3 + 3)
  assert sum(leaf.size for leaf in jax.tree.leaves(removed.params)) == total
  assert applications.slim_spec(_SPEC, kept)['width'] == (2, 1)
  assert removed.state['batch_stats']['norm1']['var'].shape == (1,)


def test_masked_channels_learn_nothing():
  """Training under a mask is training of the narrow network."""
  network = networks.build(_SPEC, _SHAPE, 3)
  variables = _numbers(network)
  kept = applications.select_channels(variables, 0.5)
  masked = applications.mask_channels(variables, kept)
  removed = applications.remove_channels(variables, kept)
  narrow = networks.build(applications.slim_spec(_SPEC, kept), _SHAPE, 3)
  images, labels = tiny.images_and_labels((4, 4, 4), _SHAPE)
  answers = labelling.ensemble_logits([network], [variables], images)
  batch = labelling.LabelledBatch(
    images, np.eye(3, dtype=np.float32)[labels], None, answers
  )
  optimizer = sgd(0.1, momentum=0.9, weight_decay=0.01)

  def trained(student, start):
    step = jax.jit(
      lambda state: training.train_step(
        student,
        optimizer,
        state,
        batch,
        labelling.student_loss('mse'),
      )[0]
    )
    return step(step(training.start_from(start, optimizer))).variables

  wide, slim = trained(network, masked), trained(narrow, removed)
  for name, mask in kept.items():
    for leaf in wide.params[name].values():
      np.testing.assert_array_equal(leaf != 0, mask)
  cut = applications.remove_channels(wide, kept)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    cut,
    jax.tree.map(np.asarray, slim),
  )
  before = removed.params['classifier']['kernel']
  assert np.abs(cut.params['classifier']['kernel'] - before).max() > 1e-3


def test_sparsity_is_added_to_the_gradient_of_scales_alone():
  params = {
    'conv0': {'kernel': jnp.array([2.0])},
    'norm0': {'scale': jnp.array([0.5, -0.5, 0.0]), 'bias': jnp.ones(3)},
    'other': {'scale': jnp.array([1.0])},
  }
  gradient = jax.tree.map(jnp.ones_like, params)
  plain = sgd(0.1, momentum=0.9, weight_decay=0.01)
  sparse = applications.with_sparsity(plain, ('norm0',), 0.25)
  state = sparse.init(params)
  tiny.assert_trees_equal(state, plain.init(params))
  updates, _ = sparse.update(gradient, state, params)
  expected = gradient | {
    'norm0': {
      'scale': 1 + 0.25 * jnp.array([1.0, -1.0, 0.0]),
      'bias': jnp.ones(3),
    }
  }
  tiny.assert_trees_equal(updates, plain.update(expected, state, params)[0])
  with pytest.raises(ValueError, match='strength -1'):
    applications.with_sparsity(optax.sgd(0.1), ('norm0',), -1)


def test_networks_that_cannot_be_slimmed():
  layers = applications.slimmable_layers
  instance = networks.convnet(_SHAPE, 3, depth=1, width=2)
  with pytest.raises(ValueError, match='without BatchNorm'):
    layers(jax.eval_shape(instance.init, tiny.KEY))
  residual = networks.resnet(
    (32, 32, 3), 3, depth=10, width_multiplier=0.125, norm='batch'
  )
  with pytest.raises(ValueError, match='only a chain'):
    layers(jax.eval_shape(residual.init, tiny.KEY))
  for spec, message in (
    ({'name': 'mlp'}, "'convnet' or 'vgg11'"),
    ({'name': 'convnet'}, "norm 'instance'.*'batch'"),
    ({**_SPEC, 'activation': 'swish'}, "'swish'.*'relu'"),
  ):
    with pytest.raises(ValueError, match=message):
      applications.check_slimmable(spec)
  variables = _with_scales([0.1, 0.2])
  for ratio in (0, 1, -0.5, float('nan')):
    with pytest.raises(ValueError, match='ratio'):
      applications.select_channels(variables, ratio)
  for kept in ({'norm0': np.zeros(2, bool)}, {'norm0': np.ones(3, bool)}, {}):
    with pytest.raises(ValueError, match='kept'):
      applications.remove_channels(variables, kept)
  with pytest.raises(ValueError, match=r'width .*2 convolutions'):
    networks.build({**_SPEC, 'width': (1, 2, 3)}, _SHAPE, 3)


def _run(folder, **changes):
  return runner.run(folder, 'digits,smoke', 'slimming', **changes)


def test_the_command_reports_and_repeats_nothing(tmp_path):
  changes = {'sets__names': ('random',)}
  found = _run(tmp_path, **changes)
  entry = found['random']
  assert set(found) == {'random'}
  for stage in ('whole', 'sparsity', 'pruned', 'tuned'):
    assert len(entry[stage]) == 2
  assert entry['whole'] != entry['sparsity'] != entry['tuned']
  assert all(0 < w[0] < 4 for w in entry['widths'])
  assert np.all(np.less(entry['left'], entry['parameters']))
  # What is left fits the narrow network.
  config = runner.resolved('digits,smoke', 'slimming').config
  spec = networks.complete('network', config.network)
  spec['width'] = tuple(entry['widths'][1])
  narrow = networks.build(spec, (8, 8, 1), 10)
  (file,) = (tmp_path / 'stages').glob('networks-random-1-*.npz')
  trees.load(file, jax.eval_shape(narrow.init, tiny.KEY))
  text = (tmp_path / 'report.md').read_text()
  assert 'fine-tuned' in text
  assert '50% of the channels' in text
  assert (tmp_path / 'plot.svg').read_bytes()[:4] == b'<svg'
  assert (tmp_path / 'report.html').is_file()
  before = (tmp_path / 'stages.json').read_bytes()
  assert _run(tmp_path, **changes) == found
  assert (tmp_path / 'stages.json').read_bytes() == before


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'ratio': 1.0}, 'ratio 1.0'),
    ({'network': 'convnet:norm=instance'}, "needs norm 'batch'"),
    ({'sets__names': ('kmeans',)}, "sets.names 'kmeans': must be one of"),
    ({'sparsity__strength': -1.0}, 'sparsity.strength'),
  ],
)
def test_bad_settings_leave_no_folder(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    _run(tmp_path / 'run', **changes)
  assert not (tmp_path / 'run').exists()


def test_configs_name_networks_with_batch_norm():
  config = runner.resolved('cifar10,ratio=0.7', 'slimming').config
  assert config.network.startswith('vgg11:')
  assert 'norm=batch' in config.network
  assert config.ratio == 0.7
  assert 'edc' in config.sets.names
  reference = runner.resolved('cifar10,schedule=reference', 'slimming').config
  assert 'width=64' in reference.network
  assert reference.whole.epochs == 160
