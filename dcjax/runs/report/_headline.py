"""What a page says first: what condensation brought, and how sure that is."""

import datetime
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dcjax.runs.report._html import escape, is_number, note

SETS = {
  'condensed': 'condensed set',
  'fresh': 'fresh samples of the generator: NOT a fixed set',
  'initial': 'start of the condensation',
  'condensed_hard': 'condensed set, hard labels',
  'condensed_plain': 'condensed set, no augmentation',
  'random': 'random real images',
  'random_hard': 'random real images, hard labels',
  'random_updates': 'random real images, as many updates',
  'herding_updates': 'herding, as many updates',
  'random_plain': 'random real images, no augmentation',
  'herding': 'herding (chosen real images)',
  'whole': 'all real images',
}
# Against whom, most telling first.
RIVALS = ('initial', 'random', 'herding')
_OVER = {
  'initial': 'its start',
  'random': 'random real images',
  'herding': 'herding',
}
_SURE = 2  # standard errors


class Difference(NamedTuple):
  """How far one set is above another.

  Attributes:
    points: percent points.
    error: standard error of them.
    tie: whether they are within two standard errors.
  """

  points: float
  error: float
  tie: bool


class State(NamedTuple):
  """Where a run is.

  Attributes:
    name: 'running', 'stopped', 'failed' or 'finished'.
    done: fraction of the work that is done; None: unknown.
    left: seconds that are left; None: unknown.
    at: seconds since 1970 when this was so.
    message: what is to be known, such as an error.
  """

  name: str = 'finished'
  done: float | None = None
  left: float | None = None
  at: float = 0.0
  message: str = ''


def networks_of(entry: Mapping[str, Any]) -> int:
  """Networks that were trained; 1 where a record does not say."""
  return max(1, len(entry.get('per_seed_last') or ()))


def test_error(entry: Mapping[str, Any]) -> float | None:
  """Binomial standard error of an accuracy, a fraction; None: unknown.

  `sqrt(p (1 - p) / M)` for accuracy `p` on `M` test images.
  """
  mean, tests = entry.get('last_mean'), entry.get('tests')
  if not (is_number(mean) and is_number(tests) and tests > 0):
    return None
  return math.sqrt(max(0.0, mean * (1 - mean)) / tests)


