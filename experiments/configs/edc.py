"""EDC: elucidating the design space of dataset condensation.

Shao et al., NeurIPS 2024, arXiv 2404.13733; the paper's values (the released
code has others, and leaves out the flatness term):

  python experiments/run.py --config=experiments/configs/edc.py:cifar10,ipc=10
    --config.data.dir=DATA --workdir=runs/edc

Arguments: see statistics.py, and `configuration=A` to `G`, the ladder of the
paper's figure 1 from G-VBSM to EDC, each rung adding one design choice (see
`dcjax.methods.edc_configuration`). Left out, the settings are those of the
paper for the data set: G, but for CIFAR-10's evaluation, whose rate falls in
steps. Published with ResNet-18 (ipc 1 / 10 / 50): CIFAR-10 32.6 / 79.1 / 87.0,
CIFAR-100 39.7 / 63.7 / 68.6, Tiny-ImageNet 39.2 / 51.2 / 57.2, ImageNet-10 45.2
/ 63.4 / 82.2, ImageNet-1k 12.8 / 48.6 / 58.0.
"""

import ml_collections
from configs import statistics

from dcjax import methods

# Data set -> steps of an image batch, its size (0: the whole set), weight of
# the statistics; then epochs and batch of the evaluation.
_SYNTHESIS = {
  'cifar10': (75, 0, 0.01),
  'cifar100': (2000, 100, 0.01),
  'tiny_imagenet': (2000, 100, 0.01),
  'imagenet10': (2000, 100, 0.01),
  'imagenet1k': (2000, 80, 0.1),
}
_EVALUATION = {
  'cifar10': (1000, 25),
  'cifar100': (1000, 50),
  'tiny_imagenet': (300, 100),
  'imagenet10': (1000, 50),
  'imagenet1k': (300, 100),
}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,configuration=][,smoke]`."""
  return statistics.finish('edc', arg, _paper, configuration='')


def _paper(config, like, args):
  large = statistics.is_imagenet(like)
  iterations, batch, weight = _SYNTHESIS[like]
  epochs, student_batch = _EVALUATION[like]
  statistics.set_observers(config, like, 'edc')
  if large:
    config.start.update(
      mode='rded',
      candidates=256,
      crops=4,
      best_of_image=False,
      ratio=(3 / 4, 4 / 3),
    )
  config.synthesis = ml_collections.ConfigDict(
    dict(
      iterations=iterations,
      image_steps=25,
      batch_size=batch,
      order='class',
      learning_rate=0.05,
      weight=weight,
      alpha=0.5,
      flatness=0.25,
      averaging=0.99,
      momentum=0.8,
      smallest_crop=0.5,
    )
  )
  long = like == 'tiny_imagenet' and args['ipc'] == 1
  config.evaluation.epochs = 1000 if long else epochs
  config.evaluation.override.batch_size = student_batch
  config.evaluation.randaugment = like != 'imagenet1k'
  if args['configuration']:
    _rung(config, like, args['configuration'])
  elif like == 'cifar10':
    config.evaluation.protocol = 'edc_cifar10'


def _rung(config, like, name):
  """Turns EDC's settings into those of a configuration of the ladder."""
  rung = methods.edc_configuration(name)
  full = methods.edc_configuration('G')
  if rung.start == 'noise':
    config.start.mode = 'noise'
  options = dict(rung.synthesis)
  longer = options.pop('iterations') // full.synthesis['iterations']
  config.synthesis.iterations *= longer
  config.synthesis.update(options)
  statistics.set_observers(config, like, rung.observers)
  evaluation = config.evaluation
  # The students' crops are those of the synthesis, as in the released code.
  evaluation.smallest_crop = options['smallest_crop']
  evaluation.override.update(
    zeta=rung.zeta, average_rate=rung.average_rate or 0.0
  )
  if rung.batch_size > full.batch_size:
    # G-VBSM's batches, which EDC's ladder starts with.
    evaluation.override.batch_size = (
      rung.batch_size if statistics.is_imagenet(like) else 100
    )
