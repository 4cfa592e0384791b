"""IDC: dataset condensation via efficient synthetic-data parameterization.

Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959; settings of the
published code.

  python experiments/run.py --config=experiments/configs/idc.py:digits
    --workdir=runs/digits
  python experiments/run.py
    --config=experiments/configs/idc.py:cifar10,ipc=10,factor=2
    --config.data_dir=DATA --workdir=runs/cifar10

`schedule=reference` are the published 200,000 inner iterations, `short` minutes
on two CPU cores. Published (ConvNet-3, width 128, factor 2, ipc 1 / 10 / 50):
CIFAR-10 50.6 / 67.5 / 74.5, Fashion-MNIST 81.0 / 86.0 / 86.2, MNIST 94.2 / 98.4
/ 99.1, SVHN 68.5 / 87.5 / 90.1. Measured: docs/results.md.
"""

from dcjax.runs import settings
from dcjax.runs.configs import (
  _idc_sets as sets,
  _matching as matching,
  _shared as shared,
)

DATA, LIKE = 'digits', shared.LIKE


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('idc', arg)


def choices(chosen):
  imagenet = sets.is_imagenet(chosen.like)
  sizes = shared.sizes(chosen)
  if sets.is_speech(chosen.like):
    sizes['convnet'] = {**sizes.get('convnet', {}), 'depth': 4}
  return dict(
    ipc=1 if chosen.smoke else 10,
    factor=3 if imagenet else 2,
    network='resnetap10' if imagenet else 'convnet',
    sizes=sizes,
  )


def values(chosen):
  made = matching.base(
    chosen,
    outer=2000,
    clip=True,
    method=dict(
      name='idc',
      # The published choice; an MLP has no convolutions.
      tensors='weights' if chosen.network['name'] == 'mlp' else 'conv',
      scale_learning_rate=True,
      momentum=0.5,
      sweep=True,
      inner_steps=100,
      batch_real=64,
      most_synthetic=128,
      network_batch_size=64,
      network_learning_rate=0.01,
      network_weight_decay=5e-4,
      early_batches=0,
      early_epochs=0,
      pool_networks=0,
      pool_epochs=5,
    ),
    augment=dict(family='idc'),
    evaluation=dict(protocol='idc', seeds=3, at=(0.1, 0.2, 0.5)),
  )
  made = shared.merged(made, sets.changes(chosen))
  if chosen.formation == 'codebook':
    made = shared.merged(made, matching.codebook(chosen))
  return made


def short(chosen):
  """Minutes on two CPU cores: far larger image steps, with a narrow network."""
  digits = chosen.data == 'digits'
  return matching.short(
    chosen,
    outer=5 if digits else 8,
    method=dict(
      inner_steps=20 if digits else 100,
      distance='l1',
      batch_real=32,
      network_batches=4,
      early_epochs=1 if chosen.like == 'imagenet10' else 0,
      pool_networks=0,
      learning_rate=0.026,
      # A falling rate averages the noise out; all classes step at once.
      decay='cosine',
      sweep=False,
    ),
    evaluation=dict(
      epochs=40 if digits else 300,
      at=(0.4,) if digits else (0.5,),
      herding_steps=300 if digits else 1000,
    ),
  )


def smoke(chosen):
  early = 1 if chosen.like == 'imagenet10' else 0
  return shared.merged(
    matching.smoke(chosen), dict(method=dict(early_epochs=early))
  )
