"""Membership inference: does a small set give its members away?

  python experiments/membership.py --workdir=runs/membership
    --config=experiments/configs/applications/membership.py:fashion_mnist
    --config.data.dir=DATA

Half of the training images are members: small sets are made of them alone, and
networks train on these sets, and on all members for comparison. A threshold on
the log odds of the true class then tells members from the other half. What is
reported is that one attack, measured; it proves nothing about others. The
folder holds `report.md` and `report.html`; the same command goes on.
"""

from typing import Any

import application
import builder
import jax
import jax.numpy as jnp
import numpy as np
import small_sets
import whole_set
from ml_collections import ConfigDict

from dcjax import applications
from dcjax.data import Dataset

MEMBERS = 'all members'


def run(config: ConfigDict, workdir: str) -> dict[str, dict[str, Any]]:
  """Makes the sets, trains on them, attacks, and writes the report.

  Args:
    config: see `configs/applications/membership.py`.
    workdir: the folder; what it holds already is not repeated.

  Returns:
    Set -> `auc`, `advantage`, `rates` (a list for each false-positive rate)
    and `accuracy`, each with one entry for each of `S` networks.

  Raises:
    ValueError: if a setting is unusable.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  dataset = builder.load_dataset(config)
  members, others = halves(dataset, config.most_images)
  making = small_sets.making_of(config)
  small_sets.check(config.methods, making, members)
  network = application.network_of(config, dataset)
  learners = {
    name: application.learner_of(network, dataset, section)
    for name, section in (('', config.training), (MEMBERS, config.members))
  }
  with application.opened(config, workdir) as folder:
    sets = small_sets.batches(
      members, config.methods, making, folder.path / 'sets', folder.stop
    )
    sets[MEMBERS] = whole_set.images(members)
    found = {
      name: folder.measure(
        name,
        lambda name=name, batch=batch: _attack(
          config,
          learners.get(name, learners['']),
          name,
          batch,
          (members, others),
          folder,
        ),
      )
      for name, batch in sets.items()
    }
    _report(config, found, folder)
  return found


def halves(dataset: Dataset, per_class: int = 0) -> tuple[Dataset, Dataset]:
  """Deals the training images out: members, and others like them.

  Args:
    dataset: any; of each class the images come alternately.
    per_class: at most so many of each class in each half; 0: all.

  Raises:
    ValueError: if a class has fewer than two images.
  """
  if dataset.counts.min() < 2:
    name = dataset.class_names[int(dataset.counts.argmin())]
    raise ValueError(
      f'class {name!r} of {dataset.name} holds {dataset.counts.min()} images: '
      'members and others need one each'
    )
  order, offsets, counts = dataset.class_index()
  rank = np.arange(len(order)) - np.repeat(offsets, counts)
  # A last odd image is left out: both halves are of one size.
  whole = rank < np.repeat(counts // 2 * 2, counts)
  return tuple(
    small_sets.at_most(
      small_sets.chosen_images(dataset, order[whole & (rank % 2 == side)]),
      per_class,
    )
    for side in (0, 1)
  )


def _attack(config, learner, name, batch, halves, folder):
  num_classes = halves[0].num_classes
  keys = applications.seed_keys(jax.random.key(config.seed), config.seeds)
  data = applications.batch_set(batch, num_classes)
  with folder.progress(f'training on {name}') as report:
    trained = applications.teach(
      learner,
      keys,
      data,
      learner.init(keys),
      progress=report,
    )
  whole = jnp.ones(num_classes, bool)
  scores = [
    applications.membership_scores(
      learner.logits(trained, jnp.asarray(half.images), whole),
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


def _report(config, found, folder):
  rates = [f'TPR at {rate:.1%} FPR' for rate in config.false_positive_rates]
  rows = [
    [
      name,
      application.percents(entry['accuracy']),
      ' ± '.join(f'{v:.3f}' for v in application.mean_std(entry['auc'])),
      application.percents(entry['advantage']),
      *map(application.percents, entry['rates']),
    ]
    for name, entry in found.items()
  ]
  page = application.Page(
    f'Membership inference: {config.data.name}, {config.ipc} images per class',
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
    'accuracy_and_auc.png',
  )
  application.draw_points(
    folder.path / page.plot,
    {name: (e['accuracy'], e['auc']) for name, e in found.items()},
    'test accuracy, %',
    'AUC of the attack, %',
  )
  application.write(folder, page, {'attacks': found})


if __name__ == '__main__':
  application.launch(run)
