"""What holds of every method, shown on one tiny run of each."""

import functools
import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import runner
import traced
from stopping import StopWhen

import dcjax
from dcjax import (
  artefact,
  data,
  fairness,
  labelling,
  networks,
  runs,
  trees,
)
from dcjax.runs import _wanted, command, settings

_OBSERVER = 'convnet:width=4:depth=1:norm=batch'
_EVERY = dict(
  network='convnet:width=4:depth=1',
  evaluation__seeds=1,
  evaluation__at=(),
  evaluation__baselines=(),
)
# Method -> changes of its smoke run; some show what any of them can do.
_RUNS: dict[str, dict[str, Any]] = {
  'cafe': {},
  'cda': {},
  'dc': dict(
    network='convnet:width=4:depth=1:norm=batch', optimizer='adam:b1=0.5'
  ),
  'datm': {},
  'dd': {},
  'dm': dict(
    evaluation__seeds=2,
    evaluation__baselines=('initial', 'random'),
    labels__regime='image',
    objective='gradient',
    inner='observers',
    observers__matching=(_OBSERVER, 'convnet:width=3:depth=1'),
    observers__labelling=(_OBSERVER,),
  ),
  'dsa': dict(
    objective='generative:discriminator_widths=(8,)',
    inner='random',
    source='real:batch_size=4',
  ),
  'edc': dict(
    evaluation__at=(0.5,),
    evaluation__baselines=('random', 'random_hard'),
  ),
  'frepo': {},
  'ftd': {},
  'generative': dict(
    ipc=2,
    start='generator',
    formation='codebook:stored=float16',
    evaluation__fresh=True,
  ),
  'gvbsm': {},
  'idc': dict(evaluation__at=(0.5,), evaluation__baselines=('herding',)),
  'kip': {},
  'label_distillation': {},
  'mtt': {},
  'rat_bptt': {},
  'rcig': {},
  'rded': dict(evaluation__baselines=('random',)),
  'sre2l': dict(zca='kip'),
  'tesla': {},
}
_REGIMES = {
  'cda': 'online teacher',
  'datm': 'one soft label per image',
  'dm': 'one soft label per image',
  'edc': 'online teacher',
  'frepo': 'one soft label per image',
  'gvbsm': 'stored soft labels per crop',
  'kip': 'one soft label per image',
  'label_distillation': 'one soft label per image',
  'rcig': 'one soft label per image',
  'rded': 'online teacher',
  'sre2l': 'online teacher',
}


class Finished(NamedTuple):
  """A finished run: its method, folder, results and store."""

  method: str
  folder: Any
  results: dict[str, Any]
  store: Any

  def config(self, **changes):
    """Its config, changed as told."""
    own = _EVERY | _RUNS[self.method] | changes
    return runner.config('digits:size=8,smoke', self.method, **own)

  @property
  def label_form(self):
    """How its labels are read; kernel regression centres them."""
    return 'centred' if self.method in ('frepo', 'kip', 'rcig') else None

  def given(self):
    """What is handed over instead of named."""
    return _own() if self.method == 'cafe' else {}

  def run(self, folder, **changes):
    """Runs it in another folder, or again."""
    return runs.run(
      self.config(**changes), folder, store=self.store, **self.given()
    )

  def condensed(self, folder, **options):
    """Runs it up to its condensed set."""
    return runs.condensed(
      self.config(), folder, store=self.store, **self.given(), **options
    )


