"""Machines that programs can be compiled for without having one.

`libtpu` (`pip install 'dcjax[targets]'`) compiles for slices of TPUs on a CPU,
and the CUDA plugin (`pip install 'dcjax[cuda]'`) for GPUs that are described.
"""

import math
import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies


class Chip(NamedTuple):
  """What a vendor's data sheet says of one device.

  Attributes:
    platform: as JAX calls it.
    memory: bytes.
    flops: a second, of products as JAX multiplies float32 by default: in
      bfloat16 on TPUs, in TensorFloat-32 on GPUs.
    bandwidth: bytes a second from and to memory.
    link: bytes a second to other devices.
    description: of a GPU to its compiler, else ''.
  """

  platform: str
  memory: float
  flops: float
  bandwidth: float
  link: float
  description: str = ''


class Target(NamedTuple):
  """Devices to plan for.

  Attributes:
    name: as it was said.
    chip: each of them; None: this machine's CPU.
    count: how many.
    devices: to compile for, or () where their compiler is not installed.
    problem: why it is not, or ''.
  """

  name: str
  chip: Chip | None
  count: int
  devices: Sequence[Any] = ()
  problem: str = ''


_GPU = """
gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32
  shared_memory_per_block: 49152 shared_memory_per_core: {per_core}
  shared_memory_per_block_optin: {optin}
  threads_per_core_limit: 2048 core_count: {cores} fpus_per_core: {units}
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth} l2_cache_size: {cache}
  clock_rate_ghz: {clock} device_memory_size: {memory}
  cuda_compute_capability {{ major: {major} }}
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 8 }}
device_description_str: "{name}"
"""


def _gpu(flops, link, **facts):
  return Chip(
    'cuda',
    facts['memory'],
    flops,
    facts['bandwidth'],
    link,
    _GPU.format(**facts),
  )


CHIPS = {
  'v4': Chip('tpu', 32e9, 275e12, 1.2e12, 300e9),
  'v5e': Chip('tpu', 16e9, 197e12, 0.82e12, 200e9),
  'v5p': Chip('tpu', 95e9, 459e12, 2.77e12, 600e9),
  'v6e': Chip('tpu', 32e9, 918e12, 1.64e12, 450e9),
  'h100': _gpu(
    495e12,
    450e9,
    name='NVIDIA H100 80GB HBM3',
    major=9,
    cores=132,
    units=128,
    clock=1.98,
    per_core=233472,
    optin=232448,
    cache=52428800,
    bandwidth=3352320000000,
    memory=84978434048,
  ),
  'a100': _gpu(
    156e12,
    300e9,
    name='NVIDIA A100-SXM4-80GB',
    major=8,
    cores=108,
    units=64,
    clock=1.41,
    per_core=167936,
    optin=166912,
    cache=41943040,
    bandwidth=2039000000000,
    memory=84974239744,
  ),
}


def target(word: str) -> Target:
  """Reads a target and finds devices to compile for.

  Args:
    word: `'cpu'`; a GPU and how many, such as `'h100'` or `'a100:8'`; a TPU and
      its topology, such as `'v5e'` (one chip), `'v5e:4x8'` or `'v5p:2x2x2'`.

  Raises:
    ValueError: if there is no such target; says what is allowed.
  """
  name, _, form = word.partition(':')
  if word == 'cpu':
    return Target(word, None, jax.device_count(), jax.devices())
  if name not in CHIPS or not re.fullmatch(r'([1-9]\d*(x[1-9]\d*)*)?', form):
    raise ValueError(
      f'--plan={word}: must be cpu or one of {", ".join(CHIPS)}, with a '
      'topology or number of devices, such as v5e:4x8, v5p:2x2x2 or h100:8'
    )
  chip = CHIPS[name]
  count = math.prod(int(n) for n in (form or '1').split('x'))
  make = _slice if chip.platform == 'tpu' else _gpus
  try:
    return Target(word, chip, count, make(name, form, chip, count))
  except Exception as error:  # whatever a plugin raises
    text = ' '.join(str(error).split())[:160]
    return Target(word, chip, count, problem=text or type(error).__name__)


def _slice(name, form, chip, count):
  del chip
  # Nothing is asked of a TPU, nor kept from others.
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
  os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')
  axes = 2 if name in ('v5e', 'v6e') else 3
  one = {'chips_per_host_bounds': [1, 1, 1]} if count == 1 else {}
  return topologies.get_topology_desc(
    f'{name}:{form or "x".join("1" * axes)}', platform='tpu', **one
  ).devices


def _gpus(name, form, chip, count):
  del name, form
  shape = f'1x1x{count}'
  return topologies.get_topology_desc(
    shape, platform='cuda', topology=shape, target_config=chip.description
  ).devices