def difference(
  ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> Difference | None:
  """How far one evaluation is above another, and how sure that is.

  The squared error adds, for both, the variance over `S` networks divided by
  `S`, and the binomial variance of the test images. Both were tested on the
  same images, so it is rather too large than too small.

  Args:
    ours: a record of an evaluation.
    theirs: another one.

  Returns:
    None where a record holds no accuracy.

  Example:
    >>> found = difference({'last_mean': 0.547, 'tests': 64},
    ...                    {'last_mean': 0.562, 'last_std': 0.022, 'tests': 64})
    >>> found.tie
    True
  """
  if not all(is_number(entry.get('last_mean')) for entry in (ours, theirs)):
    return None
  variance = 0.0
  for entry in (ours, theirs):
    spread = entry.get('last_std')
    spread = spread if is_number(spread) else 0.0
    variance += spread**2 / networks_of(entry) + (test_error(entry) or 0.0) ** 2
  points = 100 * (ours['last_mean'] - theirs['last_mean'])
  error = 100 * math.sqrt(variance)
  # Equal numbers are a tie, however sure they are.
  return Difference(points, error, abs(points) <= _SURE * error)


def verdict(found: Difference) -> str:
  """Says a difference in a few words."""
  error = f'± {found.error:.1f}'
  if found.tie:
    return f'a tie ({found.points:+.1f} {error} points)'
  return f'{found.points:+.1f} {error} points'


def accuracy(entry: Mapping[str, Any], which: str = 'last') -> str:
  """Mean and spread over networks in percent; '' where there is none."""
  mean, spread = entry.get(f'{which}_mean'), entry.get(f'{which}_std')
  if not is_number(mean):
    return ''
  said = f' ± {100 * spread:.1f}' if is_number(spread) else ''
  return f'{100 * mean:.1f}{said} %'


def main_name(results: Mapping[str, Any]) -> str | None:
  """The evaluation that a page is about."""
  evaluations = results.get('evaluations') or {}
  name = results.get('headline', 'condensed')
  return name if name in evaluations else next(iter(evaluations), None)


def title(results: Mapping[str, Any]) -> str:
  """What was done, such as `idc on digits`."""
  method, dataset = str(results.get('method', 'Condensation')), results.get
  return f'{method} on {dataset("dataset")}' if dataset('dataset') else method


def headline(results: Mapping[str, Any]) -> str:
  """Title, what condensation brought, and cards of what it is set beside.

  A test of the method's own comes before networks trained on the set.
  """
  parts = [f'<h1>{escape(title(results))}</h1>', _subtitle(results)]
  own, lead = results.get('own') or {}, ''
  if is_number(own.get('condensed', {}).get('last_mean')):
    parts += _told(own, 'condensed')
    how = own['condensed'].get('how')
    parts.append(note(f'What it was made for: {how}.'))
    lead = 'Networks trained on it instead. '
  entries, main = results.get('evaluations') or {}, main_name(results)
  if main is not None and is_number(entries[main].get('last_mean')):
    parts += [*_told(entries, main, lead), note(_how(entries[main]))]
  return '\n'.join(parts)


def _told(entries, main, lead=''):
  """Sentences and cards of one kind of test; small, if it has a lead."""
  ours = entries[main]
  gains = {
    name: difference(ours, entries[name])
    for name in RIVALS
    if name in entries and name != main
  }
  gains = {name: gain for name, gain in gains.items() if gain is not None}
  shown = [main, *gains, *(n for n in ('whole',) if n in entries)]
  cards = (_card(n, entries[n], gains.get(n)) for n in dict.fromkeys(shown))
  return [
    *_sentences(ours, gains, lead),
    f'<div class="cards">{"".join(cards)}</div>',
  ]


def _subtitle(results):
  formation = results.get('formation') or {}
  facts = []
  if 'ipc' in results:
    many = '' if results['ipc'] == 1 else 's'
    facts.append(f'{results["ipc"]} stored image{many} per class (ipc)')
  if 'name' in formation:
    facts.append(f'formation {formation["name"]}')
  if 'factor' in formation:
    facts.append(f'multi-formation factor {formation["factor"]}')
  return f'<p>{escape(", ".join(facts))}</p>' if facts else ''


def _sentences(ours, gains, lead):
  if not gains:
    yield f'<p class="{"" if lead else "big"}">{lead}{accuracy(ours)}</p>'
    return
  others = list(gains)
  if not lead:
    first = others.pop(0)
    yield f'<p class="big">{escape(_brought(first, gains[first]))}</p>'
  if others:
    said = (f'{_OVER[n]}: {verdict(gains[n])}' for n in others)
    yield f'<p>{lead}Over {escape("; over ".join(said))}.</p>'


def _brought(name, gain):
  if gain.tie:
    return f'A tie with {_OVER[name]}'
  side = 'over' if gain.points > 0 else 'against'
  return f'{gain.points:+.1f} points {side} {_OVER[name]}'


def _card(name, entry, gain):
  error, count = test_error(entry), networks_of(entry)
  facts = []
  if is_number(entry.get('last_std')) and count > 1:
    facts.append(f'± {100 * entry["last_std"]:.1f} over {count} networks')
  if error is not None:
    facts.append(f'± {100 * error:.1f} by the {entry["tests"]:,} test images')
  if 'images' in entry:
    facts.append(f'trained on {entry["images"]:,} images')
  beside = ''
  if gain is not None:
    beside = f'<br>condensed set: {escape(verdict(gain))}'
  return (
    f'<div class="card">{escape(SETS.get(name, name))}'
    f'<b>{100 * entry["last_mean"]:.1f} %</b>'
    f'<span class="note">{escape("; ".join(facts))}{beside}</span></div>'
  )


def _how(ours):
  regime = ours.get('label_regime', '–')
  return (
    f'Test accuracy after the last epoch; labels: {regime}. ± over networks is '
    'a standard deviation, ± by the test images and of a difference a standard '
    'error; within two of them it is a tie.'
  )


def status(state: State) -> str:
  """Says that a run is not finished; '' if it is."""
  if state.name == 'finished':
    return ''
  words = [state.name]
  if state.done is not None:
    words.append(f'{100 * state.done:.0f} %')
  if state.left is not None and state.name == 'running':
    words.append(f'{_short(state.left)} left')
  at = datetime.datetime.fromtimestamp(state.at).strftime('%Y-%m-%d %H:%M:%S')
  live = f' data-running="{state.at:.0f}"' if state.name == 'running' else ''
  bar = ''
  if state.done is not None:
    bar = f'<progress max="1" value="{state.done:.3f}"></progress>'
  message = f'<br>{escape(state.message)}' if state.message else ''
  return (
    f'<div class="status"{live}><b>{escape(", ".join(words))}</b>{bar}'
    f'<span class="note">written {at} <span class="since"></span>'
    f'{message}</span></div>'
  )


def _short(seconds):
  if seconds < 60:
    return f'{seconds:.0f} s'
  minutes = round(seconds / 60)
  return (
    f'{minutes} min'
    if minutes < 60
    else (f'{minutes // 60} h {minutes % 60} min')
  )


def ranked(evaluations: Mapping[str, Any], first: str | None) -> Sequence[str]:
  """Names of evaluations: the main one, what it is set beside, the others."""
  order = [n for n in (first, *RIVALS) if n is not None and n in evaluations]
  return list(dict.fromkeys([*order, *evaluations]))
