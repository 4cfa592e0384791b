"""From a config to settings: what was said, what is published, and the rest.

A config holds what was said, as an argument or as a flag, and nothing else: all
other fields are None. `resolve` fills them from the functions of the config's
file, which see what was said. So a value that depends on the data set, on ipc,
factor or network follows them however they were set.
"""

import importlib
import json
import pathlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict, config_dict

from dcjax import data, networks, specs
from dcjax.evaluation import PROTOCOLS, Protocol
from dcjax.runs import _ranges
from dcjax.runs._fields import flat, nested, said, set_fields
from dcjax.runs._values import read
from dcjax.utils import check_choice

SCHEDULES = ('reference', 'short')
CONFIGS = 'dcjax.runs.configs'
# Fields that the functions of a config's file see.
_CHOICES: dict[str, Any] = dict(
  recipe='',
  data='digits',
  like='',
  schedule='',
  smoke=False,
  ipc=10,
  factor=1,
  network='convnet',
  formation='',
)
# What these are decides which other fields there are.
FIRST = tuple(field for field in _CHOICES if field != 'recipe')
# Fields of every config that nothing published decides.
_PLAIN: dict[str, Any] = dict(
  seed=0, data_dir='', zca='none', storage='float32'
)
# Where evaluations or files differ, and nothing that was condensed.
FREE = ('evaluation.', 'execution.', 'data_dir', 'storage')


class Chosen(NamedTuple):
  """What the published values of a config depend on.

  Attributes:
    method: its recipe's name.
    data: name of the data set.
    like: published set whose settings it takes; the data set's own name unless
      said.
    schedule: `'reference'` or `'short'`.
    smoke: whether everything is to take seconds.
    ipc: stored images per class.
    factor: multi-formation factor.
    network: its description with all options.
    formation: name of the formation that was asked for, or ''.
    data_options: of the data set, with those that the config adds.
    said: dotted field -> value, all that was said.
  """

  method: str
  data: str = 'digits'
  like: str = 'digits'
  schedule: str = 'short'
  smoke: bool = False
  ipc: int = 10
  factor: int = 1
  network: Mapping[str, Any] = {}
  formation: str = ''
  data_options: Mapping[str, Any] = {}
  said: Mapping[str, Any] = {}


class Settings(NamedTuple):
  """Settings of a run, complete.

  Attributes:
    config: every field by section, attributes as in flags.
    origins: dotted field -> where its value comes from: `'said'`, `'smoke'`,
      `'short'`, `'published'` or `'protocol'`.
    like: published set whose settings are taken.
  """

  config: ConfigDict
  origins: Mapping[str, str]
  like: str

  def plain(self) -> dict[str, Any]:
    """The settings as JSON values."""
    return json.loads(self.config.to_json_best_effort())


def module(recipe: str) -> ModuleType:
  """The file of a config by its name, such as `'idc'`."""
  return importlib.import_module(f'{CONFIGS}.{recipe}')


def names() -> tuple[str, ...]:
  """The configs that are installed, sorted."""
  folder = pathlib.Path(__file__).with_name('configs')
  found = (path.stem for path in folder.glob('*.py'))
  return tuple(sorted(name for name in found if not name.startswith('_')))


def make(recipe: str, arg: str | None = None) -> ConfigDict:
  """Makes the config of a recipe: what an argument says, None for the rest.

  Args:
    recipe: name of a file of `dcjax.runs.configs`.
    arg: `DATA[,FIELD=VALUE...]` as it follows the colon of `--config`; any
      field may stand there, and a word without `=` after the first is a switch.

  Raises:
    ValueError: naming an unknown field or a value of another kind.
  """
  raw = _read_argument(arg, getattr(module(recipe), 'FIRST', 'data'))
  static = {f: type(v) for f, v in (_CHOICES | _PLAIN).items()}
  early = {f: read(f, t, static[f]) for f, t in raw.items() if f in static}
  _ranges.check(early)
  kinds = _kinds(recipe, early)
  config = ConfigDict(
    nested({f: config_dict.placeholder(kind) for f, kind in kinds.items()})
  )
  config.recipe = recipe
  set_fields(config, raw)
  return config


def _read_argument(arg, first):
  """`DATA[,FIELD=VALUE...]` as field -> text."""
  said: dict[str, str] = {}
  for position, item in enumerate(_split(arg or '')):
    field, equals, text = item.partition('=')
    if position == 0 and (not equals or ':' in field):
      said[first] = item
    else:
      said[field.strip()] = text.strip() if equals else 'true'
  return said


def _split(text):
  """Parts between commas; those within parentheses stay together."""
  parts, depth = [''], 0
  for sign in text:
    depth += (sign == '(') - (sign == ')')
    if sign == ',' and not depth:
      parts.append('')
    else:
      parts[-1] += sign
  return [part.strip() for part in parts if part.strip()]


def _kinds(recipe, said):
  """Dotted field -> type, of all fields that a config can have."""
  known = {**_CHOICES, **_PLAIN}
  known.pop('recipe')
  layers = _layers(_chosen(recipe, said))
  for _, layer in layers:
    known.update(layer)
  own = Protocol()._asdict() if 'evaluation.protocol' in known else {}
  for name, value in own.items():
    known.setdefault(f'evaluation.{name}', 0.0 if value is None else value)
  return {field: type(value) for field, value in known.items()}


# Fields that hold words: options that are left out keep their published values.
_WORDS = ('formation', 'optimizer', 'start', 'step_size', 'stored_labels')


def _over(field, word, published):
  """What was said, with the published options that it leaves out."""
  if field not in _WORDS or not word or not published:
    return word
  said, usual = specs.parse(field, word), specs.parse(field, published)
  return (
    specs.word({**usual, **said}) if said['name'] == usual['name'] else word
  )


