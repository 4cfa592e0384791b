"""Condensation into a generative model.

Zhang et al., "Dataset Condensation via Generative Model" (2023),
https://arxiv.org/abs/2309.07698. A generator is pretrained once for a data set
(`--store` keeps it for other runs), then condensed:

  # needs an accelerator
  python experiments/run.py
    --config=experiments/configs/generative.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/generative

`start=generator` (a pretrained one, the paper's), `start=fit` (codes and a new
generator are fitted to real images; nothing is pretrained) or `start=weights`
(random ones). `schedule=short` are minutes on two cores, with a generator of
width 32; say `start=fit` with learned codes, as minutes make no good generator.
`method.condition`, `method.codes` and the weights of the losses are those of
Tables 6 to 8. `evaluation.fresh=true` evaluates fresh samples, too, as DiM
does; `formation=codebook:stored=float16` stores half precision.

The paper gives no weights, sizes, temperature, margin, batch sizes or numbers
of steps; see docs/generative.md for what was chosen. Published (ConvNet, ipc 1
/ 10 / 50): MNIST 93.7 / 98.4 / 99.2, Fashion-MNIST 79.2 / 87.3 / 88.8, SVHN
51.8 / 82.1 / 84.4, CIFAR-10 48.2 / 66.2 / 73.8, CIFAR-100 26.1 / 41.9 / 48.5,
ImageNet-1k at 64 pixels 7.9 / 17.6 / 27.2.
"""

from dcjax import specs
from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', (*shared.LIKE, 'imagenet')
choices = matching.choices


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('generative', arg)


def values(chosen):
  large = 'imagenet' in chosen.like
  width = 128 if chosen.ipc <= 10 and not large else 256
  base = matching.base(chosen._replace(formation=''))
  del base['method']['most_synthetic']
  return shared.merged(
    base,
    dict(
      outer=100,
      formation=_codebook(128, width),
      clip=True,
      start=_start(chosen, 5000),
      method=dict(
        name='generative',
        condition='class',
        codes='learned',
        codes_per_step=10,
        classes_per_step=64 if large else 0,
        # Real images of a class's association.
        batch_real=16 if large else 64 if chosen.like == 'cifar100' else 256,
        soft_labels=large,
        adversarial=1.0,
        classification=1.0,
        feature=1.0,
        intra=1.0,
        inter=1.0,
        saturating=False,
        layer_weights=(0.1, 0.1, 1.0, 1.0),
        reduction='sum',
        compared='image',
        temperature=0.1,
        margin=1.0,
        standardised=False,
        codes_learning_rate=0.01,
        generator_learning_rate=1e-3,
        momentum=0.5,
        optimizer='sgd',
        largest_gradient=1.0,
        discriminator_learning_rate=1e-4,
        discriminator_widths=(512, 256),
        network_batches=1,
        network_batch_size=256,
        network_learning_rate=0.01,
        early_batches=0,
        inner_steps=100,
      ),
      generator=dict(
        steps=60000,
        batch_size=128,
        learning_rate=1e-4,
        penalty=10.0,
        critic_width=128,
        critic_steps=1,
      ),
      augment=dict(family='dsa', match='none', train='none'),
      evaluation=dict(epochs=300, fresh=False),
    ),
  )


def _codebook(codes, width):
  return (
    f'codebook:codes_dim={codes}:projection_dim=128:width={width}'
    ':stored=float32'
  )


def _start(chosen, embedding_steps):
  """The digits have random weights: nothing is pretrained for them."""
  plain = chosen.data == 'digits' or chosen.smoke
  said = specs.parse('start', chosen.said.get('start') or '-')
  fit = 'fit:steps=300' if said['name'] == 'fit' else ''
  word = fit or ('weights' if plain else 'generator')
  return f'{word}:embedding_steps={embedding_steps}'


def short(chosen):
  """Minutes on two cores, by Adam, with a generator of width 32."""
  return dict(
    outer=4,
    formation=_codebook(128, 32),
    start=_start(chosen, 1000),
    method=dict(
      inner_steps=50,
      compared='class',
      batch_real=32,
      standardised=True,
      codes_learning_rate=0.01,
      generator_learning_rate=5e-4,
      optimizer='adam',
      discriminator_learning_rate=1e-3,
      early_batches=100,
      network_batch_size=64,
    ),
    generator=dict(
      steps=300,
      batch_size=64,
      learning_rate=1e-3,
      critic_width=32,
      critic_steps=5,
    ),
    evaluation=dict(epochs=300, seeds=2, herding_steps=1000),
  )


def smoke(chosen):
  """Seconds."""
  return shared.merged(
    matching.smoke(chosen),
    dict(
      formation=_codebook(8, 4),
      start=_start(chosen, 4),
      method=dict(codes_per_step=8, discriminator_widths=(8,)),
      generator=dict(steps=4, batch_size=4, critic_width=4, critic_steps=2),
    ),
  )
