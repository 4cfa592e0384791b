"""Where the stored numbers start: real images, noise, a generator."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import (
  coresets,
  data,
  formations,
  initialisation,
  methods,
  specs,
  trajectories,
  whitening,
)
from dcjax.base import Formation, Params
from dcjax.methods import ClassEmbeddings
from dcjax.runs import _experts
from dcjax.runs._build import Built
from dcjax.runs._observers import Observer
from dcjax.runs._stage import Stage, tree
from dcjax.utils import check_choice


def parse(built: Built) -> dict[str, Any]:
  """The options of a config's `start`, with defaults.

  Raises:
    ValueError: if the start or an option is unknown.
  """
  spec = specs.parse('start', built.config.start)
  check_choice('start', spec['name'], _OPTIONS)
  known = _OPTIONS[spec['name']]
  specs.check('start', spec, known)
  codebook = is_codebook(built.formation)
  if codebook != (spec['name'] in ('fit', 'generator', 'weights')):
    raise ValueError(
      f'start {spec["name"]!r}: formation {built.formation.spec["name"]!r} '
      'takes '
      + ('fit, generator or weights' if codebook else 'images, not a generator')
    )
  ratio = tuple(spec.get('ratio', (1, 1)))
  if len(ratio) != 2 or ratio[0] > ratio[1]:
    raise ValueError(
      f'start {built.config.start!r}: ratio {ratio} must be a lowest and a '
      'highest ratio of width to height'
    )
  return {**known, **spec}


def is_codebook(formation: Formation) -> bool:
  """Whether codes and a generator are stored instead of images."""
  return formation.spec['name'] == 'codebook'


_EMBEDDING = {'embedding_steps': 5000}
_OPTIONS: dict[str, dict[str, Any]] = {
  'random': {'order': 'random'},
  'mix': {'order': 'random'},
  'representative': {'candidates': 0},
  'experts': {},
  'noise': {},
  'normal': {'clip': False},
  'rded': {
    'factor': 1,
    'candidates': 300,
    'crops': 5,
    'best_of_image': True,
    'ratio': (1.0, 1.0),
    'arrangement': 'interleaved',
  },
  'fit': {'steps': 300, **_EMBEDDING},
  'generator': _EMBEDDING,
  'weights': _EMBEDDING,
}


def needs_embeddings(built: Built) -> bool:
  """Whether a codebook tells classes apart by features of real images."""
  said = specs.parse('formation', built.config.formation)
  condition = said.get('condition', 'class')
  condition = built.config.method.get('condition', condition)
  return is_codebook(built.formation) and condition == 'class'


def stage(
  built: Built, observers: list[Observer], experts: Sequence[str] = ()
) -> Stage:
  """Draws the stored numbers that condensation starts from; once.

  Args:
    built: the objects of the run.
    observers: that score the crops of RDED.
    experts: names of the stages that train them.

  Raises:
    ValueError: if the start asks for experts, and the method has none.
  """
  spec = parse(built)
  name = spec['name']
  inputs = ['data']
  if name == 'rded':
    inputs += [observer.stage for observer in observers]
  embeddings = needs_embeddings(built)
  if name == 'experts':
    if not experts:
      raise ValueError(
        f"start 'experts': method {built.config.method.name!r} trains none"
      )
    inputs += experts
  elif name == 'generator':
    inputs.append('generator')
  elif embeddings:
    inputs.append('embeddings')

  def make(_, *found):
    if name == 'rded':
      return _images(built, _rded(built, spec, observers, found))
    if name == 'experts':
      return _classified_right(built, _experts.gathered(found).vectors[:, -1])
    if is_codebook(built.formation):
      return _codebook(built, spec, found[0] if found else None, embeddings)
    return _images(built, drawn(built, spec))

  settings = {
    'start': spec,
    'formation': built.formation.spec,
    'ipc': built.config.ipc,
    'seed': built.config.seed,
  }
  return Stage('start', make, tuple(inputs), settings, tree(), sole=True)


def _images(built, images):
  """Stored numbers whose images these are."""
  key = jax.random.fold_in(built.keys['init'], 1)
  if isinstance(images, tuple):  # noise is drawn with the key itself
    (images,), key = images, built.keys['init']
  return jax.jit(built.formation.init)(key, images)


def drawn(built: Built, spec: dict[str, Any]) -> Any:
  """Draws images `[C, ipc, H, W, D]` in [0, 1], real ones or noise.

  Args:
    built: the objects of the run.
    spec: a start of images, as `parse` returns it.

  Returns:
    The images; noise, whose key is kept, as a tuple of one.
  """
  config, dataset, key = built.config, built.dataset, built.keys['init']
  shape = (dataset.num_classes, config.ipc, *dataset.image_shape)
  if spec['name'] == 'noise':
    noise = initialisation.noise(key, shape)
    if dataset.zca is not None:
      noise = whitening.apply(dataset.zca, noise)
    return (noise,)
  if spec['name'] == 'normal':  # standard normal in normalised units
    noise = jax.random.normal(key, shape) * np.asarray(dataset.std)
    noise = noise + np.asarray(dataset.mean)
    return (jnp.clip(noise, 0.0, 1.0) if spec['clip'] else noise,)
  packed = spec['name'] in ('mix', 'representative')
  needed = config.ipc * (built.formation.tiles if packed else 1)
  if spec['name'] == 'representative':
    chosen = _representative(built, needed, spec['candidates'])
  else:
    chosen = initialisation.select(
      key, dataset.counts, needed, order=spec['order']
    )
  images = jnp.asarray(data.images_at(dataset, chosen))
  return jax.jit(built.formation.pack)(images) if packed else images


def _representative(built, needed, candidates):
  """Nearest to the centres of clusters that a new network sees."""
  network_key, key = jax.random.split(built.keys['init'])
  return coresets.representative(
    key,
    built.network,
    built.network.init(network_key),
    built.real.local,
    built.dataset.counts,
    needed,
    built.normalise,
    candidates=candidates,
  )


def _classified_right(built, vectors):
  """DATM: images that an expert classifies right, with the experts' logits."""
  dataset, network, key = built.dataset, built.network, built.keys['init']
  state = network.init(key).state
  counts = np.asarray(dataset.counts)
  needed = built.config.ipc
  if counts.min() < needed:
    raise ValueError(
      f'ipc {needed}: class {counts.argmin()} has {counts.min()} images'
    )
  right = _experts.are_right(built, vectors[0], state)
  draw = np.asarray(jax.random.uniform(key, right.shape)) - right
  order = np.lexsort((draw, built.real.local.labels))
  starts = (np.cumsum(counts) - counts)[:, None]
  chosen = order[starts + np.arange(needed)] - starts
  params = _images(built, jnp.asarray(data.images_at(dataset, chosen)))
  said = specs.parse('stored_labels', built.config.stored_labels or 'none')
  if said.get('form') != 'logits':
    return params
  seen = built.formation.decode(params).images
  labels = trajectories.expert_logits(
    network,
    vectors,
    built.normalise(key, seen.reshape(-1, *seen.shape[2:])),
    np.repeat(np.arange(dataset.num_classes), seen.shape[1]),
    state=state,
  )
  return params | {'labels': labels.reshape(*seen.shape[:2], -1)}


