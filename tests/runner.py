"""Runs experiments in process, as small as they come."""

import importlib
import json
import pathlib
import socket
import sys

import numpy as np

EXPERIMENTS = pathlib.Path(__file__).resolve().parent.parent / 'experiments'
RUN = EXPERIMENTS / 'run.py'
CONFIG = EXPERIMENTS / 'configs' / 'idc.py'


def module(name):
  """Imports a module of the runner."""
  if str(EXPERIMENTS) not in sys.path:
    sys.path.insert(0, str(EXPERIMENTS))
  return importlib.import_module(name)


def config(arguments='digits,smoke', recipe='idc', **changes):
  """Returns a config; a change is `section__field=value` or `field=value`."""
  made = module(f'configs.{recipe}').get_config(arguments)
  flat = {name.replace('__', '.'): value for name, value in changes.items()}
  made.update_from_flattened_dict(flat)
  return made


def run(workdir, arguments='digits,smoke', recipe='idc', **changes):
  """Runs (or resumes) an experiment; returns its results."""
  file = CONFIG.with_name(f'{recipe}.py')
  command = ['run.py', f'--config={file}:{arguments}']
  made = config(arguments, recipe, **changes)
  return module('experiment').run(made, str(workdir), command)


def outcome(workdir):
  """Returns what must not depend on how often a run was interrupted."""
  read = json.loads((workdir / 'evaluations.json').read_text())
  times = ('seconds', 'at')
  evaluations = {
    name: {k: v for k, v in entry.items() if k not in times}
    for name, entry in read.items()
  }
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  losses = [(r['outer'], r['loss']) for r in map(json.loads, lines)]
  return (workdir / 'condensed.npz').read_bytes(), evaluations, losses


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
