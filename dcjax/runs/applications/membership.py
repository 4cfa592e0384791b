"""Membership inference: does a small set give its members away?

Half of the training images are members: small sets are made of them alone, and
networks train on these sets, and on all members for comparison. A threshold on
the log odds of the true class then tells members from the other half. What is
reported is that one attack, measured; it proves nothing about others.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import applications, data
from dcjax.evaluation import seed_keys
from dcjax.runs import _build
from dcjax.runs._sets import whole
from dcjax.runs.applications import _pages as pages, _sets, _shared as shared
from dcjax.runs.settings import Settings

MEMBERS = 'all members'


def run(
  chosen: Settings, workdir: Any, *, dataset=None, **options: Any
) -> dict[str, dict[str, Any]]:
  """Makes the sets, trains on them, attacks, and writes the report.

  Returns:
    Set -> `auc`, `advantage`, `rates` (a list for each false-positive rate)
    and `accuracy`, each with one entry for each of `S` networks.

  Raises:
    ValueError: if a setting is unusable.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  config = chosen.config
  dataset = _build.load(config) if dataset is None else dataset
  members, others = data.halves(dataset, config.most_images)
  _sets.check(config.sets.names, config, members)
  network = shared.network_of(config, dataset)
  learners = {
    name: shared.learner_of(config, network, dataset, section)
    for name, section in (('', config.training), (MEMBERS, config.members))
  }
  with shared.opened(chosen, workdir, **options) as at_work:
    sets = _sets.batches(
      members, config.sets.names, at_work.making, at_work.path / 'sets'
    )
    sets[MEMBERS] = whole(members)
    found = {
      name: at_work.measure(
        name,
        functools.partial(
          _attack,
          at_work,
          learners.get(name, learners['']),
          name,
          batch,
          (members, others),
        ),
      )
      for name, batch in sets.items()
    }
    _report(at_work, found)
  return found


def _attack(at_work, learner, name, batch, halves):
  config, num_classes = at_work.config, halves[0].num_classes
  keys = seed_keys(jax.random.key(config.seed), config.seeds)
  training = applications.batch_set(batch, num_classes)
  with at_work.progress(f'training on {name}') as tell:
    trained = applications.teach(
      learner, keys, training, learner.init(keys), progress=tell
    )
  scores = [
    applications.membership_scores(
      learner.logits(trained, jnp.asarray(half.images)),
      jnp.asarray(half.labels),
    )
    for half in halves
  ]
  attacks = [
    applications.membership_attack(*pair, config.false_positive_rates)
    for pair in zip(*map(np.asarray, scores), strict=True)
  ]
  test = (halves[0].test_images, halves[0].test_labels)
  accuracy = applications.accuracies(learner, trained, [test])[:, 0]
  return {
    'auc': [attack.auc for attack in attacks],
    'advantage': [attack.advantage for attack in attacks],
    'rates': [
      [attack.true_positive_rates[rate] for attack in attacks]
      for rate in config.false_positive_rates
    ],
    'accuracy': accuracy.tolist(),
  }


def _report(at_work, found):
  config = at_work.config
  rates = [f'TPR at {rate:.1%} FPR' for rate in config.false_positive_rates]
  rows = [
    [
      name,
      pages.percents(entry['accuracy']),
      ' ± '.join(f'{v:.3f}' for v in pages.mean_std(entry['auc'])),
      pages.percents(entry['advantage']),
      *map(pages.percents, entry['rates']),
    ]
    for name, entry in found.items()
  ]
  page = pages.Page(
    f'Membership inference: {config.data}, {config.ipc} images per class',
    (
      'A threshold on the log odds of the true class tells training images '
      '(members) from as many others like them; 0.5 is chance for the area '
      'under the ROC curve (AUC). Rates and test accuracy in percent, mean ± '
      f'std of {config.seeds} networks. This is one attack, measured: it does '
      'not show that a stronger one would fail as well.',
    ),
    {
      'Attack': (
        ['trained on', 'test accuracy', 'AUC', 'advantage', *rates],
        rows,
      )
    },
    pages.cloud(
      'What is learned, and what it gives away',
      {name: (e['accuracy'], e['auc']) for name, e in found.items()},
      'test accuracy, %',
      'AUC of the attack, %',
    ),
  )
  pages.write(at_work, page, {'attacks': found})
