"""What a set costs to keep, in three budgets, beside the real images."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dcjax.runs.report._html import is_number, note, size, table


class Budget(NamedTuple):
  """What is stored, counted three ways.

  Attributes:
    numbers: stored numbers; None where they are not counted.
    float32: bytes of four for each, the field's common measure.
    stored: bytes in the types that are stored.
  """

  numbers: int | None
  float32: float
  stored: float


def budgets(results: Mapping[str, Any]) -> dict[str, Budget]:
  """All that a network is trained on, part by part; parts of nothing are not.

  Args:
    results: a run's, of any age.
  """
  found = {}
  for name, entry in (results.get('storage') or {}).items():
    if name != 'total' and isinstance(entry, Mapping) and entry.get('numbers'):
      found[name] = Budget(
        entry['numbers'],
        entry.get('float32_bytes', 0),
        entry.get('disk_bytes', entry.get('float32_bytes', 0)),
      )
  beside = results.get('bytes') or {}
  kept = found['labels'].float32 if 'labels' in found else 0
  if beside.get('labels', 0) > kept:
    found['labels'] = Budget(None, beside['labels'], beside['labels'])
  if beside.get('teachers'):
    teachers = beside['teachers']
    found['teachers (needed to train)'] = Budget(None, teachers, teachers)
  return found


def total(budgets: Mapping[str, Budget]) -> Budget:
  """The sum of parts."""
  numbers = [b.numbers for b in budgets.values() if b.numbers is not None]
  return Budget(
    sum(numbers),
    sum(b.float32 for b in budgets.values()),
    sum(b.stored for b in budgets.values()),
  )


def real_images(results: Mapping[str, Any], count: int) -> Budget | None:
  """So many real images as they come; None where results do not say."""
  facts = results.get('data') or {}
  images, stored = facts.get('images'), facts.get('bytes')
  if not (images and stored and facts.get('numbers')):
    return None
  numbers = round(count * facts['numbers'] / images)
  return Budget(numbers, 4 * numbers, count * stored / images)


def storage(results: Mapping[str, Any]) -> str:
  """The report's section on bytes, or nothing."""
  every = budgets(results)
  if not every:
    return ''
  rows = [_row(name, budget) for name, budget in every.items()]
  whole = total(every)
  rows.append(_row('total', whole))
  count = (results.get('data') or {}).get('images', 0)
  real = real_images(results, count)
  said = []
  if real is not None:
    rows.append(_row(f'all {count:,} real training images', real))
    said = [
      f'{_share(whole.float32, real.float32)} in numbers and in float32',
      f'{_share(whole.stored, real.stored)} as stored',
    ]
  file = ((results.get('storage') or {}).get('total') or {}).get('disk_bytes')
  if is_number(file):
    said.append(f'the file with its description: {size(file)}')
  classes = len((results.get('data') or {}).get('classes') or ())
  if classes:
    said.append(f'{8 * whole.stored / classes:,.0f} bits per class as stored')
  header = ['part', 'numbers', 'as float32', 'as stored']
  return table(header, rows) + (note(f'{"; ".join(said)}.') if said else '')


def _share(ours, theirs):
  if theirs >= ours:
    return f'1/{theirs / ours:,.0f} of the training set'
  return f'{ours / theirs:,.1f} times the training set'


def _row(name, budget):
  numbers = None if budget.numbers is None else f'{budget.numbers:,}'
  return [name, numbers, size(budget.float32), size(budget.stored)]
