"""Trains other networks on a finished run's images: cross-architecture tests.

  python experiments/transfer.py --run=runs/cifar10
    --networks=own,resnet10:form=cifar_thin:norm=batch,densenet121
    --sets=condensed,random

A network is a name of `dcjax.networks` with `:option=value` parts; `resnet18`,
`resnetap10`, `convnet4` and the like are short for a depth, and `own` is the
network of the run. The IDC paper tests with the two above (ResNet-10 in its
CIFAR form, and DenseNet, both with batch norm; Table 1); DC's tables use mlp,
lenet, alexnet, vgg11 and a ResNet-18.

The images come from `condensed.npz`; random, herding and the like are selected
with the run's own network and keys, and `whole` is the whole real set. Every
network trains under the run's protocol, but with the augmentation and the
epochs that the papers give it (see `published_epochs`). `transfer.json` records
each evaluation once it is finished, so that the same command goes on after a
stop; `transfer.md` is the table.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import builder
import cells
import whole_set
from absl import app, flags
from evaluations import Evaluations
from ml_collections import ConfigDict
from network_specs import parse_networks, resolve
from progress import say
from workdir import Stop

from dcjax import augment, evaluation, networks
from dcjax.utils import check_at_least, check_choice

_DEFAULT = 'own,mlp,lenet,alexnet,resnet10:norm=batch,densenet121'
# DC's epochs, by whether the evaluation augments.
_DC_EPOCHS = {False: 300, True: 1000}


def published_epochs(config: ConfigDict, spec: Mapping[str, Any]) -> int:
  """Epochs that the papers' code gives a test network of a run.

  Those of the run, but where the published code tells networks apart:

  * IDC: 400, not 1000, for DenseNet on at least 50 images a class that
    multi-formation multiplies;
  * DC: 1000 for a network that is tested with augmentation, such as a ConvNet
    with BatchNorm, and 300 for one that is not.

  Where the run has other epochs than its own published ones (the short
  schedule, `--epochs`), they stay.

  Args:
    config: of the run.
    spec: the test network with all options (see `network_specs.resolve`).
  """
  protocol, epochs = config.evaluation.protocol, config.evaluation.epochs
  if protocol == 'idc' and spec['name'] == 'densenet121':
    factor = config.formation.to_dict().get('factor', 1)
    many = config.ipc >= 50 and factor > 1
    return 400 if many and epochs == 1000 else epochs
  if protocol == 'dc' and config.augment.evaluate == 'auto':
    own, other = _augments(config, config.network), _augments(config, spec)
    if own != other and epochs == _DC_EPOCHS[own]:
      return _DC_EPOCHS[other]
  return epochs


def _augments(config, network):
  """Whether a network is tested with augmentation under DC's strategies."""
  family = config.evaluation.family
  if family == 'auto':
    family = config.augment.family
  strategies = augment.STRATEGIES[family](
    config.data.name, batch_norm=augment.is_batch_norm_convnet(network)
  )
  return strategies['evaluate'] != 'none'


