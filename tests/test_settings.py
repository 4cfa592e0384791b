"""Settings: arguments and flags, origins, and what is wrong with a value."""

import itertools
import math

import numpy as np
import pytest
import runner

from dcjax import formations, kernels, networks, objectives, specs
from dcjax.runs import _build, _fields, _ranges, _run, command, settings

CONFIGS = command.names()
# Configs whose first argument is no set of one's own choice.
_FIRST = {'table': 'idc_table1', 'tasks': 'mnist+usps,smoke'}
# Fields whose value is a path, or is said and shown only.
_FREE = ('data_dir', 'file', 'records', 'weights')


def arguments_of(recipe):
  return _FIRST.get(recipe, 'digits,smoke')


def make(recipe, *said):
  return settings.make(recipe, ','.join([arguments_of(recipe), *said]))


def flat(recipe, *said):
  return settings.flat(settings.resolve(make(recipe, *said)).config.to_dict())


def every_field():
  """Dotted field -> a config that has it and its value there, of all configs.

  One of several types stands for itself in each.
  """
  found = {}
  for recipe in CONFIGS:
    for field, value in flat(recipe).items():
      kind = type(value[0]) if isinstance(value, tuple) and value else None
      found.setdefault((field, type(value), kind), (recipe, field, value))
  return [v for v in found.values() if v[1] != 'recipe']


FIELDS = every_field()


def changed(value):
  """Another value of the same type, for numbers; words stay."""
  if isinstance(value, bool):
    return not value
  if isinstance(value, int):
    return value + 1
  if isinstance(value, float):
    return value / 2
  return value


def as_text(value):
  if isinstance(value, tuple):
    return '(' + ', '.join(map(str, value)) + ')'
  return str(value)


@pytest.mark.parametrize('recipe', CONFIGS)
def test_arguments_say_what_flags_say(recipe):
  wanted = {
    field: changed(value)
    for field, value in flat(recipe).items()
    if field not in ('recipe', 'like', 'smoke', 'schedule', 'data', 'table')
    and field not in _FREE
  }
  if wanted.get('evaluation.at'):
    wanted['evaluation.at'] = (0.25, 1.0)
  texts = {field: as_text(value) for field, value in wanted.items()}
  said = make(recipe, *(f'{field}={text}' for field, text in texts.items()))
  flagged = make(recipe)
  settings.set_fields(flagged, texts)
  assert settings.said(said) == settings.said(flagged)
  by_argument, by_flag = settings.resolve(said), settings.resolve(flagged)
  assert by_argument.plain() == by_flag.plain()
  assert by_argument.origins == by_flag.origins
  found = settings.flat(by_argument.config.to_dict())
  for field, value in wanted.items():
    assert found[field] == value, field
    assert by_argument.origins[field] == 'said'


def refused(recipe, field, value):
  """The sentence about a value, or None if it is taken."""
  config = make(recipe)
  try:
    settings.set_fields(config, {field: value})
    settings.resolve(config)
  except ValueError as error:
    assert '\n' not in str(error)
    assert str(error).startswith((f'{field} ', f"config field '{field}'"))
    return str(error)
  return None


_WRONG = {
  bool: ('maybe', 3),
  int: ('x', 1.5, -1, 10**30, math.nan),
  float: ('x', math.nan, math.inf, -1.0, 1e30),
  str: (3,),
}


def test_a_wrong_value_of_every_field_is_named_with_its_path():
  taken = []
  for recipe, field, value in FIELDS:
    tries = _WRONG.get(type(value), ())
    if isinstance(value, tuple):
      numbers = isinstance(value[0], int | float) if value else None
      tries = ((object(),), (math.nan,), 3)
      tries += (('x',), (-1e9,), (1e30,)) if numbers else ()
      tries += ((1,),) if numbers is False else ()
    assert tries, field
    taken += [(field, t) for t in tries if refused(recipe, field, t) is None]
  assert taken == []


