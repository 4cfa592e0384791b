"""Grids: condense with each network, test with each (DC, Tables 2, T3-T7)."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from dcjax import networks
from dcjax.runs.tables._methods import CONVNET, DC_PAPER, fill, numbers
from dcjax.runs.tables._types import Accuracy, Cell, Run, Table

DATASETS = ('mnist',)


def grid(
  title: str,
  size: str,
  datasets: Sequence[str],
  tested: Mapping[str, Mapping[str, Any]],
  text: str,
  *,
  condensing: Mapping[str, Mapping[str, Any]] | None = None,
  changes: Mapping[str, Mapping[str, Any]] | None = None,
  smoke: Sequence[str],
  note: str = '',
) -> Table:
  """Makes a grid of DC with one image per class.

  Args:
    title: see `Table`.
    size: see `Table`.
    datasets: the first one is taken.
    tested: label -> test network.
    text: published numbers, a row for each network that condensed.
    condensing: label -> network that condenses, where it is not the test
      network of that label.
    changes: label of a condensing network -> changes of its run.
    smoke: labels of the networks at size `'smoke'`.
    note: see `Table`.
  """
  dataset, labels = datasets[0], tuple(tested)
  condensing, changes = condensing or {}, changes or {}

  def make(row, column):
    network = condensing.get(row, tested[row])
    run_changes = dict(changes.get(row, {}))
    if network != CONVNET:
      run_changes['network'] = network
    run = Run('dc', dataset, 1, 1, run_changes)
    same = tested[column] == network
    return Cell(run, Accuracy('condensed', None if same else tested[column]))

  rows = tuple(f'condensed with {label}' for label in labels)
  taken = tuple(smoke) if size == 'smoke' else labels
  by_row = {f'condensed with {label}': label for label in taken}
  return Table(
    title,
    DC_PAPER,
    tuple(by_row),
    taken,
    fill(by_row, {label: label for label in taken}, make),
    numbers(dataset, DATASETS, rows, labels, text),
    note or 'A column is the network that is trained on the condensed images.',
  )


def convnets(option: str, values: Mapping[str, Any]) -> dict[str, dict]:
  """Returns label -> ConvNet with one option changed.

  The default ConvNet is left bare, so that all grids share its run.
  """
  default = inspect.signature(networks.convnet).parameters[option].default
  return {
    label: CONVNET if value == default else {**CONVNET, option: value}
    for label, value in values.items()
  }
