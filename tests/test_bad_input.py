"""What is wrong with settings and data is said before anything is made."""

import jax.numpy as jnp
import numpy as np
import pytest
import runner
from published import write_cifar, write_idx_set

import dcjax
from dcjax.runs import _diverged, _run


@pytest.fixture
def refused(tmp_path):
  """Returns a function that opens a run which must not begin."""
  workdir = tmp_path / 'run'

  def check(message, arguments='digits:size=8,smoke', recipe='idc', **changes):
    error = changes.pop('error', ValueError)
    with (
      pytest.raises(error, match=message) as caught,
      _run.opened(runner.resolved(arguments, recipe, **changes), workdir),
    ):
      pass
    assert '\n' not in str(caught.value)
    assert not workdir.exists() or not list(workdir.iterdir())

  return check


# What numbers alone may be: test_settings.py. Here they do not fit the data,
# the network or one another.
@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'network': 'convnet:depth=9'}, "^network 'convnet.*depth 9: .*8x8"),
    ({'network': 'convnet:width=0'}, "^network 'convnet.*width 0 must be"),
    ({'network': 'convnet:norm=l2'}, "^network .*norm 'l2': must be one of"),
    (
      {'evaluation__networks': ('convnet:depth=9',)},
      r"^evaluation\.networks 'convnet:depth=9': depth 9",
    ),
    ({'ipc': 150, 'start': 'random'}, "^ipc 150: class '8' .* at most 139"),
    ({'ipc': 40}, '^start mix: .* ipc = 40 .* 160 .*139; use start=random'),
    ({'formation': 'grid'}, "^formation 'grid': must be one of .*uniform"),
    ({'formation': 'uniform:x=1'}, "'uniform' has no option 'x'"),
    ({'factor': 9}, 'factor 9 is larger than the image of 8 x 8'),
    ({'formation': 'identity'}, '^factor 2: a identity takes none; say'),
    ({'start': 'mix:x=1'}, "^start .*'x'"),
    ({'start': 'generator'}, '^start'),
    (
      {'augment__match': 'flip_twist'},
      "^augment.match 'flip_twist': .*'twist'",
    ),
    (
      {'augment__mix': 'cutmix:probability=2'},
      r"^augment\.mix 'cut.*probability 2 must be",
    ),
    (
      {'method__decay': 'cosine', 'method__sweep': True},
      "decay 'cosine': must",
    ),
    ({'execution__classes': 'all'}, "^execution.classes 'all': must be 'auto'"),
    ({'labels__regime': 'online'}, r'^labels\.regime .*observers\.labelling'),
    ({'data': 'digits:size=0'}, '^data|size'),
    ({'data': 'digits:x=1'}, "'digits' has no option 'x'"),
    ({'method__name': 'dm'}, r"^method\.\w+: method 'dm' takes none"),
    ({'inner': 'real:x=1'}, "^inner 'real' has no option 'x'"),
  ],
)
def test_settings_that_do_not_fit(refused, changes, message):
  refused(message, **changes)


@pytest.mark.parametrize(
  ('recipe', 'changes', 'message'),
  [
    (
      'cafe',
      {'method__layer_weights': (0.5,) * 4},
      r'^method\.layer_weights \(0.5, .*: must be at most 3, as convnet2w4',
    ),
    ('dc', {'augment__evaluate': 'cutout'}, "'crop', 'scale', 'rotate', 'n"),
    (
      'dc',
      {'augment__evaluate': 'flip|x'},
      "^augment.evaluate 'flip|x': 'x' m",
    ),
    (
      'dsa',
      {'augment__evaluate': 'noise'},
      "^augment.evaluate 'noise': .*must",
    ),
    ('generative', {'inner': 'real'}, "^inner 'real': method 'generative' t"),
    ('label_distillation', {'method__name': 'dm'}, r'^method\.\w+: method'),
    ('edc', {'method__iterations': 3}, 'iterations 3: must be a positive'),
    (
      'edc',
      {'observers__matching': ()},
      r'^observers\.matching \(\): must name',
    ),
    ('edc', {'method__name': 'sre2l'}, 'looks through one network'),
    (
      'edc',
      {'observers__labelling': ('convnet:depth=7',)},
      r"^observers\.labelling 'convnet:depth=7': depth 7: images of 8x8",
    ),
    (
      'edc',
      {'labels__regime': 'stored', 'augment__mix': 'none'},
      r"^augment\.mix 'none': stored labels",
    ),
    ('rded', {'start': 'rded:ratio=(5.0,1.0)'}, '^start .*lowest and a hi'),
    ('rded', {'start': 'rded:ratio=(-1.0,1.0)'}, '^start .*ratio .* above 0'),
    ('rded', {'start': 'rded:candidates=0'}, '^start .*candidates 0 must be'),
    ('idc', {'inner': 'real:learning_rate=-1'}, '^inner .*learning_rate -1'),
    ('idc', {'optimizer': 'adam:b1=5'}, '^optimizer .*b1 5 must be at least 0'),
  ],
)
def test_settings_of_other_methods_that_do_not_fit(
  refused, recipe, changes, message
):
  refused(message, recipe=recipe, **changes)


