"""Several devices and processes: the one package that knows of meshes.

The mathematics of dcjax knows no axis names. What runs on several devices is
decided by what is handed to it from here:

- the real data, split by class (`place_data`);
- the mapping over classes (`class_strategy`): each device matches its own
  classes, and where classes are few, a second axis splits the images of each;
- images of a network's batch, or of a synthesis under frozen observers, split
  over all devices (`spread`);
- the networks of an evaluation, each on a device (`seed_strategy`);
- the stored numbers and their optimiser, split by class where that divides
  evenly (`state_shardings`), or by image (`image_batch_shardings`).

Example, on a machine with eight devices:

  >>> mesh = sharding.make_mesh(dataset.num_classes)
  >>> real = sharding.place_data(mesh, dataset)
  >>> condenser = methods.dm(
  ...   network, formation, dataset.counts, dataset.std, learning_rate=1.0,
  ...   classes=sharding.class_strategy(mesh),
  ... )
"""

from dcjax.sharding._layouts import (
  class_sharding,
  image_batch_shardings,
  place,
  place_data,
  place_images,
  state_shardings,
  to_host,
)
from dcjax.sharding._mesh import (
  CLASS_AXIS,
  DATA_AXIS,
  make_mesh,
  replicated,
)
from dcjax.sharding._placement import Placement, placed, placement
from dcjax.sharding._processes import (
  agree,
  agree_on,
  barrier,
  is_main,
  is_peer_lost,
  start_processes,
)
from dcjax.sharding._strategies import (
  class_strategy,
  seed_strategy,
  spread,
  spread_class,
)

__all__ = [
  'CLASS_AXIS',
  'DATA_AXIS',
  'Placement',
  'agree',
  'agree_on',
  'barrier',
  'class_sharding',
  'class_strategy',
  'image_batch_shardings',
  'is_main',
  'is_peer_lost',
  'make_mesh',
  'place',
  'place_data',
  'place_images',
  'placed',
  'placement',
  'replicated',
  'seed_strategy',
  'spread',
  'spread_class',
  'start_processes',
  'state_shardings',
  'to_host',
]
