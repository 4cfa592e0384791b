"""dcjax's side of `time_to_accuracy.py`: a whole condensation."""

import json
import pathlib
import shutil
import sys
import time

import jax

from dcjax import runs
from dcjax.runs import settings


def main(folder: str) -> None:
  """Condenses as `folder/settings.json` says; writes what `_torch_idc` does.

  The seconds hold loading, start and compilation too. Every thread is a device.
  """
  place = pathlib.Path(folder)
  told = json.loads((place / 'settings.json').read_text(encoding='utf-8'))
  if told['threads'] > 1:
    jax.config.update('jax_num_cpu_devices', told['threads'])
  config = settings.make(told['recipe'], told['arguments'])
  settings.set_fields(config, told['changes'])
  began = time.perf_counter(), time.process_time()
  runs.condensed(config, place / 'run')
  wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
  shutil.copy(place / 'run' / 'condensed.npz', place / 'condensed.npz')
  seconds = {'wall': wall, 'cpu': cpu}
  (place / 'seconds.json').write_text(json.dumps(seconds), encoding='utf-8')


if __name__ == '__main__':
  main(sys.argv[1])
