"""What the configs of DC, DSA, DM, CAFE and label distillation share."""

from typing import Any

from dcjax.runs.configs import _shared as shared

# Updates of the network behind a codebook's class embeddings.
_EMBEDDING_STEPS = {'reference': 5000, 'short': 1000}


def choices(chosen: Any) -> dict[str, Any]:
  """ipc, factor and network that are taken unless said."""
  return dict(
    ipc=1 if chosen.smoke else 10,
    factor=1,
    network='convnet',
    sizes=shared.sizes(chosen),
  )


def base(
  chosen: Any, without: tuple[str, ...] = (), **sections: Any
) -> dict[str, Any]:
  """The published values that these methods share, and the sections given.

  Args:
    chosen: see `settings.Chosen`.
    without: fields that this one has not, of the section `method` where none is
      said.
    **sections: of the method.
  """
  made = shared.merged(
    shared.base(
      chosen,
      outer=1000,
      start='mix' if chosen.factor > 1 else 'random',
      formation='uniform',
      # These methods never clip what they store.
      clip=False,
      objective='',
      inner='',
      source='',
      optimizer='',
      stored_labels='',
      step_size='',
      method=dict(
        batch_real=256,
        most_synthetic=10**6,
        decay='none',
        scale_learning_rate=False,
      ),
      augment=dict(
        family='none',
        match='auto',
        train='auto',
        evaluate='auto',
        train_mix='auto',
        mix='auto',
      ),
      evaluation=shared.evaluation('dsa', 1000, seeds=5, at=(0.5,)),
    ),
    sections,
  )
  evaluation = made['evaluation']
  if chosen.factor > 1 and not chosen.smoke:
    # Decoded images make more updates in an epoch than as many stored ones.
    evaluation['baselines'] += ('random_updates',)
  for field in without:
    section, _, name = field.rpartition('.')
    del made[section or 'method'][name]
  if chosen.formation == 'codebook':
    made = shared.merged(made, codebook(chosen))
  return made


def codebook(chosen: Any) -> dict[str, Any]:
  """What changes where codes and a generator are stored instead of images.

  They start as real images (`methods.fit_codebook`) and are stepped by Adam.
  """
  short = chosen.schedule == 'short'
  width = 32 if short else 128 if chosen.ipc <= 10 else 256
  if chosen.smoke:
    width = 4
  codes = 8 if chosen.smoke else 128
  steps = 4 if chosen.smoke else _EMBEDDING_STEPS[chosen.schedule]
  return dict(
    formation=f'codebook:codes_dim={codes}:projection_dim=128:width={width}'
    ':stored=float32',
    start=f'fit:steps={2 if chosen.smoke else 300}:embedding_steps={steps}',
    optimizer='codebook:generator_learning_rate=0.0005:optimizer=adam'
    ':largest_gradient=0.0',
    method=dict(
      learning_rate=0.01,
      momentum=0.9,
      decay='none',
      scale_learning_rate=False,
    ),
  )


def short(chosen: Any, **sections: Any) -> dict[str, Any]:
  """Minutes on two CPU cores."""
  made = shared.merged(
    dict(evaluation=dict(epochs=300, seeds=2, herding_steps=1000)), sections
  )
  if chosen.formation == 'codebook':
    made = shared.merged(made, codebook(chosen))
  return made


def smoke(chosen: Any) -> dict[str, Any]:
  """Seconds; only what a run does stays, not how well."""
  del chosen
  return dict(
    outer=2,
    method=dict(
      inner_steps=2,
      batch_real=8,
      most_synthetic=8,
      epochs=1,
      network_batches=1,
      network_batch_size=8,
      early_epochs=0,
      pool_networks=0,
      steps=2,
      unrolled_steps=4,
      window=2,
      passes=2,
      pool_size=2,
      network_images=16,
    ),
    experts=dict(count=2, at_once=1, batch_size=64),
    observers=dict(
      epochs=1, labelling_epochs=1, images_per_class=20, batch_size=16
    ),
    evaluation=dict(epochs=4, seeds=2, at=(0.5,), herding_steps=4),
  )