def resolve(config: ConfigDict) -> Settings:
  """Fills what a config leaves open, and checks every value.

  Args:
    config: of `make`, with or without flags.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  own = said(config)
  recipe = own.pop('recipe')
  _ranges.check(own)  # Others depend on these.
  chosen = _chosen(recipe, own)
  values: dict[str, Any] = dict(_PLAIN)
  origins = dict.fromkeys(_PLAIN, 'published')
  for origin, layer in _layers(chosen):
    values |= layer
    origins |= dict.fromkeys(layer, origin)
  for field, value in own.items():
    values[field] = _over(field, value, values.get(field))
  origins |= dict.fromkeys(own, 'said')
  values |= dict(
    recipe=recipe,
    like=chosen.like,
    schedule=chosen.schedule,
    smoke=chosen.smoke,
    ipc=chosen.ipc,
    factor=chosen.factor,
    data=specs.word({'name': chosen.data, **chosen.data_options}),
    network=specs.word(chosen.network),
  )
  _fill_protocol(values, origins)
  _ranges.check(values)
  return Settings(ConfigDict(nested(values)), origins, chosen.like)


def _layers(chosen):
  """What fills a config's fields, the strongest last; dotted fields."""
  file = module(chosen.method)
  layers = [('published', file.values(chosen))]
  if chosen.schedule == 'short' and hasattr(file, 'short'):
    layers.append(('short', file.short(chosen)))
  if chosen.smoke:
    layers.append(('smoke', file.smoke(chosen)))
  known = set(flat(layers[0][1]))
  # A schedule may not bring fields that nothing reads.
  return [
    (n, {f: v for f, v in flat(layer).items() if f in known})
    for n, layer in layers
  ]


def _chosen(recipe, own):
  """What the values depend on, from what was said."""
  file = module(recipe)
  source = specs.parse('data', own.get('data', file.DATA))
  for name in source['name'].split('+'):
    check_data(name)
  like = own.get('like') or plain_name(source['name'].partition('+')[0])
  if own.get('like'):
    check_choice('like', like, file.LIKE)
  smoke = bool(own.get('smoke', False))
  usual = 'short' if source['name'] == 'digits' else 'reference'
  schedule = own.get('schedule') or getattr(file, 'SCHEDULE', usual)
  check_choice('schedule', schedule, SCHEDULES)
  chosen = Chosen(
    recipe, source['name'], like, schedule, smoke, own.get('ipc', 0), said=own
  )
  defaults = file.choices(chosen)
  chosen = chosen._replace(
    ipc=own.get('ipc', defaults['ipc']),
    factor=own.get('factor', defaults['factor']),
    data_options=_data_options(chosen, source, defaults),
    formation=specs.parse('formation', own['formation'])['name']
    if own.get('formation')
    else '',
  )
  word = own.get('network') or defaults['network']
  return chosen._replace(
    network=_network(word, defaults.get('sizes', {}), smoke)
  )


# Option of a network -> its size in smoke runs.
_SMOKE_SIZES = {'width': 4, 'width_multiplier': 0.125, 'growth': 4}


def _network(word, sizes, smoke):
  """The description of a network with all options; what is said goes first."""
  spec = networks.parse('network', word)
  known = networks.options('network', spec)
  small = dict(sizes.get(spec['name'], {}))
  if smoke:
    small |= {n: v for n, v in _SMOKE_SIZES.items() if n in known}
    if spec['name'] in ('convnet', 'mlp'):  # others know a few depths
      small['depth'] = min(2, small.get('depth', known['depth']))
  # What has no value is left to the network.
  made = {n: v for n, v in {**known, **small, **spec}.items() if v is not None}
  return {'name': spec['name'], **made}


def _fill_protocol(values, origins):
  """Adds the fields of the protocol that nothing else decides."""
  name = values.get('evaluation.protocol')
  if name is None:
    return
  check_choice('evaluation.protocol', name, PROTOCOLS)
  for field, value in (
    PROTOCOLS[name](values['evaluation.epochs'])._asdict().items()
  ):
    path = f'evaluation.{field}'
    if path not in values:
      values[path] = 0.0 if value is None else value
      origins[path] = 'protocol'


def _data_options(chosen, source, defaults):
  """Options of the data set; what is said goes first."""
  usual = dict(defaults.get('data_options', {}))
  if chosen.data == 'digits':
    usual.setdefault('size', 16)  # so that they can be pooled three times
  return {**usual, **{n: v for n, v in source.items() if n != 'name'}}


def check_data(name: str) -> None:
  """Raises a ValueError that lists the known sources unless `name` is one."""
  # A data set that is handed over goes by the name `own`.
  if name in data.list_sources() or name == 'own':
    return
  if name.startswith(('tfds:', 'hf:')):
    return
  raise ValueError(
    f'data {name!r}: must be one of {sorted(data.list_sources())}'
    '; of your own files image_folder, wav_folder or npz, with data_dir=PATH'
  )


def plain_name(name: str) -> str:
  """The published set of a name: `'svhn'` of `'tfds:svhn_cropped:3.0.0'`."""
  if name.startswith('hf:'):
    name = name.removeprefix('hf:').rpartition('/')[2]
  return name.removeprefix('tfds:').partition(':')[0].removesuffix('_cropped')


def show(settings: Settings) -> str:
  """Every field, its value and where it comes from, a line each."""
  fields = flat(settings.plain())
  width = max(map(len, fields))
  return '\n'.join(
    f'{field:{width}}  {value!r:32}  {settings.origins.get(field, "published")}'
    for field, value in fields.items()
  )