def evaluate_networks(
  run_dir: str,
  networks: Mapping[str, Mapping[str, Any]],
  *,
  sets: Sequence[str] = ('condensed',),
  seeds: int | None = None,
  epochs: int | None = None,
  whole_epochs: int | None = None,
  stop: Stop | None = None,
  data_dir: str | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
  """Trains networks on the images of a finished run and tests them.

  What `transfer.json` or, under the same settings, the run itself records is
  read, not repeated. Data are loaded only if something is left to do.

  Args:
    run_dir: the folder of a finished run.
    networks: label -> what `networks.build` takes, or `{'name': 'own'}`.
    sets: of `cells.SETS`: `'condensed'`, `'random'`, `'whole'`, ...
    seeds: networks for each evaluation; None: as the run.
    epochs: of the run's protocol, for all networks; None: as the run, other
      networks see `published_epochs`.
    whole_epochs: passes over the whole set; None: see `whole_set`.
    stop: a request to stop, heard during and between evaluations.
    data_dir: where the data lie now; None: where the run found them.

  Returns:
    set -> label -> what `evaluations.json` records of an evaluation.

  Raises:
    FileNotFoundError: if the folder holds no finished run.
    ValueError: before anything is trained, if a set, network or option is
      unknown, or a network does not fit the images.
    Interrupted: if a stop was asked for.

  Example:
    >>> found = evaluate_networks('runs/mnist', {'wide': {'name': 'mlp'}})
    >>> found['condensed']['wide']['last_mean']
  """
  for name in sets:
    check_choice('sets', name, cells.SETS)
  if whole_epochs is not None:
    check_at_least('whole_epochs', whole_epochs, 1)
  run = cells.FinishedRun(
    run_dir, seeds=seeds, epochs=epochs, data_dir=data_dir
  )
  tests = _tests(run, networks, epochs, whole_epochs)
  record = cells.Cells(run, 'transfer.json', stop)
  _take_over(run, record, tests, sets)
  _check_fit(record, tests, sets)
  found = {name: {} for name in sets}
  for label, test in tests.items():
    # One compiled evaluation serves all sets; none is made if all are known.
    train = _training(run, test, stop)
    for name in sets:
      found[name][label] = record.measure(
        test.cell(name), functools.partial(train, name)
      )
  return found


def _training(run, test, stop):
  programs = functools.cache(lambda whole: Evaluations(test.parts(whole), stop))
  return lambda name: programs(name == 'whole').run(
    name, run.images(name), run.keys['evaluate']
  )


class _Test:
  """A network to be trained on sets of a run."""

  def __init__(self, run, spec, own, epochs, whole_epochs):
    self._run, self._spec, self.own = run, spec, own
    self._epochs, self._whole_epochs = epochs, whole_epochs

  def cell(self, name):
    """What decides an evaluation, as a line."""
    run, spec, epochs = self._run, self._spec, self._epochs
    if name == 'whole':
      epochs = self._whole_epochs or f'default of {run.epochs}'
    settings = ' '.join(
      f'{option}={json.dumps(value)}'
      for option, value in sorted(spec.items())
      if option != 'name'
    )
    return f'{name}, {run.seeds} seeds, {epochs} epochs, {spec["name"]} ' + (
      settings
    )

  def network(self):
    data = self._run.parts.dataset
    return networks.build(self._spec, data.image_shape, data.num_classes)

  def parts(self, whole):
    """The run's parts with this network, tested as the papers test it."""
    parts = self._run.parts
    if not self.own:
      config = parts.config.copy_and_resolve_references()
      config.network = ConfigDict(self._spec)
      config.evaluation.epochs = self._epochs
      protocol = evaluation.PROTOCOLS[config.evaluation.protocol]
      parts = parts._replace(
        config=config,
        network=self.network(),
        strategies=builder.choose_strategies(config, parts.dataset),
        protocol=protocol(self._epochs),
      )
    if not whole:
      return parts
    epochs = self._whole_epochs or self._run.default_whole_epochs()
    return whole_set.prepared(parts, epochs)


def _tests(run, networks, epochs, whole_epochs):
  own, tests = resolve(run.config.network.to_dict()), {}
  for label, spec in networks.items():
    spec = resolve(spec)
    spec = own if spec['name'] == 'own' else spec
    passes = run.epochs
    if epochs is None and spec != own:
      passes = published_epochs(run.config, spec)
    tests[label] = _Test(run, spec, spec == own, passes, whole_epochs)
  return tests


def _take_over(run, record, tests, sets):
  """Records what the run itself has measured."""
  for test in tests.values():
    for name in sets:
      entry = run.own_evaluation(name) if test.own else None
      if entry is not None and test.cell(name) not in record:
        record.add(test.cell(name), entry)


def _check_fit(record, tests, sets):
  """Builds every network that is needed, before anything is trained."""
  missing = [
    label
    for label, test in tests.items()
    for name in sets
    if test.cell(name) not in record
  ]
  for label in dict.fromkeys(missing):
    say(f'network {label}: {tests[label].network().name}')
  if missing:
    say(f'{len(missing)} of {len(tests) * len(sets)} evaluations to make')


def report(
  run: cells.FinishedRun, found: Mapping[str, Mapping[str, Any]]
) -> str:
  """Returns the tables as Markdown: accuracies in percent, last and best.

  Args:
    run: whose networks these are.
    found: what `evaluate_networks` returns.
  """
  config, sets = run.config, list(found)
  entries = [found[name][label] for name in sets for label in found[sets[0]]]
  passes = sorted({entry['epochs'] for entry in entries})
  regimes = {
    found[n][label]['label_regime'] for n in sets for label in found[n]
  }

  def table(which):
    rows = (
      [label, *(cells.accuracy(found[name][label], which) for name in sets)]
      for label in found[sets[0]]
    )
    return cells.markdown(['network', *sets], rows)

  return (
    f'# Other networks: {config.method} on {config.data.name}, ipc '
    f'{config.ipc}\n\nTest accuracy in percent after training from scratch: '
    f'mean ± std of {run.seeds} networks, protocol '
    f'{config.evaluation.protocol}, {", ".join(map(str, passes))} epochs; '
    f'labels: {", ".join(sorted(regimes))}.\n\n## At the end of training\n\n'
    f'{table("last")}\n\n## Best test point (picked on test data)\n\n'
    f'{table("best")}\n'
  )


def transfer(
  run_dir: str, words: Sequence[str], sets: Sequence[str], **options: Any
) -> str:
  """Evaluates networks and writes `transfer.md`; returns its text.

  Args:
    run_dir: the folder of a finished run.
    words: see `network_specs.parse_networks`.
    sets: see `evaluate_networks`, as for the options and errors.
    **options: `seeds`, `epochs`, `whole_epochs`, `data_dir`.
  """
  if not sets:
    raise ValueError(f'sets: must name at least one of {cells.SETS}')
  chosen = parse_networks(words)
  passes = options.pop('whole_epochs', None)
  run = cells.FinishedRun(run_dir, **options)
  with run.folder.graceful_stop() as stop:
    found = evaluate_networks(
      run_dir, chosen, sets=sets, whole_epochs=passes, stop=stop, **options
    )
  text = report(run, found)
  cells.write(run.folder.path / 'transfer.md', text)
  return text


def main(argv: list[str]) -> None:
  """Prints and writes the tables that the flags ask for."""
  del argv
  values = flags.FLAGS
  cells.command(
    lambda: print(
      transfer(
        values.run,
        values.networks,
        values.sets,
        seeds=values.seeds,
        epochs=values.epochs,
        whole_epochs=values.whole_epochs,
        data_dir=values.data_dir,
      )
    )
  )


if __name__ == '__main__':
  flags.DEFINE_string('run', None, 'Folder of a finished run.', required=True)
  flags.DEFINE_list('networks', _DEFAULT, 'name[:option=value...], ...')
  flags.DEFINE_list('sets', ['condensed', 'random'], 'Of ' + str(cells.SETS))
  flags.DEFINE_integer('seeds', None, 'Networks each; as the run if left out.')
  flags.DEFINE_integer('epochs', None, 'Of the protocol; as the papers.')
  flags.DEFINE_integer('whole_epochs', None, 'Passes over the whole real set.')
  flags.DEFINE_string('data_dir', None, 'Where the data lie now.')
  app.run(main)
