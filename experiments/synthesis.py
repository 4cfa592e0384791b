"""The synthesis of images, batch after batch, under frozen observers."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np
from _stage_files import digest, digest_arrays
from checkpoint import CheckpointError, Checkpoints
from outlook import Outlook
from progress import Progress, duration, say
from statistics_parts import Parts
from workdir import Interrupted, Workdir

from dcjax import methods, sharding
from dcjax.condensing import Condenser
from dcjax.methods import ObserverData

# What a config's synthesis section has beside the options of its method.
_CUTTING = ('batch_size', 'order')
_SAVE_AFTER = 20  # seconds between checkpoints


def make_condenser(parts: Parts, networks: list[Any]) -> Condenser:
  """The method of a config.

  Args:
    parts: of the run.
    networks: of the matching observers.

  Raises:
    ValueError: if an option is unknown or out of range.
  """
  config, dataset = parts.config, parts.dataset
  options = {
    n: v for n, v in config.synthesis.to_dict().items() if n not in _CUTTING
  }
  # The whole image is no crop.
  if options['smallest_crop'] == 1 and config.method != 'cda':
    options['smallest_crop'] = None
  if config.method in ('gvbsm', 'edc'):
    options['patch_size'] = config.statistics.patch_size
  if parts.mesh is not None:
    options['spread'] = sharding.spread(parts.mesh)
  one = config.method in ('sre2l', 'cda')
  make = getattr(methods, config.method)
  try:
    return make(
      networks[0] if one else networks,
      dataset.mean,
      dataset.std,
      flip=parts.flips,
      **options,
    )
  except TypeError as error:
    raise ValueError(f'config section synthesis: {error}') from error


class _Place(NamedTuple):
  """Where a synthesis stands."""

  images: jax.Array  # the whole set
  state: Any  # of the image batch
  done: int  # periods
  seconds: float


class _Places:
  """Where the arrays of a synthesis lie: on a mesh, or on one device."""

  def __init__(self, mesh, num_classes):
    self.mesh = mesh
    self._one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    self.of_set = self._one
    if mesh is not None:
      self.of_set = sharding.class_sharding(mesh, num_classes)

  def everywhere(self, tree):
    """Puts arrays on every device."""
    if self.mesh is None:
      return jax.device_put(tree)
    return sharding.place(tree, sharding.replicated(self.mesh))

  def put(self, images):
    """The whole set on the device, or split by class where that is even."""
    if self.mesh is None:
      return jax.device_put(images)
    return sharding.place(images, self.of_set)

  def of_state(self, shapes, slots):
    """Shardings of the state of an image batch."""
    if self.mesh is None:
      return jax.tree.map(lambda _: self._one, shapes)
    return sharding.image_batch_shardings(self.mesh, shapes, slots.shape[:2])

  def of_period(self, state, slots):
    """Where the results of a period go, as an option of `jax.jit`."""
    if self.mesh is None:
      return {}
    metrics = sharding.replicated(self.mesh)
    return {'out_shardings': (self.of_state(state, slots), metrics)}

  def like_set(self, images):
    """What a checkpoint restores the whole set as."""
    return _like(images, self.of_set)

  def like_state(self, shapes, slots):
    """What a checkpoint restores the state as."""
    return jax.tree.map(_like, shapes, self.of_state(shapes, slots))


def _like(leaf, place):
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)


def synthesise(
  parts: Parts,
  condenser: Condenser,
  data: ObserverData,
  images: np.ndarray,
  key: jax.Array,
  folder: Workdir,
  stop: Any,
  outlook: Outlook | None = None,
) -> tuple[np.ndarray, float]:
  """Optimises all image batches that are left.

  Args:
    parts: of the run.
    condenser: see `make_condenser`.
    data: the observers and their statistics.
    images: where they start.
    key: of the synthesis.
    folder: of the run, for checkpoints and metrics.
    stop: whether the run was asked to stop.
    outlook: hears how long the periods take.

  Returns:
    The whole set `[C, ipc, H, W, D]` in host memory, and the seconds of all
    periods.

  Raises:
    ValueError: if a loss is not finite, or a checkpoint belongs to other
      observers, statistics or starts.
    Interrupted: if a stop was asked for; everything is saved.
  """
  checkpoints = Checkpoints(folder.path / 'checkpoints')
  try:
    work = _Synthesis(
      parts, condenser, data, images, key, folder, stop, checkpoints
    )
    place = work.run(outlook or Outlook({}))
    return sharding.to_host(place.images), place.seconds
  finally:
    checkpoints.close()


class _Synthesis:
  """Image batch after image batch, period after period."""

  def __init__(
    self, parts, condenser, data, images, key, folder, stop, checkpoints
  ):
    section = parts.config.synthesis
    classes, ipc = images.shape[:2]
    self._batches = methods.image_batches(
      classes, ipc, section.batch_size or classes * ipc, section.order
    )
    self._periods = section.iterations // section.image_steps
    self._total = len(self._batches) * self._periods
    self._steps = section.image_steps
    self._settings = digest(digest_arrays((images, data)))
    self._places = _Places(parts.mesh, classes)
    self._condenser = condenser
    self._data, self._key = self._places.everywhere((data, key))
    self._start, self._folder, self._stop = images, folder, stop
    self._checkpoints = checkpoints
    self._programs: dict[Any, Any] = {}

  def run(self, outlook: Outlook) -> _Place:
    place = self._restored()
    if place.done == self._total:
      return place
    progress = Progress('synthesising', self._total, place.done, 'period')
    try:
      while place.done < self._total:
        before = place.seconds
        place = self._period(place, progress)
        share, took = place.done / self._total, place.seconds - before
        outlook.update('synthesis', '', share, 1 / self._total, took)
    finally:
      progress.close()
    return place

  def _restored(self):
    """The newest checkpoint, or the start."""
    step = self._checkpoints.latest()
    self._folder.keep_metrics(step or 0)
    if step is None:
      return _Place(self._places.put(self._start), None, 0, 0.0)
    slots = self._batches[(step - 1) // self._periods]
    state = jax.eval_shape(self._begin, self._start, slots, None)
    like = {
      'images': self._places.like_set(self._start),
      'state': self._places.like_state(state, slots),
    }
    saved, note = self._checkpoints.restore(step, like)
    if note['settings'] != self._settings:
      raise CheckpointError(
        f'{self._folder.path / "checkpoints"}: belongs to other observers, '
        'statistics or starts; delete the folder to synthesise again'
      )
    say(f'resuming after period {step} of {self._total} of the synthesis')
    return _Place(saved['images'], saved['state'], step, note['seconds'])

  def _begin(self, images, slots, before):
    """The state at the start of an image batch."""
    params = methods.cut_batch(images, slots)
    if before is None:
      return self._condenser.init(self._key, params, self._data)
    return methods.next_batch(
      self._condenser, self._key, before, params, self._data
    )

  def _period(self, place, progress):
    """One compiled call, and what is recorded of it."""
    number, within = divmod(place.done, self._periods)
    slots, state = self._batches[number], place.state
    if within == 0:
      state = self._start_batch(place.images, slots, state)
    with progress.aside():
      program = self._program(state, slots)
    began = time.monotonic()
    state, metrics = program(self._key, state, self._data)
    self._stop.wait_for(metrics['loss'])
    images, done = place.images, place.done + 1
    if within + 1 == self._periods:
      images = self._put_batch(images, slots, state.params)
    seconds = place.seconds + time.monotonic() - began
    place = _Place(images, state, done, seconds)
    record = self._record(place, number, metrics)
    self._check_finite(record, metrics)
    self._folder.append_metrics(record)
    progress.update(done, f'loss {record["loss"]:.4g}')
    self._save(place)
    return place

  def _start_batch(self, images, slots, before):
    """`_begin`, with the state where it belongs."""
    if self._places.mesh is None:
      return self._begin(images, slots, before)
    shapes = jax.eval_shape(self._begin, images, slots, before)
    places = self._places.of_state(shapes, slots)
    return jax.jit(self._begin, out_shardings=places)(images, slots, before)

  def _put_batch(self, images, slots, params):
    if self._places.mesh is None:
      return methods.put_batch(images, slots, params)
    put = jax.jit(methods.put_batch, out_shardings=self._places.of_set)
    return put(images, slots, params)

  def _program(self, state, slots):
    """The period, compiled once for each size of image batch."""
    shape = state.params['images'].shape
    if shape not in self._programs:
      began = time.monotonic()
      places = self._places.of_period(state, slots)
      self._programs[shape] = (
        jax.jit(self._condenser.period, donate_argnums=1, **places)
        .lower(self._key, state, self._data)
        .compile()
      )
      # Who is done first would not wait long for the others inside it.
      sharding.barrier('compiled')
      say(
        f'compiled for batches of {shape[0] * shape[1]} images in '
        f'{duration(time.monotonic() - began)}'
      )
    return self._programs[shape]

  def _record(self, place, number, metrics):
    steps = place.done * self._steps
    return {
      'outer': place.done,
      'batch': number + 1,
      'step': steps,
      **{name: float(np.mean(v)) for name, v in metrics.items()},
      'seconds': round(place.seconds, 3),
      'steps_per_second': round(steps / max(place.seconds, 1e-9), 4),
    }

  def _check_finite(self, record, metrics):
    if not np.isfinite(np.asarray(metrics['loss'])).all():
      raise ValueError(
        f'the loss is not finite in period {record["outer"]} of image batch '
        f'{record["batch"]}: synthesis.learning_rate or synthesis.weight is '
        'probably too large; nothing of this period was saved'
      )

  def _save(self, place):
    """Saves where due; ends the run where it was asked to stop."""
    asked = self._stop.agreed()
    late = sharding.agree(self._folder.seconds_since_save() > _SAVE_AFTER)
    if asked or late or place.done == self._total:
      self._checkpoints.save(
        place.done,
        {'images': place.images, 'state': place.state},
        {'settings': self._settings, 'seconds': place.seconds},
      )
      self._folder.mark_saved()
    if asked and place.done < self._total:
      raise Interrupted(
        f'stopped after period {place.done} of {self._total} of the synthesis; '
        'everything is saved, the same command goes on from here'
      )
