"""EDC's matching, flatness and evaluation, and rates, as published codes have.

Values of the codes themselves, run once; what the arrays are stands beside the
assertions. Where a default of dcjax is another one, the option is given.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import torch_layout

from dcjax import (
  inner,
  labelling,
  methods,
  networks,
  objectives,
  optimizers,
  statistics,
  training,
)
from dcjax.base import Batch, Network, Outputs

# dcjax's name for every layer that EDC hooks.
_LAYERS = {
  f'features/{4 * block + place}': f'{kind}{block}'
  for block in range(3)
  for place, kind in enumerate(('conv', 'norm'))
}
# A statistic of the files -> where it stands in dcjax's targets.
_STATISTICS = {
  'mean': ('channel', 'mean'),
  'var': ('channel', 'variance'),
  'patch_mean': ('patch', 'mean'),
  'patch_var': ('patch', 'variance'),
}


def _weights(file, network, prefix='w/'):
  state = {
    name.removeprefix(prefix): array
    for name, array in file.items()
    if name.startswith(prefix)
  }
  return networks.from_torch_state(network, state, 'convnet')


@pytest.fixture(scope='module', params=[16, 14])
def matching(golden, request):
  """A file, its observer, and the statistics of its real images."""
  size = request.param
  file = golden(f'edc_matching_{size}x3')
  network = networks.convnet((size, size, 3), 4, width=8, norm='batch')
  variables = _weights(file, network)
  parts = statistics.collector(
    network, (size, size, 3), 4, class_variance='within'
  )
  update = jax.jit(parts.update)
  state = parts.init(variables)
  for start, stop in itertools.pairwise(file['real_batches']):
    images = torch_layout.images(file['x_real'][start:stop])
    labels = jax.nn.one_hot(file['y_real'][start:stop], 4)
    state = update(state, variables, Batch(images, labels))
  return file, network, variables, parts.finish(state, variables)


def test_statistics_of_real_images_are_edcs(matching):
  file, *_, targets = matching
  compared = 0
  for layer, name in _LAYERS.items():
    for of_classes, found in (
      ('', targets.whole[name]),
      ('class_', targets.classes[name]),
    ):
      for statistic, (kind, moment) in _STATISTICS.items():
        expected = file.get(f'stat/{layer}/{of_classes}{statistic}')
        if expected is None:  # A norm's own are its running statistics.
          continue
        compared += 1
        np.testing.assert_allclose(
          getattr(getattr(found, kind), moment),
          expected,
          rtol=1e-5,
          atol=1e-6,
          err_msg=f'{layer} {of_classes}{statistic}',
        )
  assert compared == 30


def test_every_step_of_edc_is_the_published_codes(matching):
  file, network, variables, real = matching
  terms = objectives.StatisticsTerms(
    weight=0.01,
    flatness=0.25,
    debias=False,
    flatness_reduction='elements',
  )

  def images(array):
    return torch_layout.images(array)[None]

  labels = jnp.eye(4)[file['labels']][None]

  @jax.jit
  @functools.partial(jax.grad, has_aux=True)
  def gradient(synthetic, running, flat_alone):
    target = objectives.StatisticsTarget(real, running, images(file['x_ema']))
    loss, aux = objectives.statistics_loss(
      network, variables, target, Batch(synthetic, labels), tiny.KEY, terms
    )
    return jnp.where(flat_alone, 4 * aux[0]['flatness'], loss), aux

  running = objectives.start_running(real)
  for step, seen in enumerate(file['x_syn']):
    dx, (metrics, after) = gradient(images(seen), running, False)
    name = f'step{step}_'
    np.testing.assert_allclose(metrics['loss'], file[f'{name}loss'], rtol=1e-5)
    np.testing.assert_allclose(
      metrics['statistics'], 0.01 * file[f'{name}statistics'], rtol=1e-5
    )
    np.testing.assert_allclose(
      metrics['cross_entropy'], file[f'{name}ce'], rtol=1e-5
    )
    np.testing.assert_allclose(
      4 * metrics['flatness'], file[f'{name}kl'], rtol=1e-3, atol=1e-7
    )
    _near(dx, file[f'{name}dx'], 1e-6)
    dx, _ = gradient(images(seen), running, True)
    running = after
  # Of flatness alone, whose two sides nearly cancel in float32.
  _near(dx, file[f'{name}dx_kl'], 1e-4)


def _near(dx, expected, share):
  np.testing.assert_allclose(
    np.moveaxis(dx[0], -1, 1),
    expected,
    rtol=1e-4,
    atol=share * np.abs(expected).max(),
  )


@pytest.mark.parametrize(
  ('reduction', 'name'), [('elements', 'elements'), ('batch', 'batchmean')]
)
def test_flatness_is_edcs(golden, reduction, name):
  file = golden('edc_flatness_logits')
  value, gradient = jax.value_and_grad(objectives.flatness)(
    file['logits'], file['ema_logits'], float(file['temperature']), reduction
  )
  np.testing.assert_allclose(value, file[name], rtol=1e-5)
  np.testing.assert_allclose(
    gradient, file[f'{name}_dlogits'], rtol=1e-4, atol=1e-7
  )


def _says(logits):
  """A teacher whose numbers are its answer."""
  return Outputs(logits), {}


_TEACHER = Network(None, lambda logits, *_: _says(logits), 'teacher')


@pytest.mark.parametrize('norm', ['group', 'batch'])
def test_students_train_and_are_averaged_as_edcs(golden, norm):
  with jax.enable_x64(True):
    _assert_student(golden(f'edc_evaluation_{norm}'), norm)


def _assert_student(file, norm):
  network = networks.convnet((16, 16, 3), 4, depth=2, width=8, norm=norm)

  def weights(prefix, **more):
    return jax.tree.map(
      lambda x: jnp.asarray(x, jnp.float64),
      _weights(file | more, network, prefix),
    )

  optimizer = optimizers.with_average(optimizers.adamw(1e-3), 0.99)
  loss = labelling.student_loss('mse', hard_weight=0.025)
  parts = [labelling.student_loss('mse', hard_weight=0), loss]

  @jax.jit
  def step(state, images, teachers, labels):
    logits = labelling.ensemble_logits([_TEACHER] * 3, teachers, images)
    batch = labelling.LabelledBatch(images, labels, None, logits)
    return training.train_step(network, optimizer, state, batch, loss=loss)

  images = np.moveaxis(file['images'].astype(np.float64), 2, -1)
  labels = jnp.eye(4)[file['labels']]
  answers = file['teacher_logits'].astype(np.float64)
  state = training.start_from(weights('w/'), optimizer)
  for number in range(3):
    state, metrics = step(
      state, images[number], tuple(answers[number]), labels[number]
    )
    np.testing.assert_allclose(
      metrics['loss'], file['losses_total_mse_ce'][number, 0], rtol=1e-5
    )

  logits = jnp.asarray(file['step0_logits'], jnp.float64)
  mean = answers[0].mean(0)
  batch = labelling.LabelledBatch(None, labels[0], None, mean)
  mse, total = (part(logits, batch) for part in parts)
  np.testing.assert_allclose(
    [total, mse, (total - mse) / 0.025],
    file['losses_total_mse_ce'][0],
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    jax.jit(jax.grad(loss))(logits, batch), file['step0_dlogits'], atol=1e-7
  )

  averaged = optimizers.averaged_params(state.opt_state)
  live = weights('live/')
  running = {
    name.replace('live/', 'average/'): array
    for name, array in file.items()
    if 'running' in name
  }
  average = weights('average/', **running)
  for found, expected in (
    (state.variables.params, live.params),
    (averaged, average.params),
  ):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected
    )
  # PyTorch's running variances are unbiased, dcjax's biased.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
    state.variables.state,
    live.state,
  )
  tested, _ = jax.jit(network.apply, static_argnums=2)(
    state.variables._replace(params=averaged),
    np.moveaxis(file['test_images'].astype(np.float64), 1, -1),
    False,
  )
  np.testing.assert_allclose(tested.logits, file['test_logits'], atol=5e-5)


def test_images_are_stepped_at_sre2ls_rates(golden):
  """Adam's step is its rate times a constant under an unchanging gradient."""
  file = golden('schedules')
  network = networks.convnet((4, 4, 1), 3, depth=1, width=4, norm='batch')
  variables = network.init(tiny.KEY)
  seen = statistics.running_statistics(network, variables, (4, 4, 1))
  data = inner.InnerData(
    None, observers=(variables,), targets=(statistics.Targets(seen),)
  )
  condenser = methods.sre2l(
    network,
    (0.5,),
    (1.0,),
    iterations=1000,
    learning_rate=0.01,
    inner_steps=1,
    seen=methods.Recovery(flip=False),
  )
  params = {'images': tiny.stored(1) / 2 + 0.25, 'labels': jnp.eye(3)[:, None]}
  start = condenser.init(tiny.KEY, params, data)
  period = jax.jit(condenser.period)
  for at, rate in zip(
    file['recover_iterations1000_at'],
    file['recover_iterations1000_rate'],
    strict=True,
  ):
    counted = jax.tree.map(
      lambda x, at=at: jnp.full_like(x, at) if x.dtype == jnp.int32 else x,
      start.opt_state,
    )
    after, _ = period(tiny.KEY, start._replace(opt_state=counted), data)
    moved = np.abs(after.params['images'] - params['images']).max()
    # The first gradient in averages that began `at` steps ago.
    scale = (1 - 0.5) / (1 - 0.5 ** (at + 1.0))
    scale /= np.sqrt((1 - 0.9) / (1 - 0.9 ** (at + 1.0)))
    np.testing.assert_allclose(moved, 0.01 * rate * scale, rtol=1e-3, atol=2e-7)


def test_cdas_crops_narrow_as_published(golden):
  file = golden('schedules')
  name = 'cda_smallest_crop_iterations1000_milestone1'
  found = methods.curriculum(0.08)(file[f'{name}_at'] / 1000)
  np.testing.assert_allclose(found, file[name], atol=1e-6)
