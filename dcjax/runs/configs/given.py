"""A set that was made elsewhere: evaluated and scored, not condensed.

  python experiments/run.py --workdir=runs/given
    --config=experiments/configs/given.py:cifar10,file=data.pt,factor=2
    --config.data_dir=DATA

`file` is an artefact of dcjax, a `data.pt` of the IDC code, or an `.npz` with
images and labels; `layout=dc`, `mtt`, `kip` or `frepo` reads what those codes
published (see `dcjax.artefact.import_published`), with `zca=` where their data
were whitened. `ipc` is what the file stores.
`evaluation.fair=true` adds the scores of DD-Ranking.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _shared as shared

DATA, LIKE = 'digits', shared.LIKE


def get_config(arg: str | None = None):
  """Returns the config for `DATA,file=FILE[,FIELD=VALUE...]`."""
  return settings.make('given', arg)


def choices(chosen):
  return dict(ipc=10, factor=1, network='convnet', sizes=shared.sizes(chosen))


def values(chosen):
  return dict(
    pipeline='given',
    file='',
    layout='',
    labels=dict(regime='hard', temperature=1.0),
    augment=dict(family='idc', evaluate='auto', mix='auto'),
    evaluation=shared.evaluation(
      'idc', 1000, baselines=('random', 'herding'), fair=False
    ),
  )


def short(chosen):
  """Minutes on two CPU cores."""
  return dict(evaluation=dict(epochs=300, seeds=2, herding_steps=1000))


def smoke(chosen):
  """Seconds."""
  return dict(evaluation=dict(epochs=4, seeds=2, herding_steps=4))