# Words that need the data or other settings, and who refuses them.
_BUILT = dict.fromkeys(
  (
    'augment.evaluate',
    'augment.match',
    'augment.mix',
    'augment.train',
    'augment.train_mix',
    'evaluation.networks',
    'execution.classes',
    'formation',
    'inner',
    'objective',
    'observers.matching',
    'optimizer',
    'source',
    'start',
    'step_size',
    'stored_labels',
  ),
  'idc',
) | {
  'augment.real': 'kip',
  'method.kernel': 'kip',
  'method.network': 'frepo',
  'observers.labelling': 'edc',
}
_OPENED = {
  'changes',
  'columns',
  'dataset',
  'only',
  'sets.names',
  'size',
  'table',
}


def words():
  """Fields of words, with a config for each section that has them."""
  for recipe, field, value in FIELDS:
    plain = value[:1] if isinstance(value, tuple) else (value,)
    if all(isinstance(word, str) for word in plain) and field not in _FREE:
      yield recipe, field, ('nope',) if isinstance(value, tuple) else 'nope'


def test_a_wrong_word_is_refused_at_once_or_once_the_data_are_there():
  later = set()
  for recipe, field, word in words():
    numbers = isinstance(word, tuple) and _ranges.range_of(field) is not None
    if not numbers and refused(recipe, field, word) is None:
      later.add(field)
  assert later <= _BUILT.keys() | _OPENED
  assert later >= _OPENED


@pytest.mark.parametrize(
  ('recipe', 'field'),
  [(recipe, field) for field, recipe in _BUILT.items()]
  + [('edc', field) for field in ('augment.evaluate', 'augment.mix', 'start')],
)
def test_a_wrong_word_is_refused_before_anything_is_made(
  tmp_path, recipe, field
):
  config = runner.config('digits:size=8,smoke', recipe)
  listed = field.startswith(('observers.', 'evaluation.networks'))
  settings.set_fields(config, {field: ('nope',) if listed else 'nope'})
  if field == 'observers.matching':  # IDC has nothing to look through
    settings.set_fields(config, {'start': 'rded'})
  with (
    pytest.raises(ValueError, match='nope') as caught,
    _run.opened(settings.resolve(config), tmp_path / 'run'),
  ):
    pass
  assert str(caught.value).startswith(field)
  assert '\n' not in str(caught.value)
  folder = tmp_path / 'run'
  assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize(
  ('recipe', 'field', 'word', 'message'),
  [
    ('table', 'table', 'nope', r"table 'nope': must be one of .*idc_table1"),
    ('table', 'size', 'nope', r"size 'nope': must be one of .*smoke"),
    ('table', 'changes', 'outer', r"changes 'outer': must be FIELD=VALUE"),
    ('table', 'only', 'nope', r"only 'nope': must be part of one of"),
    ('table', 'dataset', 'nope', "'nope': must be one of .*'digits'"),
    ('continual', 'sets.names', ('nope',), r"sets\.names 'nope': must be one"),
    ('search', 'sets.names', ('dm:ipx=3',), "'ipx' must be one of"),
    ('membership', 'sets.names', (), r'sets\.names: must name at least one'),
  ],
)
def test_a_wrong_word_of_a_table_or_an_application_is_refused(
  tmp_path, recipe, field, word, message
):
  config = make(recipe)
  if recipe == 'table' and field != 'size':
    settings.set_fields(config, {'size': 'smoke'})
  settings.set_fields(config, {field: word})
  with pytest.raises(ValueError, match=message) as caught:
    _ = settings.module(recipe).run(settings.resolve(config), tmp_path / 'run')
  assert '\n' not in str(caught.value)
  assert not list(tmp_path.rglob('*.npz'))


def test_a_number_without_a_range_is_refused():
  with pytest.raises(ValueError, match=r'^section\.new 1: has no declared'):
    _ranges.check({'section.new': 1})
  _ranges.check({'section.new': 'word', 'section.bool': True})
  with pytest.raises(ValueError, match=r"^size \('a',\): 'a' must be a number"):
    _ranges.check({'size': ('a',)})


