"""IDC, Table 11: CutMix in condensation and in evaluation."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Cell, Table

TITLE = 'IDC, Table 11: strong augmentation (S.A.) on and off'
DATASETS = ('cifar10',)
_METHODS = (
  'Random',
  'Herding',
  'DSA',
  'KIP',
  'DM',
  'IDC-I w/o S.A.',
  'IDC-I',
  'IDC w/o S.A.',
  'IDC',
)
_NUMBERS = """
54.7 57.5 60.6 55.8 63.0 67.4 68.6 72.8 73.5
56.5 59.8 59.5 57.9 65.6 67.0 69.5 74.3 74.5
"""
_WITHOUT, _WITH = 'tested w/o S.A.', 'tested w/ S.A.'
# Tests without S.A. are those of DSA and DM, says the paper.
_DSA_TEST = {'evaluation.protocol': 'dsa', 'evaluation.family': 'dsa'}
_IDC_TEST = {'evaluation.protocol': 'idc', 'evaluation.family': 'idc'}


def _cell(method: str, row: tuple[str, common.Row]) -> Cell | None:
  test, place = row
  name = method.removesuffix(' w/o S.A.')
  if name != method:
    place = place._replace(
      changes={'augment.mix': 'none', 'augment.train_mix': 'none'}
    )
  changes = _DSA_TEST
  if test == _WITH:
    changes = _IDC_TEST if name == 'DSA' else {}
  elif name == 'DSA':
    changes = {}
  if name != method:  # the CutMix that condensation went without
    changes = {**changes, 'augment.mix': 'auto', 'augment.train_mix': 'auto'}
  return common.method_cell(name, place, changes=changes)


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset, row = datasets[0], common.Row(datasets[0], 50)
  rows = {test: (test, row) for test in (_WITHOUT, _WITH)}
  methods = _METHODS
  if size == 'smoke':
    methods = ('IDC w/o S.A.',)
  return common.method_table(
    TITLE,
    common.IDC_PAPER,
    rows,
    methods,
    common.numbers(dataset, DATASETS, tuple(rows), _METHODS, _NUMBERS),
    _cell,
    note=(
      "ipc 50, ConvNet-3. Without S.A. the test is DSA's and DM's (batch 256, "
      "one operation at a time, no CutMix), with S.A. IDC's (batch 64, CutMix)."
    ),
  )
