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
with the run's own network and keys. Every network trains under the run's
protocol. `transfer.json` records each evaluation once it is finished, so that
the same command goes on after a stop; `transfer.md` is the table.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import cells
from absl import app, flags
from evaluations import Evaluations
from network_specs import parse_networks, resolve
from progress import say
from workdir import Stop

from dcjax import networks
from dcjax.utils import check_choice

_DEFAULT = 'own,mlp,lenet,alexnet,resnet10:norm=batch,densenet121'


def evaluate_networks(
  run_dir: str,
  networks: Mapping[str, Mapping[str, Any]],
  *,
  sets: Sequence[str] = ('condensed',),
  seeds: int | None = None,
  epochs: int | None = None,
  stop: Stop | None = None,
  data_dir: str | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
  """Trains networks on the images of a finished run and tests them.

  What `transfer.json` in the run's folder records is read, not repeated; where
  network, seeds and epochs are the run's own, its evaluations are taken. Data
  are loaded only if something is left to do.

  Args:
    run_dir: the folder of a finished run.
    networks: label -> what `networks.build` takes, or `{'name': 'own'}`.
    sets: of `cells.SETS`: `'condensed'`, `'random'`, `'herding'`, ...
    seeds: networks for each evaluation; None: as the run.
    epochs: of the run's protocol; None: as the run.
    stop: a request to stop, heard during and between evaluations.
    data_dir: where the data lie now; None: where the run found them.

  Returns:
    set -> label -> what `evaluations.json` records of an evaluation.

  Raises:
    FileNotFoundError: if the folder holds no finished run.
    ValueError: if a set, network or option is unknown, or a network does not
      fit the images; nothing is trained then.
    Interrupted: if a stop was asked for.

  Example:
    >>> found = evaluate_networks('runs/mnist', {'wide': {'name': 'mlp'}})
    >>> found['condensed']['wide']['last_mean']
  """
  for name in sets:
    check_choice('sets', name, cells.SETS)
  run = cells.FinishedRun(
    run_dir, seeds=seeds, epochs=epochs, data_dir=data_dir
  )
  own = resolve(run.config.network.to_dict())
  specs = {label: resolve(spec) for label, spec in networks.items()}
  specs = {
    label: own if spec['name'] == 'own' else spec
    for label, spec in specs.items()
  }
  record = cells.Cells(run, 'transfer.json', stop)
  if own in specs.values():
    _take_over(run, record, own, sets)
  _check_fit(run, record, specs, sets)
  found = {name: {} for name in sets}
  for label, spec in specs.items():
    # One compiled evaluation serves all sets; none is made if all are known.
    shared = functools.cache(lambda s=spec: _evaluations(run, s, stop))
    for name in sets:
      found[name][label] = record.measure(
        _cell(run, name, spec),
        lambda n=name, s=shared: s().run(
          n, run.images(n), run.keys['evaluate']
        ),
      )
  return found


def _take_over(run, record, own, sets):
  for name in sets:
    cell, entry = _cell(run, name, own), run.own_evaluation(name)
    if entry is not None and cell not in record:
      record.add(cell, entry)


def _check_fit(run, record, specs, sets):
  """Builds every network that is needed, before anything is trained."""
  missing = [
    (label, name)
    for label, spec in specs.items()
    for name in sets
    if _cell(run, name, spec) not in record
  ]
  for label in dict(missing):
    say(f'network {label}: {_build(run, specs[label]).name}')
  if missing:
    say(f'{len(missing)} of {len(specs) * len(sets)} evaluations to make')


def _build(run, spec):
  data = run.parts.dataset
  return networks.build(spec, data.image_shape, data.num_classes)


def _evaluations(run, spec, stop):
  return Evaluations(run.parts._replace(network=_build(run, spec)), stop)


def _cell(run, name, spec):
  """What decides an evaluation, as a line."""
  settings = ' '.join(
    f'{option}={json.dumps(value)}'
    for option, value in sorted(spec.items())
    if option != 'name'
  )
  return (
    f'{name}, {run.seeds} seeds, {run.epochs} epochs, {spec["name"]} {settings}'
  )


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
    **options: `seeds`, `epochs`, `data_dir`.
  """
  if not sets:
    raise ValueError(f'sets: must name at least one of {cells.SETS}')
  chosen = parse_networks(words)
  run = cells.FinishedRun(run_dir, **options)
  with run.folder.graceful_stop() as stop:
    found = evaluate_networks(run_dir, chosen, sets=sets, stop=stop, **options)
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
        data_dir=values.data_dir,
      )
    )
  )


if __name__ == '__main__':
  flags.DEFINE_string('run', None, 'Folder of a finished run.', required=True)
  flags.DEFINE_list('networks', _DEFAULT, 'name[:option=value...], ...')
  flags.DEFINE_list('sets', ['condensed', 'random'], 'Of ' + str(cells.SETS))
  flags.DEFINE_integer('seeds', None, 'Networks each; as the run if left out.')
  flags.DEFINE_integer('epochs', None, 'Of the protocol; as the run.')
  flags.DEFINE_string('data_dir', None, 'Where the data lie now.')
  app.run(main)
