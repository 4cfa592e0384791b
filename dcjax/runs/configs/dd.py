"""DD: dataset distillation, through a whole unrolled training.

Wang, Zhu, Torralba & Efros, 2018, https://arxiv.org/abs/1811.10959; settings of
the published code, but for CIFAR's network, which is ConvNet-3 unless
`network=` names another.

  python experiments/run.py --config=experiments/configs/dd.py:mnist,ipc=10
    --config.data_dir=DATA --workdir=runs/dd

`ipc` images of each class are seen one a step, `method.passes` times over, each
step at a rate of its own that is learned. `method.initialisation=known` learns
for one network alone. The report shows the very training that the set was made
for (`own`) beside networks trained on the images under DC's protocol.
`schedule=short` makes 400 image steps. Published (LeNet, AlexNet): MNIST 94
with 10 images and one known network, 79.5 with random ones at ipc 10;
CIFAR-10 54 and 36.8.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
smoke = matching.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('dd', arg)


def choices(chosen):
  gray = chosen.like in ('mnist', 'fashion_mnist')
  made = matching.choices(chosen)
  return made | dict(network='lenet' if gray else 'convnet')


def values(chosen):
  return matching.base(
    chosen,
    without=('most_synthetic',),
    outer=235,
    start='normal',
    step_size='softplus:start=0.02',
    method=dict(
      name='dd',
      initialisation='random',
      drawn='xavier',
      learning_rate=0.01,
      halve_after=40,
      passes=3,
      # 1020 of ten classes, where the paper draws 1024.
      batch_real=10 if chosen.like == 'cifar100' else 102,
      inner_steps=100,
    ),
    evaluation=dict(protocol='dc', epochs=300, baselines=('initial', 'random')),
  )


def short(chosen):
  """400 image steps on fewer real images."""
  return matching.short(chosen, outer=4, method=dict(batch_real=26))
