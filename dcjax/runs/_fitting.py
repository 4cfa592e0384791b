"""What would make a program fit into a device, and how far it could grow."""

from dcjax import sharding, specs
from dcjax.runs._build import Built
from dcjax.runs._programs import Program
from dcjax.runs._targets import Chip
from dcjax.utils import GPUS

# Sources that can hold a window of their images at a time.
_STREAMED = ('imagenet', 'image_folder', 'tfds:', 'hf:')


def largest(built: Built, program: Program, more: float) -> str:
  """How far the size that temporaries grow with could grow.

  Args:
    built: of the run.
    program: of it.
    more: how many times its temporaries there is memory for.
  """
  field, now = _size(built, program)
  if more > 100:
    return f'memory sets no limit to {field} here'
  return (
    f'{field} up to about {int(now * more)} would fit (temporaries taken as '
    'proportional)'
  )


def advice(built: Built, program: Program, chip: Chip) -> str:
  """What would make a program fit that does not.

  Args:
    built: of the run.
    program: of it.
    chip: the device that it does not fit into.
  """
  config, mesh = built.config, built.placement.mesh
  whole = config.get('execution', {}).get('classes', '')
  together = whole == 'vmap' or (whole == 'auto' and chip.platform in GPUS)
  if program.name == 'condense' and together:
    return 'would fit with execution.classes=scan, or a smaller number of them'
  ways = [f'a smaller {_size(built, program)[0]}', 'more devices']
  if program.name == 'condense' and mesh is not None:
    shared = mesh.shape[sharding.DATA_AXIS]
    if shared < mesh.size:  # the images of a class are split
      ways.insert(0, f'--devices_per_class={2 * shared} or more')
  ways = _window(built, program, chip) + ways
  return f'needs {", ".join(ways[:-1])}, or {ways[-1]}'


def _window(built, program, chip) -> list[str]:
  """Holding fewer real images, where they are what takes the memory."""
  mesh, config = built.placement.mesh, built.config
  through = program.name == 'condense' and 'iterations' in config.method
  if through or program.name.startswith('evaluate'):
    return []  # They hold no real images.
  word = config.data
  parts = 1 if mesh is None else mesh.shape[sharding.CLASS_AXIS]
  whole = 'window' not in specs.parse('data', word)
  large = built.dataset.images.nbytes / parts > chip.memory / 10
  if not (whole and large and word.startswith(_STREAMED)):
    return []
  return [f'fewer real images at a time (--config.data={word}:window=256)']


def _size(built, program):
  """The field that a program's temporaries grow with, and its value."""
  config, section, name = built.config, built.config.method, program.name
  if name.startswith('evaluate'):
    return 'evaluation.seeds', config.evaluation.seeds
  if name.startswith('observers'):
    return 'observers.batch_size', config.observers.batch_size
  if name == 'pool':
    return 'method.network_batch_size', section.network_batch_size
  if 'iterations' in section:
    whole = built.dataset.num_classes * config.ipc
    return 'batches.batch_size', config.batches.batch_size or whole
  if 'batch_real' in section:
    both = ' (with most_synthetic)' if 'most_synthetic' in section else ''
    return f'method.batch_real{both}', section.batch_real
  return 'ipc', config.ipc