@pytest.mark.parametrize(
  ('field', 'factories', 'skip'),
  [
    ('formation', formations.FORMATIONS, 0),
    ('method.kernel', {'convolutional': kernels.convolutional}, 0),
    ('method.kernel', {'fully_connected': kernels.fully_connected}, 0),
    ('network', {n: networks.factory(n) for n in networks.names()}, 2),
    ('objective', objectives.FACTORIES, 0),
  ],
)
def test_every_number_of_a_word_has_a_range(field, factories, skip):
  for name, factory in factories.items():
    for option, value in specs.options_of(factory, skip).items():
      for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not isinstance(number, bool):
          _ranges.check_options(field, f'{name}:{option}={number}')
          for wrong in (-(10**9), 10**30):
            with pytest.raises(ValueError, match='must be'):
              _ranges.check_options(field, f'{name}:{option}={wrong}')


@pytest.mark.parametrize(
  ('field', 'word'),
  [
    ('inner', 'real:learning_rate=nan'),
    ('inner', 'real:batch_size=x'),
    ('inner', 'synthetic:epochs=True'),
    ('optimizer', 'adam:b1=1e999'),
    ('source', 'representative:every=0'),
    ('augment.train_mix', 'cutmix:beta=(1,2)'),
    ('augment.train_mix', 'mixup:alpha=nan'),
    ('step_size', 'plain:start=-1'),
    ('stored_labels', 'hard:scale=inf'),
    ('evaluation.networks', ('convnet:width=1000000000',)),
  ],
)
def test_a_wrong_number_of_a_word_is_refused(tmp_path, field, word):
  config = runner.config('digits:size=8,smoke', **{field: word})
  with (
    pytest.raises(ValueError, match=rf'^{field} .*must be') as caught,
    _run.opened(settings.resolve(config), tmp_path / 'run'),
  ):
    pass
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('argument', 'message'),
  [
    ('nope,smoke', "data 'nope': must be one of .*'digits'"),
    ('/my/own,smoke', r'of your own files image_folder.*data_dir=PATH'),
    ('digits,zap', "config field 'zap': 'zap' must be one of .*'ipc'"),
    ('digits,ipc=two', "config field 'ipc': is 'two', must be a whole number"),
    ('digits,ipc=-1', 'ipc -1: must be at least 1'),
    ('digits,smoke=2', "config field 'smoke': is '2', must be true or false"),
    ('digits,schedule=long', "schedule 'long': must be one of .*'short'"),
    ('digits,like=nope', "like 'nope': must be one of .*'cifar10'"),
    ('digits,network=vgg', "network 'vgg': must be one of .*'vgg11'"),
    ('digits,network=mlp:norm=batch', "'mlp' has no option 'norm'"),
    ('digits,network=mlp:width=wide', 'width=wide must be int'),
    ('digits,method=3', "'method': is set by its fields"),
    ('digits,method.x=3', "'method.x': 'x' must be one of .*'momentum'"),
    ('digits,evaluation.at=a', "evaluation.at .*'a' must be a number"),
    ('digits,evaluation.epochs=-1', 'evaluation.epochs -1: must be at least 1'),
  ],
)
def test_a_wrong_argument_is_named(argument, message):
  with pytest.raises(ValueError, match=message) as caught:
    runner.resolved(argument)
  assert '\n' not in str(caught.value)


def test_fields_of_earlier_versions_are_told_their_new_name():
  every = {field for _, field, _ in FIELDS}
  for old, new in _fields.RENAMED.items():
    assert new in every | {'--store'}, new
    with pytest.raises(ValueError, match=f": is '{new}' now$") as caught:
      settings.set_fields(make('idc'), {old: '1'})
    assert str(caught.value).startswith(f"config field '{old}'")


def test_origins_say_where_a_value_comes_from():
  made = runner.resolved('digits,smoke', method__momentum=0.25)
  assert made.origins['method.momentum'] == 'said'
  assert made.origins['method.inner_steps'] == 'smoke'
  assert made.origins['method.distance'] == 'short'
  assert made.origins['method.sweep'] == 'short'
  assert made.origins['augment.family'] == 'published'
  assert made.origins['evaluation.momentum'] == 'protocol'
  plain = runner.resolved('cifar10')
  assert plain.origins['method.distance'] == 'published'
  assert 'short' not in plain.origins.values()
  lines = settings.show(made).splitlines()
  shown = {line.split()[0]: line.split() for line in lines}
  assert shown['method.momentum'][1:] == ['0.25', 'said']
  assert shown.keys() == settings.flat(made.plain()).keys()


