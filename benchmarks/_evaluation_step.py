"""Training networks on a condensed set: one program, or a loop in PyTorch."""

import time
from typing import Any

import numpy as np
from _child import Prepared
from _problem import Problem, drawn, problem_from, stored_images


def by_dcjax(
  problem: dict[str, Any], *, num_networks: int, seeds: str | int
) -> Prepared:
  """Compiles the training of networks for `problem['epochs']` epochs.

  Args:
    problem: see `Problem`; trained on the stored images.
    num_networks: from scratch, then on and on from step to step.
    seeds: `'scan'` or `'vmap'`, see `dcjax.evaluation.evaluator`; or a number
      of devices of the CPU, each with its own networks (`--cpu_devices`).
  """
  import jax
  from _dcjax_step import augment_of, cutmix, device_peak, normalise

  from dcjax import evaluation, networks, sharding

  if isinstance(seeds, int):
    jax.config.update('jax_num_cpu_devices', seeds)
    seeds = sharding.seed_strategy(sharding.make_mesh(seeds))

  sizes = problem_from(problem)
  images, labels = _training_images(sizes)
  data = evaluation.training_set(images, labels, sizes.classes)
  network = networks.convnet(
    sizes.image_shape, sizes.classes, depth=sizes.depth, width=sizes.width
  )
  protocol = evaluation.idc_protocol()
  augment = augment_of(sizes, 'color_crop', sharing='sample')
  evaluator = evaluation.evaluator(
    network,
    evaluation.feed(protocol, augment=augment, mix=cutmix),
    protocol=protocol,
    normalise=normalise(sizes),
    seeds=seeds,
  )
  keys = jax.random.split(jax.random.key(0), num_networks)
  state = evaluator.start(keys, data)
  began = time.perf_counter()
  train = evaluator.train.lower(keys, data, state, sizes.epochs).compile()
  facts = {'compile_seconds': time.perf_counter() - began}
  held = [state]

  def run():
    held[0], loss = train(keys, data, held[0], sizes.epochs)
    jax.block_until_ready(held[0])
    return float(loss.mean())

  return Prepared(run, facts, device_peak())


def by_torch(
  problem: dict[str, Any], *, num_networks: int, threads: int
) -> Prepared:
  """Prepares the same with a loop over networks, epochs and batches.

  Args:
    problem: see `by_dcjax`.
    num_networks: see `by_dcjax`.
    threads: of PyTorch's pool; 0 leaves it.
  """
  import torch
  from _torch_step import Held, set_up, train

  set_up(threads)
  sizes = problem_from(problem)
  held = Held(sizes, 'cpu', 'lean', 'float32', drawn(sizes))
  images, labels = map(torch.from_numpy, _training_images(sizes))
  images = held.normalised(images.permute(0, 3, 1, 2).contiguous())
  models = [held.network() for _ in range(num_networks)]
  optimizers = [
    torch.optim.SGD(m.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    for m in models
  ]

  def run():
    for model, optimizer in zip(models, optimizers, strict=True):
      for _ in range(sizes.epochs):
        order = torch.randperm(len(images))
        for chosen in order.split(sizes.network_batch_size):
          batch = images[chosen], labels[chosen]
          loss = train(held, model, optimizer, *batch, augmented=True)
    return loss.item()

  return Prepared(run, {})


def _training_images(sizes: Problem) -> tuple[np.ndarray, np.ndarray]:
  images = stored_images(sizes).reshape(-1, *sizes.image_shape)
  return images, np.repeat(np.arange(sizes.classes), sizes.ipc)
