"""EDC: elucidating the design space of dataset condensation.

Shao et al., NeurIPS 2024, https://arxiv.org/abs/2404.13733; the paper's values
(the released code has others, and leaves out the flatness term):

  python experiments/run.py --config=experiments/configs/edc.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/edc

`configuration=A` to `G` is the ladder of the paper's figure 1 from G-VBSM to
EDC, each rung adding one design choice (see `methods.edc_configuration`). Left
out, the settings are those of the paper for the data set: G, but for CIFAR-10's
evaluation, whose rate falls in steps. Published with ResNet-18 (ipc 1 / 10 /
50): CIFAR-10 32.6 / 79.1 / 87.0, CIFAR-100 39.7 / 63.7 / 68.6, Tiny-ImageNet
39.2 / 51.2 / 57.2, ImageNet-10 45.2 / 63.4 / 82.2, ImageNet-1k 12.8 / 48.6 /
58.0.
"""

from dcjax import methods
from dcjax.runs import settings
from dcjax.runs.configs import _observing as observing, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = observing.choices, observing.smoke
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


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('edc', arg)


def values(chosen):
  like = shared.training_like(chosen.like)
  large = observing.is_imagenet(like)
  iterations, batch, weight = _SYNTHESIS[like]
  epochs, student_batch = _EVALUATION[like]
  long = like == 'tiny_imagenet' and chosen.ipc == 1
  made = observing.base(
    chosen,
    'edc',
    configuration='',
    start=(
      'rded:factor=2:candidates=256:crops=4'
      ':best_of_image=False:ratio=(0.75,1.3333333333333333)'
      ':arrangement=grouped'
      if large
      else 'random'
    ),
    method=dict(
      name='edc',
      iterations=iterations,
      inner_steps=25,
      learning_rate=0.05,
      weight=weight,
      alpha=0.5,
      flatness=0.25,
      averaging=0.99,
      momentum=0.8,
      smallest_crop=0.5,
    ),
    batches=dict(batch_size=batch, order='class'),
    augment=dict(
      evaluate='resized_crop=0.5|flip'
      if like == 'imagenet1k'
      else 'randaugment|resized_crop=0.5|flip'
    ),
    evaluation=dict(
      epochs=1000 if long else epochs,
      batch_size=student_batch,
      average_rate=0.99,
    ),
  )
  rung = chosen.said.get('configuration', '')
  if rung:
    return shared.merged(made, _rung(like, rung, made))
  if like == 'cifar10':
    made['evaluation']['protocol'] = 'edc_cifar10'
  return made


def _rung(like, name, made):
  """What a configuration of the ladder changes in EDC's settings."""
  rung, full = (methods.edc_configuration(n) for n in (name, 'G'))
  longer = rung.iterations // full.iterations
  options = dict(
    iterations=made['method']['iterations'] * longer,
    flatness=rung.terms.flatness,
    alpha=rung.terms.alpha,
    smallest_crop=rung.seen.smallest_crop,
  )
  matching, labelling = observing.observers(like, rung.observers)
  # The students' crops are those of the synthesis, as in the released code.
  crop = f'resized_crop={options["smallest_crop"]}'
  changes = dict(
    method=options,
    observers=dict(matching=matching, labelling=labelling),
    augment=dict(
      evaluate=made['augment']['evaluate'].replace('resized_crop=0.5', crop)
    ),
    evaluation=dict(zeta=rung.zeta, average_rate=rung.average_rate or 0.0),
  )
  if rung.start == 'noise':
    changes['start'] = 'normal:clip=True'
  if rung.batch_size > full.batch_size:
    # G-VBSM's batches, which EDC's ladder starts with.
    large = observing.is_imagenet(like)
    changes['evaluation']['batch_size'] = rung.batch_size if large else 100
  return changes


def short(chosen):
  """Small observers, few steps; RandAugment is too strong for few epochs."""
  published = values(chosen)
  # EDC's ladder starts with G-VBSM's choice of observers.
  matching = published['observers']['matching']
  few = len(matching) == len(observing.observers('cifar10', 'gvbsm')[0])
  evaluate = published['augment']['evaluate'].removeprefix('randaugment|')
  # Averages over the share of 200 epochs that 0.99 has of 1000.
  average = 0.95 if published['evaluation']['average_rate'] else 0.0
  start = published['start'].replace('candidates=256', 'candidates=100')
  return observing.short(
    chosen,
    published,
    2 if few else 3,
    start=start,
    augment=dict(evaluate=evaluate),
    evaluation=dict(average_rate=average),
  )
