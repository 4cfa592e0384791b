"""dcjax's side of `time_to_accuracy.py`: a whole condensation."""

import json
import pathlib
import shutil
import sys

import jax
from _child import limit_threads, record_seconds

from dcjax import runs
from dcjax.runs import settings


def main(folder: str) -> None:
  """Condenses as `folder/settings.json` says, in a run of its own.

  The seconds hold loading, start and compilation too. Every thread is a device.
  """
  place = pathlib.Path(folder)
  told = json.loads((place / 'settings.json').read_text(encoding='utf-8'))
  limit_threads(told['threads'])
  if told['threads'] > 1:
    jax.config.update('jax_num_cpu_devices', told['threads'])
  config = settings.make(told['recipe'], told['arguments'])
  # What would be evaluated along the way is no condensation.
  settings.set_fields(config, {**told['changes'], 'evaluation.at': ()})
  # Without what a stop left, whose seconds nobody counted.
  shutil.rmtree(place / 'run', ignore_errors=True)
  record_seconds(place, lambda: runs.condensed(config, place / 'run'))


if __name__ == '__main__':
  main(sys.argv[1])
