"""Image batch after image batch: which one is at work, and its programs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from dcjax import methods, sharding
from dcjax.base import Array
from dcjax.condensing import Condenser
from dcjax.inner import InnerData
from dcjax.runs._build import Built
from dcjax.runs._loop import compiled

# The images of the whole set, and the state of the batch at work.
State = dict[str, Any]


class Batches(NamedTuple):
  """Condenses one image batch after another, in periods.

  Attributes:
    built: the objects of the run.
    condenser: of one batch.
    key: of the condensation.
    data: what observers bring.
    images: shape, type and place of the images of the whole set.
    slots: of every batch, its images' places in the set.
    periods: of every batch.
    programs: those compiled so far, by the shape of the slots.
  """

  built: Built
  condenser: Condenser
  key: Array
  data: InnerData
  images: Any
  slots: list[np.ndarray]
  periods: int
  programs: dict[Any, Any]

  def like(self, done: int) -> State:
    """Shapes, types and places of the state after `done` periods."""
    slots = self.slots[max(done - 1, 0) // self.periods]
    return {
      'images': self.images,
      'batch': sharding.placed(*self._places(slots)),
    }

  def first(self, images: Array) -> State:
    """The state before the first period."""
    placed = self.built.placement.put(images, self.images.sharding)
    return {
      'images': placed,
      'batch': self._started(placed, self.slots[0], None),
    }

  def prepare(
    self, state: State, number: int
  ) -> Callable[[State], tuple[State, Any]]:
    """The period that is next."""
    del state
    batch, within = divmod(number, self.periods)
    slots = self.slots[batch]
    period = self._period(slots)
    put = jax.jit(
      lambda images, params: methods.put_batch(images, slots, params),
      out_shardings=self.images.sharding,
    )

    def piece(state):
      images, own = state['images'], state['batch']
      if within == 0 and number:
        own = self._started(images, slots, own)
      own, metrics = period(self.key, own, self.data)
      if within + 1 == self.periods:
        images = put(images, own.params)
      return {'images': images, 'batch': own}, metrics

    return piece

  def _begin(self, images, slots, before):
    """The state at the start of an image batch."""
    params = methods.cut_batch(images, slots, self.built.formation.tiles)
    if before is None:
      return self.condenser.init(self.key, params, self.data)
    return self.condenser.restart(before, params)

  def _places(self, slots):
    shapes = jax.eval_shape(lambda x: self._begin(x, slots, None), self.images)
    where = self.built.placement.image_batch(shapes, slots.shape[:2])
    return shapes, where

  def _started(self, images, slots, before):
    begin = jax.jit(
      lambda images, before: self._begin(images, slots, before),
      out_shardings=self._places(slots)[1],
    )
    return begin(images, before)

  def _period(self, slots):
    if slots.shape not in self.programs:
      shapes, where = self._places(slots)
      like = sharding.placed(shapes, where)
      self.programs[slots.shape] = program(
        self.condenser.period, self.key, like, self.data, self.built, where
      )
    return self.programs[slots.shape]


def batches(
  built: Built, condenser: Condenser, key: Array, data: InnerData, images: Array
) -> Batches:
  """Returns the image batches of a run; see `Batches`."""
  config = built.config
  classes, ipc = images.shape[:2]
  size = config.batches.batch_size or classes * ipc
  return Batches(
    built,
    condenser,
    key,
    data,
    jax.ShapeDtypeStruct(
      images.shape,
      images.dtype,
      sharding=built.placement.by_class(classes),
    ),
    methods.image_batches(classes, ipc, size, config.batches.order),
    config.method.iterations // config.method.inner_steps,
    {},
  )


def program(
  period: Callable[..., Any],
  key: Array,
  like: Any,
  data: InnerData,
  built: Built,
  places: Any,
) -> Any:
  """A period as one program, compiled for `like` or read from the cache."""
  where = out_places(built, places)
  options = {} if where is None else {'out_shardings': where}
  return compiled(period, key, like, data, **options)


def out_places(built: Built, places: Any) -> Any:
  """Where the results of a period lie, from where its state does."""
  if built.placement.mesh is None:
    return None
  return places, built.placement.copies({'m': 0})['m']
