"""Runs: from a config to a condensed set, its evaluations and a report.

  results = dcjax.runs.run('idc:digits,smoke', 'runs/digits')
  condensed = dcjax.runs.condense('digits', 'runs/digits', method='idc')

A run is a list of stages (`_stage`), whose pieces are made by one loop
(`_loop`). Nothing of the library imports this package.
"""

from typing import TYPE_CHECKING

from dcjax import _lazy

if TYPE_CHECKING:
  from dcjax.runs import settings
  from dcjax.runs._call import condense
  from dcjax.runs._folder import Interrupted
  from dcjax.runs._run import condensed, config_of, plan, run
  from dcjax.runs.settings import Settings, resolve

__all__ = [
  'Interrupted',
  'Settings',
  'condense',
  'condensed',
  'config_of',
  'plan',
  'resolve',
  'run',
  'settings',
]

_FROM = {
  'Interrupted': '_folder',
  'Settings': 'settings',
  'condense': '_call',
  'condensed': '_run',
  'config_of': '_run',
  'plan': '_run',
  'resolve': 'settings',
  'run': '_run',
}

__getattr__, __dir__ = _lazy.attributes(__name__, __all__, _FROM)