_IMAGES = np.zeros((80, 8, 8, 1), np.float32)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'images': _IMAGES[..., 0, 0]}, r'images have shape \(80, 8\); allowed'),
    ({'images': _IMAGES.astype(np.int64)}, 'images have dtype int64; allowed'),
    ({'images': _IMAGES + 2}, r'images hold 2\.\.2; allowed'),
    ({'images': _IMAGES * np.nan}, 'images hold NaN .*allowed'),
    ({'images': _IMAGES[:9]}, 'images hold 9 and labels 80'),
    ({'labels': np.arange(80) % 2 * 2}, 'no training image in class 1'),
    ({'labels': np.arange(80) / 2}, 'labels have dtype float64; allowed'),
    ({'labels': np.repeat([0, 1, 3], [30, 30, 20])}, 'class 2|label'),
  ],
)
def test_bad_arrays(refused, tmp_path, changes, message):
  path = runner.write_npz(tmp_path / 'own.npz', **changes)
  refused(message, 'npz,smoke', data_dir=str(path))


def test_bad_data_files(refused, tmp_path):
  folder, missing = tmp_path / 'data', FileNotFoundError
  place = dict(data_dir=str(folder))
  refused('mnist: .*idx3.*prepare', 'mnist,smoke', error=missing, **place)
  write_idx_set(folder)
  file = folder / 'train-images-idx3-ubyte'
  file.write_bytes(file.read_bytes()[:-5])
  refused('train-images-idx3-ubyte is not', 'mnist,smoke', **place)
  write_cifar(folder, 'cifar10')
  (folder / 'data_batch_2').write_bytes(b'damaged')
  refused('data_batch_2 is not .*CIFAR', 'cifar10,smoke', **place)
  refused('no file', 'npz,smoke', error=missing, data_dir=f'{folder}/x')


@pytest.mark.parametrize('what', ['condensed', 'missing', 'text'])
def test_damaged_condensed_set(tmp_path, what):
  path = tmp_path / 'condensed.npz'
  if what == 'text':
    path.write_text('not a condensed set')
  elif what == 'condensed':
    runner.write_npz(path)
  error = FileNotFoundError if what == 'missing' else ValueError
  with pytest.raises(error, match=r'condensed\.npz'):
    dcjax.load(path)


def test_a_smaller_rate_may_follow_one_that_explodes(tmp_path):
  workdir = tmp_path / 'run'
  arguments = 'digits:size=8,smoke,network=mlp,evaluation.baselines=()'
  message = r'^condensing diverged: .*method\.learning_rate .*too large'
  with pytest.raises(ValueError, match=message):
    runner.run(workdir, arguments, 'dm', method__learning_rate=1e6, outer=9)
  assert not list(workdir.iterdir())
  chosen = runner.resolved(arguments, 'dm', method__learning_rate=0.1)
  with _run.opened(chosen, workdir):
    assert (workdir / 'config.json').exists()


def test_numbers_that_are_no_images_any_more_name_what_drives_them():
  built = runner.built('digits:size=8,smoke,network=mlp', 'dm')
  near = {'images': jnp.ones((10, 1, 8, 8, 1)), 'codes': jnp.ones((1, 4))}
  assert _diverged.too_large(built, near) is None
  for name, what in (('images', 'an image'), ('codes', 'a code')):
    far = {**near, name: near[name] * -2e6}
    assert _diverged.too_large(built, far) == f'{what} holds 2e+06'
  assert _diverged.driver({'codes_learning_rate': 3.0}) == (
    'method.codes_learning_rate 3.0'
  )
  assert _diverged.driver(built.config.method) == (
    f'method.learning_rate {built.config.method.learning_rate}'
  )
