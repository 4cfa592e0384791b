"""Times the selection of a coreset, herding beside a plain NumPy loop.

  python benchmarks/selection.py --classes=10 --images=5000 --features=2048
    --ipc=10

Features are random, the same for all selections, and lie on the device before
the clock starts. Prints a Markdown table.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import app, flags

from dcjax import coresets


def numpy_herding(
  features: np.ndarray, labels: np.ndarray, ipc: int
) -> np.ndarray:
  """Herding as one would write it: `[C, ipc]` positions, loops over both."""
  chosen = []
  for label in range(labels.max() + 1):
    own = features[labels == label]
    mean, total, positions = own.mean(axis=0), 0.0, []
    for step in range(ipc):
      target = (step + 1) * mean - total
      distances = np.linalg.norm(target - own, axis=1)
      distances[positions] = np.inf
      positions.append(int(distances.argmin()))
      total = total + own[positions[-1]]
    chosen.append(positions)
  return np.array(chosen)


def timed(select: Callable[[], Any], repeats: int) -> tuple[Any, float, float]:
  """Returns the result, seconds of the first call, median of later ones."""
  seconds = []
  for _ in range(1 + repeats):
    began = time.perf_counter()
    result = jax.block_until_ready(select())
    seconds.append(time.perf_counter() - began)
  return result, seconds[0], float(np.median(seconds[1:]))


def table(
  classes: int, images: int, features: int, ipc: int, repeats: int = 3
) -> str:
  """Measures all selections.

  Args:
    classes: `C`.
    images: of each class.
    features: `F`.
    ipc: images to keep in each class.
    repeats: calls after the first.

  Returns:
    A Markdown table; the ratio is the time of the NumPy loop over that of
    dcjax's later calls.

  Raises:
    ValueError: if `ipc` is not in 1..images.
  """
  labels = np.repeat(np.arange(classes), images)
  rng = np.random.default_rng(0)
  host = rng.standard_normal((len(labels), features), np.float32)
  device = jax.device_put(host)
  key = jax.random.key(0)
  selections = {
    'herding': lambda: coresets.herding(device, labels, ipc),
    'k-center': lambda: coresets.k_center(device, labels, ipc),
    'k-means, at most 50 steps': lambda: coresets.k_means(
      device, labels, ipc, key
    ),
  }
  rows = {name: timed(run, repeats) for name, run in selections.items()}
  loop = timed(lambda: numpy_herding(host, labels, ipc), repeats)
  agree = float(np.mean(np.asarray(rows['herding'][0]) == loop[0]))
  lines = [
    '| selection | first call, s | later calls, s | NumPy loop / dcjax |',
    '| --- | --- | --- | --- |',
    f'| herding, NumPy loop | {loop[1]:.2f} | {loop[2]:.2f} | 1 |',
  ]
  for name, (_, first, later) in rows.items():
    ratio = f'{loop[2] / later:.1f}' if name == 'herding' else ''
    lines.append(f'| {name} | {first:.2f} | {later:.2f} | {ratio} |')
  return '\n'.join([*lines, '', f'Herding: {agree:.0%} of choices are equal.'])


def main(argv: list[str]) -> None:
  """Prints what was measured, and on what."""
  del argv
  values = flags.FLAGS
  device = jax.devices()[0]
  print(
    f'{values.classes} classes x {values.images} images x {values.features} '
    f'features, ipc {values.ipc}; {device.device_kind}, {os.cpu_count()} host '
    f'cores, jax {jax.__version__}, numpy {np.__version__}\n',
    flush=True,
  )
  try:
    print(table(values.classes, values.images, values.features, values.ipc))
  except ValueError as error:
    sys.exit(f'error: {error}')


if __name__ == '__main__':
  flags.DEFINE_integer('classes', 10, 'Classes.', lower_bound=1)
  flags.DEFINE_integer('images', 5000, 'Images of each class.', lower_bound=1)
  flags.DEFINE_integer('features', 2048, 'Features.', lower_bound=1)
  flags.DEFINE_integer('ipc', 10, 'Images to keep of each.', lower_bound=1)
  app.run(main)