@functools.cache
def _own():
  """A data set and a network that no config names."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)
  dataset = data.from_arrays(
    images, np.arange(30) % 3, images[:9], np.arange(9) % 3, name='mine'
  )
  network = networks.convnet((8, 8, 1), 3, width=3, depth=1)
  return {'dataset': dataset, 'network': network._replace(name='tiny net')}


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """Returns the finished run of a method, made when it is first asked for."""
  folder = tmp_path_factory.mktemp('smoke')

  @functools.cache
  def run(method):
    made = Finished(method, folder / method, {}, folder / 'store')
    return made._replace(results=made.run(made.folder))

  return run


@pytest.fixture(params=_RUNS)
def smoke(request, finished):
  """The finished run of each method in turn."""
  return finished(request.param)


def test_there_is_a_run_of_every_method():
  others = ('given', 'table')
  found = [
    name
    for name in command.names()
    if name not in others and not hasattr(settings.module(name), 'run')
  ]
  assert sorted(_RUNS) == sorted(found)


def test_the_artefact_opens_and_is_finite(smoke):
  stored = dcjax.load(smoke.folder / 'condensed.npz')
  assert stored.provenance['method'] == smoke.method
  assert stored.provenance['config']['ipc'] == smoke.results['ipc']
  for leaf in jax.tree.leaves(stored.params):
    assert np.isfinite(leaf).all()
  images, labels = stored.numpy(label_form=smoke.label_form)
  classes = 3 if smoke.method == 'cafe' else 10
  assert images.shape == (classes * smoke.results['ipc'], 8, 8, 1) or (
    smoke.method == 'idc' and images.shape == (40, 8, 8, 1)
  )
  assert np.isfinite(images).all()
  assert len(labels) == len(images)
  made = settings.resolve(smoke.config()).config
  if made.clip and made.zca == 'none':
    assert images.min() >= 0 and images.max() <= 1


def test_results_are_true(smoke):
  results, folder = smoke.results, smoke.folder
  assert json.loads((folder / 'results.json').read_text()) == results
  stored = dcjax.load(folder / 'condensed.npz')
  images, labels = stored.numpy(label_form=smoke.label_form)
  entry = results['evaluations']['condensed']
  made = settings.resolve(smoke.config()).config
  assert results['method'] == smoke.method
  assert entry['images'] == len(images)
  assert entry['epochs'] in (made.evaluation.epochs, made.evaluation.epochs + 1)
  size = min(made.evaluation.batch_size, len(images))
  assert entry['updates'] == entry['epochs'] * -(-len(images) // size)
  assert len(entry['per_seed_last']) == made.evaluation.seeds
  assert 0 <= entry['last_mean'] <= entry['best_mean'] <= 1
  regime = _REGIMES.get(smoke.method, 'hard')
  assert entry['label_regime'] == stored.label_regime == regime
  assert results['label_regime'] == regime
  total = artefact.storage(stored)['total']
  assert results['storage']['total'] == total
  assert entry['bytes'] == total['float32_bytes']
  params = jax.tree.leaves(stored.params)
  assert results['bytes']['images'] == 4 * sum(p.size for p in params)
  if regime.startswith('one'):
    assert results['bytes']['labels'] == labels.nbytes == entry['label_bytes']
  elif regime.startswith('stored'):
    kept = labelling.load_labels(folder / 'labels.npz')
    assert results['bytes']['labels'] == kept.nbytes == entry['label_bytes']
  else:
    assert results['bytes']['labels'] == entry['label_bytes'] == 0
  teachers = results['bytes']['teachers']
  assert teachers == entry['teacher_bytes']
  assert (teachers > 0) == (regime == 'online teacher')


def test_a_finished_run_is_stored_in_eight_bits(finished, tmp_path):
  smoke, folder = finished('dc'), tmp_path / 'run'
  shutil.copytree(smoke.folder, folder)
  results = smoke.run(folder, storage='uint8')
  before, after = (
    dcjax.load(place / 'condensed.npz') for place in (smoke.folder, folder)
  )
  assert after.spec['name'] == 'quantised'
  assert after.provenance['config']['storage'] == 'uint8'
  assert 'storage' not in before.provenance['config']
  wanted = before.params['images']
  np.testing.assert_allclose(
    after.numpy()[0].reshape(wanted.shape), wanted, atol=np.ptp(wanted) / 500
  )
  sizes = [r['storage']['images'] for r in (smoke.results, results)]
  assert sizes[0]['disk_bytes'] == 4 * sizes[1]['disk_bytes']
  # Nothing was condensed again, and the accuracy is that of these images.
  assert results['seconds']['condense'] == smoke.results['seconds']['condense']
  assert after.results['evaluations'] == results['evaluations']
  with pytest.raises(ValueError, match=r"^storage 'uint8': inner is 'code"):
    Finished('generative', tmp_path, {}, None).run(
      tmp_path / 'none', storage='uint8'
    )


def test_the_same_command_has_finished_already(smoke, capsys):
  before = {p: p.stat().st_mtime_ns for p in smoke.folder.rglob('*')}
  assert smoke.run(smoke.folder) == smoke.results
  assert 'finished already' in capsys.readouterr().out
  assert {p: p.stat().st_mtime_ns for p in smoke.folder.rglob('*')} == before


def test_an_interrupted_run_ends_with_the_same_bytes(smoke, tmp_path):
  """Stopped after the first iteration; nothing in the store is made again."""
  kept = {p: p.stat().st_mtime_ns for p in smoke.store.rglob('*.npz')}
  looped = smoke.method != 'rded'  # which makes its set in one piece
  file = 'metrics.jsonl' if looped else 'stages/start.npz'
  with pytest.raises(runs.Interrupted, match='the same command goes on'):
    smoke.condensed(tmp_path, stop=StopWhen(tmp_path, file))
  assert not (tmp_path / 'condensed.npz').exists()
  smoke.condensed(tmp_path)
  found, expected = (
    (folder / 'condensed.npz').read_bytes()
    for folder in (tmp_path, smoke.folder)
  )
  assert found == expected
  if looped:
    assert len(runner.metrics(tmp_path)) in (2, 4)
    assert [(r['outer'], r['loss']) for r in runner.metrics(tmp_path)] == [
      (r['outer'], r['loss']) for r in runner.metrics(smoke.folder)
    ]
  assert {p: p.stat().st_mtime_ns for p in smoke.store.rglob('*.npz')} == kept
  trained = [p.name for p in (tmp_path / 'checkpoints').glob('*')]
  assert trained == (['condense'] if looped else [])


# Methods of which `test_sharding` has no step.
_UNSEEN = ('dd', 'frepo', 'generative', 'kip', 'mtt', 'rat_bptt', 'rcig')


def _on_two_devices(finished, methods):
  """Checks that runs on two devices condense what one device does."""
  alone = {method: finished(method).folder for method in methods}
  root = alone[methods[0]].parent
  script = pathlib.Path(__file__).with_name('sharded_runs.py')
  done = subprocess.run(
    [sys.executable, script, root, *methods],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-3000:]
  for method, folder in alone.items():
    one, two = (
      dcjax.load(f / 'condensed.npz') for f in (folder, root / 'two' / method)
    )
    assert one.params.keys() == two.params.keys()
    # Adam takes steps of its rate where gradients are nearly zero.
    jax.tree.map(
      lambda a, b, method=method: np.testing.assert_allclose(
        a, b, rtol=1e-3, atol=5e-3, err_msg=method
      ),
      dict(two.params),
      dict(one.params),
    )


def test_methods_condense_on_two_devices_what_they_do_on_one(finished):
  _on_two_devices(finished, _UNSEEN)


@pytest.mark.slow
def test_all_others_condense_on_two_devices_what_they_do_on_one(finished):
  _on_two_devices(finished, sorted(_RUNS.keys() - set(_UNSEEN)))


def test_metrics_tell_loss_time_and_memory(smoke):
  if smoke.method == 'rded':
    assert not (smoke.folder / 'metrics.jsonl').exists()
    return
  records = runner.metrics(smoke.folder)
  made = settings.resolve(smoke.config()).config
  for number, record in enumerate(records):
    assert record['outer'] == number + 1
    assert record['step'] == (number + 1) * made.method.inner_steps
    assert np.isfinite(record['loss'])
    assert record['memory_bytes'] > 2**20
    assert 'utilisation' in record
  seconds = [record['seconds'] for record in records]
  assert seconds == sorted(seconds)
  assert smoke.results['seconds']['condense'] == round(seconds[-1], 3)


def test_the_page_says_what_was_measured(smoke):
  page = (smoke.folder / 'report.html').read_text(encoding='utf-8')
  assert smoke.results['dataset'] in page
  last = smoke.results['evaluations']['condensed']['last_mean']
  assert f'{100 * last:.1f} ±' in page
  own = smoke.results.get('own', {})
  assert bool(own) == (smoke.method in ('dd', 'kip', 'rat_bptt'))
  assert all(entry['how'] in page for entry in own.values())
  assert (smoke.folder / 'images.png').stat().st_size > 0


# Along the way.


@pytest.mark.parametrize(('method', 'done'), [('idc', 1), ('edc', 2)])
def test_a_set_is_evaluated_along_the_way(finished, method, done):
  run = finished(method)
  found = runner.evaluations(run.folder)
  assert found[f'outer_{done}']['outer'] == done
  points = [point['outer'] for point in run.results['checkpoints']]
  assert done in points and points == sorted(points)
  assert f'outer_{done}' not in run.results['evaluations']


# The store.


def test_runs_find_observers_and_statistics_in_a_store(finished):
  """G-VBSM's are EDC's: whoever comes second makes nothing."""
  first, second = finished('edc'), finished('gvbsm')
  shared = ('observers/', 'statistics/')
  times = [
    {n: e['seconds'] for n, e in runner.stages(r.folder).items()}
    for r in (first, second)
  ]
  found = [{n for n in t if n.startswith(shared)} for t in times]
  assert not found[0] & found[1]  # noted by whoever made them
  names = [p.name for p in first.store.glob('*.npz')]
  assert sum(n.startswith('statistics-') for n in names) == 2


# Files that are damaged, settings that are others.


@pytest.fixture
def copied(finished, tmp_path):
  """Returns a copy of a run without its results, and what runs it again."""

  def copy(method):
    run = finished(method)
    folder = shutil.copytree(run.folder, tmp_path / method)
    (folder / 'results.json').unlink()
    return folder, functools.partial(run.run, folder)

  return copy


@pytest.mark.parametrize(
  ('method', 'file'),
  [
    ('dm', 'condensed.npz'),
    ('dm', 'stages/labels.npz'),
    ('gvbsm', 'labels.npz'),
  ],
)
def test_a_damaged_file_is_refused(copied, method, file):
  folder, again = copied(method)
  (path,) = folder.glob(file.replace('.npz', '*.npz'))
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match=f'{path.name}.*(damaged|not a valid)'):
    again(evaluation__seeds=3)


def test_an_evaluation_is_the_same_again(copied, finished):
  """From the files alone, its teachers too."""
  folder, again = copied('edc')
  stages = json.loads((folder / 'stages.json').read_text())
  (name,) = (n for n in stages if n.startswith('evaluate/condensed '))
  stages.pop(name)
  (folder / 'stages.json').write_text(json.dumps(stages))
  entry = again()['evaluations']['condensed']
  old = finished('edc').results['evaluations']['condensed']
  assert entry | {'seconds': 0} == old | {'seconds': 0}


def test_stored_labels_follow_the_epochs_of_evaluation(copied):
  """There and back: what lies in the folder is what was asked for last."""
  folder, again = copied('gvbsm')
  first = (folder / 'condensed.npz').read_bytes()
  labels = (folder / 'labels.npz').read_bytes()
  again(evaluation__epochs=3)
  assert dcjax.load(folder / 'condensed.npz').protocol['epochs'] == 3
  assert (folder / 'labels.npz').read_bytes() != labels
  again()
  assert (folder / 'condensed.npz').read_bytes() == first
  assert (folder / 'labels.npz').read_bytes() == labels
  records = runner.metrics(folder)
  assert [r['outer'] for r in records] == [1, 2, 3, 4]


def test_labels_of_other_batches_are_refused(copied):
  folder, again = copied('gvbsm')
  stored = labelling.load_labels(folder / 'labels.npz')
  other = jax.tree.map(lambda leaf: leaf[:, :5], stored._replace(cuts=()))
  other = other._replace(partners=other.partners % 5)
  labelling.save_labels(folder / 'labels.npz', other._replace(cuts=stored.cuts))
  with pytest.raises(ValueError, match='labels: made for batches of 5'):
    again(evaluation__seeds=3)


def test_another_data_set_of_the_same_name_is_refused(finished):
  run, own = finished('cafe'), _own()
  record = json.loads((run.folder / 'config.json').read_text())
  assert record['given'] == {'dataset': 'mine', 'network': 'tiny net'}
  assert run.results['dataset'] == 'mine'
  assert run.results['evaluations']['condensed']['network'] == 'tiny net'
  images = own['dataset'].images[::-1].copy()
  other = data.from_arrays(
    images, np.arange(30) % 3, images[:9], np.arange(9) % 3, name='mine'
  )
  with pytest.raises(ValueError, match="'data' was made from other data"):
    runs.run(
      run.config(evaluation__epochs=3),
      run.folder,
      **own | {'dataset': other},
    )
  with pytest.raises(ValueError, match='belongs to a run with other settings'):
    runs.run(run.config(), run.folder)


# Evaluations of a finished run.


def test_further_networks_and_fair_scores_add_evaluations(copied, finished):
  """Nothing that was there is made again."""
  folder, again = copied('dm')
  before = json.loads((folder / 'stages.json').read_text())
  word = 'mlp:width=8:depth=1'
  results = again(
    evaluation__networks=(word,),
    evaluation__fair=True,
    evaluation__whole_epochs=1,
  )
  after = json.loads((folder / 'stages.json').read_text())
  assert {n: after[n] for n in before} == before
  new = {n.partition(' ')[0] for n in after.keys() - before.keys()}
  assert new == {
    'evaluate/condensed,',
    'evaluate/random,',
    'evaluate/whole',
    'evaluate/condensed_hard',
    'evaluate/condensed_plain',
    'evaluate/random_plain',
    'fair',
  }
  rows = results['evaluations']
  old = finished('dm').results['evaluations']
  assert {n: rows[n] for n in old} == old
  assert rows[f'condensed, {word}']['network'] == 'mlp'
  assert rows[f'condensed, {word}']['bytes'] == rows['condensed']['bytes']
  soft = rows['condensed']['label_regime']
  assert rows[f'random, {word}']['label_regime'] == soft
  # The protocol makes one pass more than it is told.
  assert (rows['whole']['images'], rows['whole']['epochs']) == (1433, 2)
  assert rows['condensed_hard']['label_regime'] == 'hard'
  expected = fairness.scores({n: rows[n]['per_seed_last'] for n in rows})
  assert results['fair'] == expected


def test_hard_labels_need_no_hard_form_for_fair_scores():
  fair = runner.built('digits:size=8,smoke', 'dsa', evaluation__fair=True)
  names = [wanted.name for wanted in _wanted.wanted(fair.config)]
  assert 'condensed_plain' in names and 'condensed_hard' not in names


@pytest.mark.parametrize('kind', ['artefact', 'arrays'])
def test_a_set_that_was_made_elsewhere_is_evaluated(finished, kind, tmp_path):
  run = finished('idc')
  file = run.folder / 'condensed.npz'
  images, labels = dcjax.load(file).numpy()
  if kind == 'arrays':
    file = tmp_path / 'arrays.npz'
    np.savez(file, images=images, labels=labels)
  results = runner.run(
    tmp_path / 'run',
    f'digits:size=8,smoke,file={file}',
    'given',
    **_EVERY,
  )
  assert results['method'] == ('idc' if kind == 'artefact' else 'given')
  own, there = (r['evaluations']['condensed'] for r in (results, run.results))
  for name in ('per_seed_last', 'per_seed_best', 'images', 'label_regime'):
    assert own[name] == there[name]
  found = dcjax.load(tmp_path / 'run' / 'condensed.npz').numpy()[0]
  np.testing.assert_array_equal(found, images)


# What single runs show.


def test_a_codebook_is_stored_in_half_precision(finished):
  run = finished('generative')
  stored = dcjax.load(run.folder / 'condensed.npz')
  assert stored.spec['name'] == 'codebook'
  kinds = {leaf.dtype.name for leaf in jax.tree.leaves(stored.params)}
  assert kinds == {'float16'}
  counted = artefact.codebook_bytes(stored.spec, 2)
  assert run.results['codebook']['total'] == counted['total']
  total = run.results['storage']['total']
  assert total['float32_bytes'] == 2 * counted['total']


def test_fresh_samples_are_another_row(finished):
  results = finished('generative').results
  rows = results['evaluations']
  assert set(rows) == {'condensed', 'fresh'}
  assert rows['condensed']['images'] == 20 < rows['fresh']['images']
  assert rows['fresh']['bytes'] == rows['condensed']['bytes']
  assert 'fresh samples' in rows['fresh']['label_regime']
  assert results['headline'] == 'condensed'


def test_the_page_of_a_codebook_shows_codes_features_and_bytes(finished):
  page = (finished('generative').folder / 'report.html').read_text()
  for text in (
    'Codebook and images',
    'break-even beside 8 bit',
    'From code to code',
    'Features of real and condensed images',
    'NOT a fixed set',
  ):
    assert text in page
  assert page.count('<svg') > 0 and page.count('<img') > 0


def test_metrics_of_a_generative_run_hold_every_term(finished):
  first = runner.metrics(finished('generative').folder)[0]
  terms = {'adversarial', 'classification', 'feature', 'intra', 'inter'}
  assert terms | {'discriminator_loss', 'discriminator_accuracy'} <= set(first)


def test_image_batches_follow_one_another(finished):
  run = finished('edc')
  records = runner.metrics(run.folder)
  assert [(r['outer'], r['batch']) for r in records] == [
    (1, 1),
    (2, 1),
    (3, 2),
    (4, 2),
  ]
  (file,) = (run.folder / 'stages').glob('start*.npz')
  start = trees.load(file)['images']
  images = dcjax.load(run.folder / 'condensed.npz').params['images']
  moved = np.abs(images - start).max((2, 3, 4))
  assert (moved > 1e-3).all()


def test_results_name_observers_and_how_sets_were_labelled(finished):
  results = finished('edc').results
  rows = results['evaluations']
  assert list(rows) == ['condensed', 'random', 'random_hard']
  regimes = [row['label_regime'] for row in rows.values()]
  assert regimes == ['online teacher', 'online teacher', 'hard']
  teachers = [row['teacher_bytes'] for row in rows.values()]
  assert teachers == [results['bytes']['teachers']] * 2 + [0]
  roles = {o['network']: o['roles'] for o in results['observers']}
  assert roles == {
    _OBSERVER: ['matching', 'labelling'],
    'convnet:width=3:depth=1': ['matching'],
  }
  assert all(0 <= o['accuracy'] <= 1 for o in results['observers'])
  page = (finished('edc').folder / 'report.html').read_text()
  for text in ('Observers', _OBSERVER, 'bytes of teachers', 'hard labels'):
    assert text in page


def test_a_whitened_run_keeps_its_whitening(finished):
  run = finished('sre2l')
  stored = dcjax.load(run.folder / 'condensed.npz')
  expected = data.load('digits', size=8).whitened('kip').zca
  for found, wanted in zip(stored.zca, expected, strict=True):
    np.testing.assert_array_equal(found, wanted)
  assert stored.provenance['zca'] == 'kip'
  numbers = run.results['storage']['preprocessing']['numbers']
  assert numbers == 64 * 64 + 2 * 64


def _program(**words):
  """DM's period, as text."""
  changes = {'network': 'mlp:width=4:depth=1', **words}
  built = runner.built('digits:size=8,smoke', 'dm', **changes)
  return traced.period(built).program


def test_words_take_the_place_of_parts_of_a_method():
  found = [
    _program(**words)
    for words in (
      {},
      {'objective': 'gradient:distance=cosine:tensors=weights'},
      {'objective': 'generative:discriminator_widths=(4,)'},
      {'inner': 'real:batches=1:batch_size=4'},
      {'inner': 'synthetic:epochs=1:batch_size=4'},
      {'source': 'real:batch_size=3'},
      {'optimizer': 'adam:b1=0.5'},
    )
  ]
  assert len(set(found)) == len(found)
  assert _program() == found[0]


def test_networks_that_judge_are_rounded_on_request():
  network = _EVERY['network']
  found = [
    _program(network=network, execution__precision=precision)
    for precision in ('float32', 'bfloat16')
  ]
  assert ['bf16' in program for program in found] == [False, True]