def _rded(built, spec, observers, found):
  options = {n: v for n, v in spec.items() if n != 'name'}
  return methods.rded(
    [observer.network for observer in observers],
    [made['variables'] for made in found],
    built.real.local,
    built.config.ipc,
    built.keys['init'],
    normalise=built.normalise,
    **{**options, 'ratio': tuple(options['ratio'])},
  )


def _codebook(built, spec, found, embeddings):
  """Random weights, a pretrained generator, or one fitted to real images."""
  formation, config, key = built.formation, built.config, built.keys['init']
  fit = spec['name'] == 'fit'
  images: Any = blank(built)
  if fit:
    images = drawn(built, {'name': 'random', 'order': 'random'})
    key = jax.random.fold_in(key, 1)
  params = formation.init(key, images)
  if spec['name'] == 'generator':
    params = {**params, **found['params']}
  elif embeddings:
    means = jnp.asarray(found['embeddings'])
    params = formations.with_embeddings(formation, params, means)
  codes = config.method.get('codes', 'learned')
  if fit and codes == 'learned':
    return methods.fit_codebook(
      formation,
      params,
      jnp.asarray(images),
      jax.random.fold_in(key, 2),
      steps=spec['steps'],
      codes_per_step=config.method.get(
        'codes_per_step', config.method.get('most_synthetic', 10)
      ),
    )
  return _drawn(params, codes, key)


def _drawn(params: Params, codes: str, key: jax.Array) -> Params:
  """Codes as the method draws them; learned ones start normal."""
  if codes in ('learned', 'gaussian'):
    return params
  shape = params['codes'].shape
  drawn = formations.draw_codes(jax.random.fold_in(key, 1), shape, codes)
  return {**params, 'codes': drawn}


def blank(built: Built) -> jax.ShapeDtypeStruct:
  """What a codebook's `init` reads of images: their shape."""
  spec = built.formation.spec
  shape = (spec['num_classes'], built.config.ipc, *spec['image_shape'])
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def embeddings_stage(built: Built) -> Stage:
  """Class means of features and predictions of the embedding network."""

  def make(_, variables):
    found = class_means(built, variables)
    return {n: np.asarray(v) for n, v in found._asdict().items()}

  return Stage(
    'embeddings', make, ('data', 'embedding'), {}, tree(), shared=True
  )


def class_means(built: Built, variables: Any) -> ClassEmbeddings:
  """Over every real image, window by window where not all are in memory."""

  @jax.jit
  def sums(variables, data, weights=None):
    return methods.class_sums(
      built.network, variables, data, built.normalise, weights=weights
    )

  real = built.real
  if built.dataset.stream is None:
    return methods.class_means(sums(variables, real.local))
  total = None
  for number, new in _one_pass(built):
    found = sums(variables, real.at(number), new)
    total = found if total is None else jax.tree.map(jnp.add, total, found)
  return methods.class_means(total)


def _one_pass(built):
  """The windows that show every image, and what is new in each.

  Classes differ in size: windows of the smaller ones go on with images that
  were there already.
  """
  stream = built.dataset.stream
  labels, held = stream.labels, stream.held
  starts = np.cumsum(held) - held
  places = np.arange(len(labels)) - starts[labels]
  for number in range(stream.windows_per_pass):
    new = number * held[labels] + places < stream.counts[labels]
    yield number, new.astype(np.float32)
