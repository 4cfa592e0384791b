"""Smoke runs on two virtual devices, up to their condensed sets.

sharded_runs.py FOLDER METHOD...
"""

import pathlib
import sys

import jax

jax.config.update('jax_num_cpu_devices', 2)

from test_smoke_runs import Finished  # noqa: E402

if __name__ == '__main__':
  root = pathlib.Path(sys.argv[1])
  for method in sys.argv[2:]:
    # Networks are those of the runs on one device.
    made = Finished(method, root / method, {}, root / 'store')
    made.condensed(root / 'two' / method)
