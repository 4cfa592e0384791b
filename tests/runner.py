"""Runs experiments in process, as small as they come."""

import json
import os
import pathlib
import signal
import socket
import threading
import time

import numpy as np

from dcjax import runs
from dcjax.runs import _build, settings

EXPERIMENTS = pathlib.Path(__file__).resolve().parent.parent / 'experiments'
RUN = EXPERIMENTS / 'run.py'
CONFIG = EXPERIMENTS / 'configs' / 'idc.py'


def config(arguments='digits,smoke', recipe='idc', **changes):
  """Returns a config; a change is `section__field=value` or `field=value`."""
  made = settings.make(recipe, arguments)
  dotted = {name.replace('__', '.'): value for name, value in changes.items()}
  settings.set_fields(made, dotted)
  return made


def resolved(arguments='digits,smoke', recipe='idc', **changes):
  """Returns complete settings."""
  return settings.resolve(config(arguments, recipe, **changes))


def built(arguments='digits,smoke', recipe='idc', **changes):
  """Returns what a run is made of; nothing is compiled."""
  return _build.build(resolved(arguments, recipe, **changes))


def run(workdir, arguments='digits,smoke', recipe='idc', given=(), **changes):
  """Runs (or resumes) an experiment; returns its results.

  Args:
    workdir: its folder.
    arguments: of the config.
    recipe: the config's name.
    given: options of `runs.run`, such as `dict(dataset=..., store=...)`.
    **changes: of the config.
  """
  command = ('run.py', f'--config={recipe}:{arguments}')
  options = {'command': command, **dict(given)}
  return runs.run(config(arguments, recipe, **changes), workdir, **options)


def results(workdir):
  """Returns the contents of `results.json`."""
  return json.loads((pathlib.Path(workdir) / 'results.json').read_text())


def stages(workdir):
  """Returns the entries of finished stages by name, without their keys."""
  read = json.loads((pathlib.Path(workdir) / 'stages.json').read_text())
  return {name.rpartition(' ')[0] or name: read[name] for name in read}


def evaluations(workdir):
  """Returns what evaluations recorded, by name."""
  return {
    name.removeprefix('evaluate/'): entry['value']
    for name, entry in stages(workdir).items()
    if name.startswith('evaluate/')
  }


def metrics(workdir):
  """Returns the records of `metrics.jsonl`."""
  lines = (pathlib.Path(workdir) / 'metrics.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def outcome(workdir):
  """Returns what must not depend on how often a run was interrupted."""
  times = ('seconds', 'at')
  found = {
    name: {k: v for k, v in entry.items() if k not in times}
    for name, entry in evaluations(workdir).items()
  }
  losses = [(r['outer'], r['loss']) for r in metrics(workdir)]
  return (workdir / 'condensed.npz').read_bytes(), found, losses


def write_npz(path, **changes):
  """Writes a data set of 4 classes of 20 images 8x8, changed as told."""
  rng = np.random.default_rng(0)
  arrays = {
    'images': rng.integers(0, 256, (80, 8, 8, 1)).astype(np.uint8),
    'labels': np.arange(80) % 4,
    'test_images': rng.integers(0, 256, (8, 8, 8, 1)).astype(np.uint8),
    'test_labels': np.arange(8) % 4,
  }
  np.savez(path, **arrays | changes)
  return path


def free_port():
  """A port of this machine that nothing listens on."""
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


def stop_once_there(path: pathlib.Path) -> threading.Thread:
  """Sends SIGTERM to this process when a file appears."""

  def watch():
    while not path.exists():
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)

  thread = threading.Thread(target=watch, daemon=True)
  thread.start()
  return thread