def test_nothing_that_was_not_said_is_in_a_config():
  config = runner.config('digits,ipc=3', method__momentum=0.25)
  assert settings.said(config) == {
    'recipe': 'idc',
    'data': 'digits',
    'ipc': 3,
    'method.momentum': 0.25,
  }


@pytest.mark.parametrize('recipe', sorted({*CONFIGS} - {*_FIRST, 'adaptation'}))
def test_all_published_settings_are_in_range(recipe):
  for like in settings.module(recipe).LIKE:
    for said in ('ipc=1', 'ipc=50,factor=2', 'schedule=short', 'network=mlp'):
      made = runner.resolved(f'image_folder,like={like},{said}', recipe)
      section = made.config.get('method', {})
      if 'iterations' in section:
        assert section.iterations % section.inner_steps == 0


# Values that depend on others follow them, said as arguments or as flags.


def value(field, recipe, argument, **changes):
  found = settings.flat(runner.resolved(argument, recipe, **changes).plain())
  return found[field]


@pytest.mark.parametrize(
  ('ipc', 'steps', 'epochs'), [(1, 1, 1), (10, 10, 50), (35, 35, 20)]
)
def test_dc_has_the_reference_loops_for_any_ipc(ipc, steps, epochs):
  for argument, changes in ((f'mnist,ipc={ipc}', {}), ('mnist', {'ipc': ipc})):
    made = runner.resolved(argument, 'dc', **changes).config.method
    assert (made.inner_steps, made.epochs) == (steps, epochs)


def test_rates_follow_the_set_that_ones_own_is_like():
  rate = lambda *a, **k: value('method.learning_rate', *a, **k)  # noqa: E731
  assert rate('idc', 'mnist') == 1e-4
  assert rate('idc', 'image_folder') == 5e-3
  assert rate('idc', 'image_folder,like=mnist') == 1e-4
  assert rate('idc', 'image_folder', like='mnist') == 1e-4
  assert rate('idc', 'image_folder,like=mnist', method__learning_rate=3) == 3.0
  assert rate('sre2l', 'image_folder', like='tiny_imagenet') == 0.1


def test_a_version_does_not_change_what_a_set_is():
  for name in ('mnist', 'tfds:mnist', 'tfds:mnist:3.0.1'):
    assert value('like', 'idc', name) == 'mnist'
    assert value('method.learning_rate', 'idc', name) == 1e-4
  assert value('like', 'idc', 'tfds:svhn_cropped:3.0.0') == 'svhn'


def test_image_rates_are_scaled_as_those_of_the_set_it_is_like(golden):
  """The references' factor at their own size, whatever the source."""
  file = golden('lr_img_rule')
  names = {'fashion': 'fashion_mnist', 'imagenet': 'imagenet10'}
  sizes = {'mnist': 28, 'fashion': 28, 'speech': 64, 'imagenet': 224}
  for index, ipc, factor in file['dataset_ipc_multiplier']:
    name = str(file['dataset_names'][int(index)])
    if ipc != 10:
      continue
    made = runner.built(
      f'digits:size=16,ipc=10,like={names.get(name, name)}',
      method__learning_rate=1.0,
      augment__evaluate='none',
    )
    np.testing.assert_allclose(
      _build.learning_rate(made),
      factor * (16 / sizes.get(name, 32)) ** 2,
      err_msg=name,
    )


def test_recoveries_and_students_are_those_of_the_published_codes(golden):
  file = golden('sre2l_views')
  sets = {
    'cifar': 'cifar100',
    'tiny': 'tiny_imagenet',
    'imagenet': 'imagenet1k',
  }
  names, ranges = file['roll_range_names'], file['roll_range_low_high']
  for name, limits in zip(names, ranges, strict=True):
    method, _, images = str(name).partition('_')
    argument = f'image_folder,like={sets[images]}'
    made = runner.resolved(argument, method).config
    assert tuple(made.method.roll) == tuple(limits), name
    small = method == 'sre2l' and images == 'cifar'
    assert made.method.flip == (not small), name
    if small:
      assert made.augment.evaluate == 'pad_crop=4|flip'
      assert made.method.smallest_crop == 1
  low, high = file['student_offset_range']
  assert (low, high) == (0, 2 * 4)
  made = runner.resolved('cifar10,ipc=10', 'gvbsm').config
  assert (made.method.padding, made.method.smallest_crop) == (4, 1)
  assert made.evaluation.weight_decay == 0
  rate = value(
    'evaluation.learning_rate', 'rded', 'cifar10', network='mobilenet_v2'
  )
  assert rate == 2.5e-3


