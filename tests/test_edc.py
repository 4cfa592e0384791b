"""Statistics matching and its recipes, against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
import tiny_observer

import dcjax
from dcjax import (
  augment,
  condensing,
  formations,
  inner,
  methods,
  networks,
  objectives,
  optimizers,
  statistics,
)
from dcjax.base import Batch
from dcjax.objectives import (
  RunningStatistics,
  StatisticsTarget,
  StatisticsTerms,
)

_SHAPE = tiny_observer.SHAPE
_MEAN, _STD = (0.4, 0.5), (0.2, 0.25)
_NORMALISE = augment.normalise(_MEAN, _STD)


@pytest.fixture(scope='module')
def observer():
  return tiny_observer.observer()


def _random_statistics(network, lead=(), seed=0):
  """Statistics of the layers of a network, with leaves `[*lead, F]`."""
  rng = np.random.default_rng(seed)
  patches, channels = 4, {'conv': _SHAPE[-1], 'norm': 3}

  def moments(size):
    return statistics.Moments(
      rng.normal(size=(*lead, size)), rng.uniform(0.5, 2, (*lead, size))
    )

  result = statistics.Statistics()
  for name, kind in networks.layer_kinds(network, _SHAPE).items():
    patch = moments(patches) if kind == 'convolution' else None
    result[name] = statistics.LayerStatistics(moments(channels[name]), patch)
  return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), result)


def _batch(seed=0):
  rng = np.random.default_rng(seed)
  images = jnp.asarray(rng.uniform(size=(1, 4, *_SHAPE)), jnp.float32)
  return Batch(images, jnp.eye(3)[np.array([[0, 0, 2, 0]])])


def _leaves(layer):
  return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(layer)]


def _log_softmax(x):
  x = np.asarray(x, np.float64)
  x = x - x.max(-1, keepdims=True)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_every_term_equals_numpy(observer):
  network, variables = observer
  batch, other = _batch(), _batch(1)
  whole = _random_statistics(network)
  classes = _random_statistics(network, (3,), seed=1)
  before = _random_statistics(network, seed=2)
  visits = objectives.start_running(statistics.Targets(whole)).visits
  visits = jax.tree.map(lambda x: x + 1.0, visits)
  target = StatisticsTarget(
    statistics.Targets(whole, classes),
    RunningStatistics(before, visits),
    other.images,
  )
  terms = StatisticsTerms(
    weight=0.3, alpha=0.7, momentum=0.8, flatness=0.25, densification=0.5
  )

  @tiny_observer.jit
  def run(variables, target, batch):
    loss, (metrics, running) = objectives.statistics_loss(
      network, variables, target, batch, tiny.KEY, terms, _NORMALISE
    )
    normal = [_NORMALISE(tiny.KEY, b[0]) for b in (batch.images, other.images)]
    seen = [networks.observe(network, variables, x) for x in normal]
    now = statistics.pool(
      statistics.image_statistics(seen[0].inputs, {'conv'}, 4)
    )
    logits = [s.outputs.logits for s in seen]
    return loss, metrics, running, now, logits

  loss, metrics, running, now, logits = run(variables, target, batch)
  total = 0.0
  for position, name in enumerate(('conv', 'norm')):
    distance = 0.0
    for t, old, real, of_class, kept in zip(
      *map(
        _leaves,
        (now[name], before[name], whole[name], classes[name]),
      ),
      _leaves(running.average[name]),
      strict=True,
    ):
      average = 0.8 * old + 0.2 * t
      np.testing.assert_allclose(kept, average, rtol=1e-5, atol=1e-6)
      value = average / (1 - 0.8**2)
      mixed = 0.75 * of_class[0] + 0.25 * of_class[2]
      distance += 0.7 * np.linalg.norm(value - real)
      distance += 0.3 * np.linalg.norm(value - mixed)
    total += distance * (1 if position else 10)
  np.testing.assert_allclose(metrics['statistics'], 0.3 * total, rtol=1e-4)
  own, calm = (_log_softmax(x) for x in logits)
  answers = -np.mean(own[np.arange(4), [0, 0, 2, 0]])
  np.testing.assert_allclose(metrics['cross_entropy'], answers, rtol=1e-4)
  own, calm = (_log_softmax(np.asarray(x) / 4) for x in logits)
  flat = 0.25 * np.mean(np.sum(np.exp(calm) * (calm - own), -1))
  np.testing.assert_allclose(metrics['flatness'], flat, rtol=1e-3, atol=1e-8)
  assert float(running.visits['conv']) == 2
  parts = sum(float(v) for n, v in metrics.items() if n != 'loss')
  np.testing.assert_allclose(loss, parts, rtol=1e-5)


def test_densification_and_flatness_equal_numpy():
  images = 0.05 * np.random.default_rng(0).normal(size=(2, 3, *_SHAPE))
  flat = images.reshape(2, 3, -1)
  values = np.linalg.eigvalsh(flat @ flat.swapaxes(1, 2))
  soft, sharp = _log_softmax(values / 4), _log_softmax(values)
  np.testing.assert_allclose(
    objectives.densification(jnp.asarray(images, jnp.float32)),
    np.sum(np.exp(soft) * (soft - sharp)),
    rtol=1e-3,
  )
  alike = jnp.ones((1, 3, *_SHAPE))
  gradient = tiny_observer.jit(jax.grad(objectives.densification))(alike)
  assert np.isfinite(gradient).all()
  a, b = np.array([[1.0, 2, 4]]), np.array([[0.0, 3, 1]])
  student, teacher = _log_softmax(a / 2), _log_softmax(b / 2)
  expected = np.mean(np.exp(teacher) * (teacher - student))
  np.testing.assert_allclose(
    objectives.flatness(jnp.asarray(a), jnp.asarray(b), 2.0, 'elements'),
    expected,
    rtol=1e-5,
  )


def test_dropped_convolutions_neither_count_nor_are_averaged(observer):
  network, variables = observer
  real = statistics.Targets(_random_statistics(network))
  target = StatisticsTarget(real, objectives.start_running(real))
  terms = StatisticsTerms(alpha=1.0, drop_rate=0.5)

  def one(key):
    _, (metrics, running) = objectives.statistics_loss(
      network, variables, target, _batch(), key, terms
    )
    return metrics['statistics'], running.visits

  keys = jax.random.split(tiny.KEY, 8)
  values, visits = tiny_observer.jit(jax.vmap(one))(keys)
  assert (np.asarray(visits['norm']) == 1).all()
  kept = np.asarray(visits['conv']) == 1
  assert 0 < kept.sum() < 8
  assert np.ptp(values[kept]) < 1e-5
  assert np.ptp(values[~kept]) < 1e-5
  assert values[kept].min() > values[~kept].max()


def test_match_takes_the_objective(observer):
  network, variables = observer
  real = statistics.running_statistics(network, variables, _SHAPE)
  objective = objectives.statistics_matching(StatisticsTerms(alpha=1.0))

  @tiny_observer.jit
  def run(variables, real, batch):
    return dcjax.match_and_gradient(
      network,
      variables,
      StatisticsTarget(statistics.Targets(real)),
      batch,
      tiny.KEY,
      objective=objective,
      augment=_NORMALISE,
    )

  metrics, gradient = run(variables, real, _batch())
  assert np.isfinite(gradient.images).all()
  assert float(jnp.abs(gradient.images).max()) > 0
  assert float(metrics['flatness']) == 0


def test_the_condenser_takes_the_objective(observer):
  network, variables = observer
  real = statistics.running_statistics(network, variables, _SHAPE)
  target = StatisticsTarget(statistics.Targets(real))
  method = dcjax.condenser(
    network,
    formation=formations.with_labels(formations.identity(), 'hard'),
    objective=objectives.statistics_matching(StatisticsTerms(alpha=1.0)),
    source=condensing.Source(
      lambda key: (), lambda key, state, data: (state, target)
    ),
    inner=tiny.frozen(variables),
    optimizer=optax.sgd(0.01),
    augment=_NORMALISE,
    inner_steps=2,
  )
  batch = _batch()
  params = {'images': batch.images, 'labels': batch.labels}
  state = method.init(tiny.KEY, params, None)
  _, metrics = tiny_observer.jit(method.period)(tiny.KEY, state, None)
  assert metrics['loss'][1] < metrics['loss'][0]


def test_targets_that_do_not_fit_are_errors(observer):
  network, variables = observer
  whole = statistics.Targets(_random_statistics(network))

  def run(real, **terms):
    jax.eval_shape(
      lambda batch: objectives.statistics_loss(
        network,
        variables,
        StatisticsTarget(real),
        batch,
        tiny.KEY,
        StatisticsTerms(**terms),
      ),
      _batch(),
    )

  with pytest.raises(ValueError, match=r'no statistics of classes: alpha 0\.5'):
    run(whole)
  with pytest.raises(ValueError, match='no averaged images'):
    run(whole, alpha=1.0, flatness=0.25)
  with pytest.raises(ValueError, match="layer 'conv': its statistics"):
    run(whole, alpha=1.0, patch_size=6)
  with pytest.raises(ValueError, match="target layer 'other': must be one of"):
    layer = whole.whole['norm']
    run(statistics.Targets(statistics.Statistics(other=layer)), alpha=1.0)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'alpha': 1.5}, 'alpha'),
    ({'momentum': 1.0}, 'momentum'),
    ({'temperature': 0.0}, 'temperature'),
    ({'flatness_reduction': 'sum'}, 'flatness_reduction'),
  ],
)
def test_terms_are_checked(options, message):
  with pytest.raises(ValueError, match=message):
    objectives.statistics_matching(StatisticsTerms(**options))


def test_schedules_equal_their_formulas():
  i = np.arange(0, 61)
  smooth = 0.1 * (1 + np.cos(np.pi * i / 120)) / 2
  rate = optimizers.smoothing_schedule(0.1, 60, 2.0)
  np.testing.assert_allclose(rate(i), smooth, rtol=1e-4)
  assert float(rate(60)) == pytest.approx(0.05)
  end = 0.1 * (1 + np.cos(5 * np.pi / 12)) / 2 * (360 - 6 * i) / 360
  np.testing.assert_allclose(
    optimizers.ssrs_schedule(0.1, 60, 2.0)(i),
    np.where(i <= 50, smooth, end),
    rtol=1e-4,
    atol=1e-8,
  )
  with pytest.raises(ValueError, match='zeta'):
    optimizers.smoothing_schedule(0.1, 60, 0.5)


def test_averaged_parameters():
  optimizer = optimizers.with_average(optimizers.sgd(1.0, momentum=0.0), 0.9)
  params, average = jnp.array([1.0, 2.0]), np.array([1.0, 2.0])
  state = optimizer.init(params)
  for _ in range(3):
    updates, state = optimizer.update(jnp.array([0.5, -1.0]), state, params)
    params = params + updates
    average = 0.9 * average + 0.1 * np.asarray(params)
  np.testing.assert_allclose(
    optimizers.averaged_params(state), average, rtol=1e-5
  )
  with pytest.raises(ValueError, match='with_average'):
    optimizers.averaged_params(())


def test_image_batches_go_class_by_class_or_round():
  whole = methods.image_batches(10, 3, 12)
  assert [b.shape for b in whole] == [(4, 3, 2)] * 2 + [(2, 3, 2)]
  assert (whole[0][..., 0] == np.arange(4)[:, None]).all()
  mixed = methods.image_batches(3, 4, 5)
  assert [b.shape for b in mixed] == [(1, 5, 2), (1, 5, 2), (1, 2, 2)]
  (first, _) = methods.image_batches(4, 2, 4, 'round')
  np.testing.assert_array_equal(first[0], [[c, 0] for c in range(4)])
  images = tiny.stored(4)
  again = jnp.zeros_like(images)
  for slots in mixed:
    params = methods.cut_batch(images, slots)
    np.testing.assert_array_equal(params['labels'].argmax(-1), slots[..., 0])
    again = methods.put_batch(again, slots, params)
  np.testing.assert_array_equal(again, images)
  with pytest.raises(ValueError, match="order 'x'"):
    methods.image_batches(3, 4, 5, 'x')


def test_edc_takes_turns_and_lowers_the_loss():
  pair = [tiny_observer.observer(norm) for norm in (True, False)]
  built = [network for network, _ in pair]
  data = inner.InnerData(
    None,
    observers=tuple(variables for _, variables in pair),
    targets=tuple(
      statistics.Targets(
        _random_statistics(network), _random_statistics(network, (3,), 1)
      )
      for network in built
    ),
  )
  condenser = methods.edc(
    built, _MEAN, _STD, iterations=6, inner_steps=3, learning_rate=0.2
  )
  start = tiny.stored(2, shape=_SHAPE)
  first, second = methods.image_batches(3, 2, 4)
  state = condenser.init(tiny.KEY, methods.cut_batch(start, first), data)
  period = tiny_observer.jit(condenser.period)
  state, early = period(tiny.KEY, state, data)
  state, late = period(tiny.KEY, state, data)
  losses = np.concatenate([early['loss'], late['loss']])
  assert losses[4] < losses[0]
  assert losses[5] < losses[1]
  images = state.params['images']
  moved = np.abs(images - methods.cut_batch(start, first)['images'])
  assert (moved.max((2, 3, 4)) > 0).all()
  assert float(images.min()) >= 0
  assert float(images.max()) <= 1
  averaged = np.abs(state.memory.averaged - images)
  assert 0 < averaged.max() < 1
  running = state.memory.running.each
  assert [float(r.visits['conv']) for r in running] == [3, 3]
  following = condenser.restart(state, methods.cut_batch(start, second))
  assert following.params['images'].shape == (1, 2, *_SHAPE)
  assert (int(following.step), int(following.memory.step)) == (6, 0)
  assert following.memory.averaged.shape == (1, 2, *_SHAPE)
  assert float(following.memory.running.each[0].visits['conv']) == 3
  assert not jax.tree.leaves(following.inner.variables)  # of the data


@pytest.mark.parametrize('formation', [None, formations.uniform(2)])
def test_cda_moves_images_and_its_curriculum_narrows(observer, formation):
  network, variables = observer
  real = statistics.running_statistics(network, variables, _SHAPE)
  data = inner.InnerData(
    None, observers=(variables,), targets=(statistics.Targets(real),)
  )
  condenser = methods.cda(
    network,
    _MEAN,
    _STD,
    iterations=2,
    inner_steps=2,
    formation=formation,
  )
  start = tiny.stored(2, shape=_SHAPE)
  results = list(
    methods.synthesise(
      condenser,
      start,
      data,
      tiny.KEY,
      batches=methods.image_batches(3, 2, 3, 'round'),
      iterations=2,
      inner_steps=2,
      tiles=formation.tiles if formation else 1,
    )
  )
  assert len(results) == 2
  moved = np.abs(results[0][0] - start).max((2, 3, 4))
  assert (moved[:, 0] > 0).all()
  assert (moved[:, 1] == 0).all()
  assert (np.abs(results[1][0] - start).max((2, 3, 4)) > 0).all()
  low = methods.curriculum(0.08)
  np.testing.assert_allclose(
    [low(p) for p in (0.0, 0.5, 1.0)], [1, 0.54, 0.08], rtol=1e-5
  )


def test_cells_of_stored_images_keep_their_labels(observer):
  formation = formations.with_labels(formations.uniform(2), 'hard')
  values = jnp.arange(6.0).reshape(2, 3) / 10
  images = jnp.broadcast_to(values[..., None, None, None], (2, 3, 4, 4, 1))
  whole = jnp.zeros((6, 1, 4, 4, 1)).at[:, 0].set(images.reshape(6, 4, 4, 1))
  slots = np.stack([np.arange(6), np.zeros(6, int)], -1).reshape(2, 3, 2)
  decoded = jax.jit(
    lambda whole: formation.decode(methods.cut_batch(whole, slots, 4))
  )(whole)
  found = jnp.round(10 * decoded.images.mean((2, 3, 4)))
  np.testing.assert_array_equal(decoded.labels.argmax(-1), found)
  assert decoded.images.shape[:2] == (2, 12)
  with pytest.raises(ValueError, match="'multiscale': must be one of"):
    methods.edc([observer[0]], _MEAN, _STD, formation=formations.multiscale(2))


def test_the_ladder_adds_one_thing_at_a_time():
  rungs = [methods.edc_configuration(name) for name in 'ABCDEFG']
  assert rungs[0].iterations == 4000
  assert [r.zeta for r in rungs] == [1, 1, 2, 2, 2, 2, 2]
  assert [r.terms.flatness for r in rungs] == [0] * 3 + [0.25] * 4
  assert [r.batch_size for r in rungs] == [1024] * 4 + [100] * 3
  assert [r.terms.alpha for r in rungs] == [1] * 5 + [0.5] * 2
  assert [r.average_rate for r in rungs] == [None] * 6 + [0.99]
  for rung in rungs:
    methods.edc([tiny.LINEAR], _MEAN, _STD, terms=rung.terms, seen=rung.seen)
  with pytest.raises(ValueError, match="configuration 'H'"):
    methods.edc_configuration('H')


def test_recipes_check_their_options(observer):
  network, _ = observer
  with pytest.raises(ValueError, match='iterations 30: must be a positive'):
    methods.edc([network], _MEAN, _STD, iterations=30)
  with pytest.raises(ValueError, match='must be at least one network'):
    methods.gvbsm([], _MEAN, _STD)
  with pytest.raises(ValueError, match='smallest_crop 0'):
    methods.sre2l(network, _MEAN, _STD, seen=methods.Recovery(0.0))
  condenser = methods.edc([network], _MEAN, _STD)
  with pytest.raises(ValueError, match='data hold 0 observers: must be 1'):
    condenser.init(
      tiny.KEY,
      methods.cut_batch(tiny.stored(1), np.zeros((1, 1, 2), int)),
      inner.InnerData(None),
    )


def test_rded_keeps_what_the_observer_finds_easy(observer):
  network, variables = observer
  data = tiny.device_data((5, 4, 6), _SHAPE)
  images = methods.rded(
    [network],
    [variables],
    data,
    2,
    tiny.KEY,
    normalise=_NORMALISE,
    crops=1,
    scale=(1.0, 1.0),
  )
  logits = jax.jit(
    lambda x: network.apply(variables, _NORMALISE(tiny.KEY, x), False)[0].logits
  )(data.images)
  own = -_log_softmax(logits)[np.arange(15), np.asarray(data.labels)]
  for c in range(3):
    members = np.flatnonzero(np.asarray(data.labels) == c)
    best = members[np.argsort(own[members])[:2]]
    np.testing.assert_allclose(images[c], data.images[best], atol=1e-5)


def test_rded_stitches_cells_row_by_row():
  crops = jnp.arange(8.0).reshape(8, 1, 1, 1)
  images = methods.stitch(crops, 2, 'grouped')
  np.testing.assert_array_equal(images[1, ..., 0], [[4, 5], [6, 7]])
  images = methods.stitch(crops, 2)
  np.testing.assert_array_equal(images[1, ..., 0], [[1, 3], [5, 7]])
  with pytest.raises(ValueError, match="arrangement 'x': must be one of"):
    methods.stitch(crops, 2, 'x')
  with pytest.raises(ValueError, match='factor 3: must divide'):
    methods.shuffle_tiles(3)(tiny.KEY, images)
  data = tiny.device_data((5, 4, 6), _SHAPE)
  with pytest.raises(ValueError, match='factor 4: must divide'):
    methods.rded([], [], data, 2, tiny.KEY, normalise=_NORMALISE, factor=4)
  with pytest.raises(ValueError, match='class 1: has 4 crops'):
    methods.rded([], [], data, 5, tiny.KEY, normalise=_NORMALISE)
