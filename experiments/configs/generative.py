"""Condensation into a generative model.

Zhang et al., "Dataset Condensation via Generative Model" (2023), arXiv
2309.07698. A generator is pretrained once for a data set, then condensed:

  python experiments/pretrain_generator.py
    --config=experiments/configs/generative.py:cifar10 --config.data.dir=DATA
  python experiments/run.py
    --config=experiments/configs/generative.py:cifar10,ipc=10
    --config.data.dir=DATA --workdir=runs/generative

Arguments beside those of idc.py:
  condition=class (mean features, the paper's), one_hot or online (Table 6);
  codes=learned, gaussian, truncated or uniform: other than learned ones are
    drawn anew in every step (Table 7, whose "uniform sample" is gaussian);
  losses=adversarial+classification+feature+intra+inter, or some of them
    (Table 8);
  size, window: of folders of images, as for idc.py; like=imagenet or
    like=cifar100: whose settings they take;
  start=generator (a pretrained one, the paper's) or images (codes and a new
    generator are fitted to real images; nothing is pretrained);
  schedule=short: minutes on two cores, with a generator of width 32; say
    start=images with learned codes, as minutes make no good generator.

ImageNet-1k at 64 pixels (`tfds:imagenet_resized/64x64`): 64 classes a step, and
soft labels. `--config.evaluation.fresh=true` evaluates fresh samples, too, as
DiM does; `--config.formation.stored=float16` stores half precision.

The paper gives no weights, sizes, temperature, margin, batch sizes or numbers
of steps; see docs/generative.md for what was chosen. Published (ConvNet, ipc 1
/ 10 / 50): MNIST 93.7 / 98.4 / 99.2, Fashion-MNIST 79.2 / 87.3 / 88.8, SVHN
51.8 / 82.1 / 84.4, CIFAR-10 48.2 / 66.2 / 73.8, CIFAR-100 26.1 / 41.9 / 48.5,
ImageNet-1k at 64 pixels 7.9 / 17.6 / 27.2.
"""

import ml_collections
from configs import common

from dcjax import methods
from dcjax.utils import check_choice

_LOSSES = ('adversarial', 'classification', 'feature', 'intra', 'inter')
# Real images of a class in a step, by number of classes.
_ASSOCIATIONS = {'cifar100': 64, 'imagenet': 16}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,condition=][,...]`, see above."""
  config = common.finish(
    _base,
    arg,
    _short,
    condition='class',
    codes='learned',
    losses='all',
    size=0,
    window=0,
    like='',
    start='generator',
  )
  if _is_smoke(arg):
    config.generator.steps = 4
    config.generator.critic_steps, config.generator.fit_steps = 2, 0
    config.generator.batch_size = config.generator.critic_width = 4
    config.discriminator.widths = (8,)
  pretrained = config.data.name != 'digits' and not _is_smoke(arg)
  if pretrained and not config.generator.fit_steps:
    config.generator.pretrained = _path(config)
  return config


def _is_smoke(arg):
  items = (arg or '').split(',')
  return 'smoke' in [item.partition('=')[0].strip() for item in items]


def _path(config):
  """Where the generator of these settings lies, beside the other pools."""
  network = config.network.name
  if 'width' in config.network:
    network += str(config.network.width)
  condition = 'one_hot' if config.matching.condition == 'one_hot' else 'class'
  name = config.data.name.replace(':', '-').replace('/', '-')
  width = config.formation.width
  return f'pools/generator-{name}-{network}-{condition}-{width}.npz'


def _short(ipc):
  return {
    'schedule.outer': 4,
    'schedule.inner': 50,
    'images.learning_rate': 0.01,
    'matching.compared': 'class',
    'matching.batch_real': 32,
    'matching.standardised': True,
    'discriminator.learning_rate': 1e-3,
    'inner.early_batches': 100,
    'inner.batch_size': 64,
    'formation.width': 32,
    'generator.optimizer': 'adam',
    'generator.learning_rate': 5e-4,
    'generator.steps': 300,
    'generator.batch_size': 64,
    'generator.gan_learning_rate': 1e-3,
    'generator.embedding_steps': 1000,
    'generator.critic_width': 32,
    'generator.critic_steps': 5,
  }


def _base(
  name,
  ipc,
  factor,
  network,
  *,
  condition,
  codes,
  losses,
  size,
  window,
  like,
  start,
):
  _check_arguments(condition, codes, like, start)
  large = 'imagenet' in (like or name)
  associations = _ASSOCIATIONS.get('imagenet' if large else like or name, 256)
  config = common.matching_config(
    'generative',
    name,
    ipc,
    1,
    network,
    init='noise',
    family='dsa',
    learning_rate=0.01,
    matching=dict(
      condition=condition,
      codes=codes,
      labels='soft' if large else 'hard',
      classes_per_step=64 if large else 0,
      saturating=False,
      layer_weights=(0.1, 0.1, 1.0, 1.0),
      reduction='sum',
      compared='image',
      temperature=0.1,
      margin=1.0,
      standardised=False,
      **_weights(losses),
    ),
    inner=dict(batches=1, batch_size=256, learning_rate=0.01, early_batches=0),
    schedule=dict(outer=100, inner=100),
    protocol=('dsa', 300),
  )
  if factor != 1:
    raise ValueError(f'config argument factor={factor}: a codebook takes none')
  for option, value in (('size', size), ('window', window)):
    if value:
      config.data.options[option] = value
  config.matching.batch_real = associations
  config.matching.most_synthetic = 10
  config.augment.match = config.augment.train = 'none'
  config.formation = common.codebook_config(ipc, large)
  config.generator = _generator()
  config.generator.fit_steps = common.FIT_STEPS * (start == 'images')
  config.init.mode = 'random' if start == 'images' else 'noise'
  config.discriminator = ml_collections.ConfigDict(
    dict(learning_rate=1e-4, widths=(512, 256))
  )
  config.evaluation.fresh = False
  return config


def _check_arguments(condition, codes, like, start):
  check_choice('config argument condition', condition, methods.CONDITIONS)
  check_choice('config argument codes', codes, methods.CODES)
  check_choice('config argument like', like, ('', *_ASSOCIATIONS))
  check_choice('config argument start', start, ('generator', 'images'))
  if start == 'images' and codes != 'learned':
    raise ValueError(
      f'config argument start=images: codes={codes} are drawn anew and have no '
      'images to be fitted to; say start=generator'
    )


def _generator():
  return ml_collections.ConfigDict(
    dict(
      pretrained='',
      fit_steps=0,
      learning_rate=1e-3,
      optimizer='sgd',
      largest_gradient=1.0,
      embedding_steps=5000,
      steps=60000,
      batch_size=128,
      gan_learning_rate=1e-4,
      penalty=10.0,
      critic_width=128,
      critic_steps=1,
    )
  )


def _weights(losses):
  """1 for every loss that is named, 0 for the others."""
  named = _LOSSES if losses == 'all' else losses.split('+')
  for loss in named:
    check_choice('config argument losses', loss, _LOSSES)
  return {loss: float(loss in named) for loss in _LOSSES}
