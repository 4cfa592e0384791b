"""Operations counted from shapes: of methods, of tables, and as recorded."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcjax import records
from dcjax.runs import _build, _costs, _flops, _flops_step, settings, tables
from dcjax.runs.tables import _records, _work
from dcjax.utils import traced_for

_RECORDS = pathlib.Path(__file__).parent.parent / 'docs' / 'records'
_FORWARD = 101.5e6  # of ConvNet-3 of width 128 for CIFAR-10, by hand


def built_of(word):
  """The objects of a run `recipe:arguments` at its published size."""
  recipe, _, arguments = word.partition(':')
  config = settings.module(recipe).get_config(arguments)
  settings.set_fields(config, {'zca': 'none'})
  chosen = settings.resolve(config)
  dataset = _work.blank(chosen.config.like)
  return _build.build(chosen, dataset=dataset, devices=jax.devices()[:1])


def test_what_a_stride_spreads_is_not_counted():
  images, kernel = jnp.ones((2, 16, 16, 4)), jnp.ones((4, 4, 4, 8))

  def strided(images):
    return jnp.sum(
      jax.lax.conv_general_dilated(
        images,
        kernel,
        (2, 2),
        [(1, 1)] * 2,
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      )
    )

  forward = _flops.count_flops(jax.make_jaxpr(strided)(images))
  both = _flops.count_flops(jax.make_jaxpr(jax.grad(strided))(images))
  assert both == 2 * forward


def test_a_loop_of_unknown_length_takes_the_turns_that_are_said():
  def loop(count, matrix):
    return jax.lax.fori_loop(0, count, lambda _, x: x @ x, matrix)

  traced = jax.make_jaxpr(loop)(3, jnp.ones((5, 5)))
  assert _flops.count_flops(traced) == 2 * 5**3
  assert _flops.count_flops(traced, 2.5) == 2.5 * 2 * 5**3


@pytest.mark.parametrize('platform', ['cpu', 'tpu', 'cuda'])
def test_a_pass_counts_the_same_for_every_machine(platform):
  built = built_of('dc:mnist,ipc=1,network=lenet')
  with traced_for(platform):
    one = _costs.forward(built.network, built.dataset.image_shape)
  assert one == pytest.approx(0.83e6, rel=0.02)


# What the quick count leaves out: kernels of FRePo, first derivatives that
# nobody asks for, TESLA's single recomputation.
@pytest.mark.parametrize(
  ('word', 'within'),
  [
    ('dc:cifar10,ipc=10', 0.05),
    ('dm:cifar10,ipc=10', 0.05),
    ('cafe:cifar10,ipc=10', 0.05),
    ('idc:cifar10,ipc=10,factor=2', 0.15),
    ('label_distillation:cifar10,ipc=10', 0.1),
    ('dd:cifar10,ipc=10', 0.05),
    ('mtt:cifar10,ipc=10', 0.05),
    ('frepo:cifar10,ipc=10', 0.15),
    ('rat_bptt:cifar10,ipc=10', 0.05),
    ('rcig:cifar10,ipc=1', 0.1),
  ],
)
def test_the_count_of_passes_is_near_that_of_the_program(word, within):
  built = built_of(word)
  quick = _flops_step.iteration(built) * built.config.outer
  assert quick == pytest.approx(_work.traced(built), rel=within)


def test_distribution_matching_only_looks_at_real_images():
  """20,000 steps of ten classes: 256 real images once, ten others thrice."""
  expected = 20_000 * 10 * (256 + 3 * 10) * _FORWARD
  made = _work.traced(built_of('dm:cifar10,ipc=10'))
  assert made == pytest.approx(expected, rel=0.05)


def test_experts_count_in_trajectory_matching():
  """5000 times 50 steps; then a hundred experts of as many epochs as it uses.

  A step on ten images is taken, recomputed and differentiated: twelve passes.
  """
  table = tables.load('other_methods', 'reference')
  place = ('MTT', 'ipc 1')
  table = table._replace(cells={place: table.cells[place]})
  section = built_of('mtt:cifar10,ipc=1').config.method
  epochs = section.last_start + section.length - 1
  steps = 5000 * section.steps * 10 * 12
  expected = (steps + 100 * 50_000 * 3 * epochs) * _FORWARD
  found = _work.of_table(table)[place]
  np.testing.assert_allclose(found, expected, rtol=0.05)


@pytest.mark.parametrize('name', ['dc_lenet', 'dc_table3', 'dd_mnist'])
def test_recorded_operations_are_those_of_now(name):
  """`dcjax.runs.tables.published(folder, costs=True)` counts all anew."""
  kept = records.read(_RECORDS / _records.COSTS)[name]
  found = _work.of_table(tables.load(name, 'reference'))
  assert _work.as_record({name: found})[name] == kept
