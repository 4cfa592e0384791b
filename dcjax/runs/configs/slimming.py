"""Data-free network slimming: prune, then fine-tune on a small set alone.

  python experiments/run.py --workdir=runs/slimming
    --config=experiments/configs/slimming.py:fashion_mnist,schedule=short
    --config.data_dir=DATA

Networks are `vgg11:norm=batch` (the default) and `convnet:norm=batch` (that of
digits, whose images are too small for a VGG). `sparsity.strength` is that of
the penalty on the scales with which the network trains on the small set before
it is pruned; 0: no such training.

`schedule=reference` trains the network as Liu et al. (ICCV 2017) do, 160 epochs
from rate 0.1, and fine-tunes as EDC's students learn (NeurIPS 2024): its figure
4 prunes VGG11-BN on ImageNet-1k to 25.0 % at 10 and 47.1 % at 50 images per
class (SRe2L 12.5 and 31.7, RDED 13.2 and 42.8), but says neither how much is
pruned nor how it is fine-tuned; DELT prunes half.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _applications as apps, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
SCHEDULE = apps.SCHEDULE


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('slimming', arg)


def run(chosen, workdir, **options):
  from dcjax.runs.applications import slimming

  return slimming.run(chosen, workdir, **options)


def choices(chosen):
  network = 'convnet' if chosen.data == 'digits' else 'vgg11'
  return apps.choices(chosen) | dict(network=f'{network}:norm=batch')


def values(chosen):
  short = apps.is_short(chosen)
  return apps.base(
    chosen,
    ('edc', 'idc:factor=2', 'dm', 'random'),
    # Batch statistics mislead what condenses images.
    sets=dict(share_network=False),
    most_images=500 if short else 0,
    ratio=0.5,
    whole=apps.training(
      15 if short else 160,
      learning_rate=0.1,
      weight_decay=1e-4,
      drops=(0.5, 0.75),
      drop_factor=0.1,
      cutmix=0.0,
    ),
    sparsity=apps.constant_rate(
      20 if short else 160, 0.01, batch_size=64, strength=1e-4
    ),
    tuning=_tuning(100 if short else 1000),
  )


def _tuning(epochs):
  """EDC's loss and protocol of students."""
  return apps.training(
    epochs,
    batch_size=50,
    learning_rate=1e-3,
    weight_decay=0.01,
    drops=(),
    optimizer='adamw',
    schedule='smoothing',
    zeta=2.0,
    average_rate=0.99,
    cutmix=1.0,
    loss='mse',
    hard_weight=0.025,
    temperature=20.0,
  )


def smoke(chosen):
  """Seconds."""
  return apps.smoke(values(chosen), 'whole', 'sparsity', 'tuning', epochs=2)