def test_imagenet_has_its_formation_network_and_factor():
  made = runner.resolved('imagenet10,ipc=20').config
  assert made.formation == 'bound:cap=128'
  assert made.network.startswith('resnet:depth=10:')
  assert 'average_pooling=True' in made.network
  assert (made.factor, made.execution.classes) == (3, 'scan')
  made = runner.resolved('imagenet10').config
  assert (made.formation, made.ipc) == ('uniform', 10)
  made = runner.resolved('imagenet10', ipc=20, factor=2).config
  assert made.formation == 'uniform'
  assert value('formation', 'idc', 'speech') == 'time_axis'


def test_dc_follows_its_paper_for_each_network_and_data_set():
  def made(argument):
    config = runner.resolved(argument, 'dc').config
    return config.method.learning_rate, config.evaluation.epochs

  assert made('cifar10') == (0.1, 300)
  assert made('mnist') == (0.1, 1000)
  assert made('mnist,network=mlp') == (pytest.approx(0.01), 1000)
  assert made('mnist,schedule=short') == (1.0, 300)
  assert made('mnist,network=mlp,schedule=short') == (pytest.approx(0.1), 300)
  assert made('cifar10,network=convnet:norm=batch') == (0.1, 1000)


def test_dm_takes_multi_formation_as_one_argument():
  for argument, changes in (
    ('cifar10,ipc=10,factor=2', {}),
    ('cifar10', {'factor': 2}),
  ):
    made = runner.resolved(argument, 'dm', **changes).config
    assert (made.factor, made.start) == (2, 'mix')
  plain = runner.resolved('cifar10,ipc=10', 'dm').config
  assert (plain.factor, plain.start) == (1, 'random')


def test_what_is_said_of_a_network_goes_before_the_schedule():
  def network(argument, recipe='dm', **changes):
    return value('network', recipe, argument, **changes)

  assert network('cifar10') == (
    'convnet:depth=3:width=128:norm=instance:activation=relu:pooling=avg'
    ':conv_form=auto'
  )
  assert 'width=32' in network('digits')
  assert 'width=48' in network('digits,network=convnet:width=48')
  assert 'width=48' in network('digits', network='convnet:width=48')
  assert 'width=48' in network('digits,smoke,network=convnet:width=48')
  assert 'width=16' in network('digits,network=vgg11')
  assert 'width' not in network('digits,network=lenet')
  assert 'depth=4' in network('speech', 'idc')
  assert 'depth=2' in network('speech,network=convnet2', 'idc')


def test_words_keep_the_published_options_that_they_leave_out():
  made = runner.resolved('cifar10,formation=codebook:width=7', 'dm').config
  assert made.formation == (
    'codebook:codes_dim=128:projection_dim=128:width=7:stored=float32'
  )
  assert made.start == 'fit:steps=300:embedding_steps=5000'
  assert value('start', 'dm', 'cifar10,start=mix') == 'mix'


def test_every_rung_of_edcs_ladder_adds_one_thing():
  rungs = [flat_of('edc', f'cifar10,configuration={n}') for n in 'ABCDEFG']
  changed = [
    {n.rpartition('.')[2] for n in new if new[n] != old[n]} - {'configuration'}
    for old, new in itertools.pairwise(rungs)
  ]
  assert changed == [
    {'start', 'iterations'},
    {'zeta'},
    {'flatness'},
    {'batch_size', 'matching', 'labelling'},
    {'alpha'},
    {'smallest_crop', 'average_rate', 'evaluate'},
  ]
  with pytest.raises(ValueError, match="configuration 'H'"):
    runner.resolved('cifar10,configuration=H', 'edc')


def flat_of(recipe, argument):
  return settings.flat(runner.resolved(argument, recipe).config.to_dict())
