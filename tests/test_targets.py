"""Programs for machines that are not here: lowered, compiled, planned."""

import jax
import jax.numpy as jnp
import pytest

from dcjax import augment, data, runs, specs
from dcjax.runs import (
  _compiled,
  _fitting,
  _plan,
  _programs,
  _targets,
  settings,
)
from dcjax.utils import traced_for

_TINY = 'digits:size=8,smoke,evaluation.baselines=()'
# One for each family of programs.
_FAMILIES = ('idc', 'dm', 'mtt', 'frepo', 'edc')


def _built(name, found):
  config = runs.config_of(f'{name}:{_TINY}')
  return _plan.build(settings.resolve(config), found)


@pytest.mark.parametrize('name', _FAMILIES)
def test_condensation_is_lowered_for_every_platform(name):
  found = _targets.target('cpu')
  with traced_for('tpu'):
    for program in _programs.programs(_built(name, found)):
      if program.name == 'condense':
        traced = jax.jit(program.function).trace(*program.args)
        lowered = traced.lower(lowering_platforms=('tpu', 'cuda'))
        assert program.calls > 0
        assert len(lowered.as_text()) > 1000


def test_a_plan_is_a_page_and_runs_nothing():
  page = runs.plan(f'dm:{_TINY}', 'cpu')
  lines = page.splitlines()
  assert lines[0].startswith('plan: dm on digits, ipc 1, convnet')
  assert 'condense: 2 x outer iteration of' in page
  assert ': fits' in page and 'compiled here in' in page
  assert lines[-1].startswith('in all: about ')


def test_a_plan_of_some_programs_says_each_as_soon_as_it_is_known():
  said = []
  page = runs.plan(f'dm:{_TINY}', 'cpu', programs=['condense'], say=said.append)
  assert page.splitlines() == said
  assert 'condense: ' in page and 'evaluate' not in page
  assert said[-1].startswith('in all: of these about ')
  with pytest.raises(
    ValueError, match=r"none begins with 'pool'; .*condense, "
  ):
    runs.plan(f'dm:{_TINY}', 'cpu', programs=['condense', 'pool'])


def test_without_its_compiler_a_target_is_lowered_and_the_plan_says_so(
  monkeypatch,
):
  missing = _targets.Target(
    'v5e:2x2', _targets.CHIPS['v5e'], 4, (), 'no libtpu'
  )
  monkeypatch.setattr(_targets, 'target', lambda word: missing)
  page = runs.plan(f'dm:{_TINY}', 'v5e:2x2')
  assert 'not compiled, only lowered' in page and 'no libtpu' in page
  assert 'dcjax[targets]' in page
  assert 'device-hours' in page


@pytest.mark.parametrize('word', ['v9', 'h100:0', 'v5e:2y2', ''])
def test_unknown_targets_are_refused(word):
  with pytest.raises(ValueError, match=f'--plan={word}: must be cpu or one of'):
    _targets.target(word)


def test_what_does_not_fit_is_said_with_what_would():
  found = _targets.target('cpu')
  built = _built('dm', found)
  program = next(p for p in _programs.programs(built) if p.name == 'condense')
  large = _plan.Measured(
    program, _plan.Count(1e12, 1e9), 2e9, 100e9, _plan._NOTHING, 1.0
  )

  def text(measured, name):
    chip = _targets.CHIPS[name]
    return '\n'.join(_plan._program(built, measured, chip, found))

  assert 'does NOT fit' in text(large, 'h100')
  assert 'execution.classes=scan' in text(large, 'h100')
  # Classes go one after another there as it is.
  assert 'needs a smaller method.batch_real' in text(large, 'v5e')
  assert 'window' not in text(large, 'v5e')
  small = large._replace(temporaries=1e9)
  assert 'up to about 112 would fit' in text(small, 'v5e')


@pytest.mark.parametrize(
  ('word', 'name', 'said'),
  [
    ('imagenet100:size=64', 'condense', True),
    ('imagenet100:size=64', 'evaluate', False),
    ('imagenet100:size=64:window=50', 'condense', False),
    ('cifar10', 'condense', False),
  ],
)
def test_a_window_is_advised_where_real_images_take_the_memory(
  word, name, said
):
  built = _built('dm', _targets.target('cpu'))
  built.config.data = word
  spec = specs.parse('data', word)
  blank = data.blank(spec.pop('name'), **spec)
  program = next(p for p in _programs.programs(built) if p.name == 'condense')
  chip = _targets.CHIPS['v5e']._replace(memory=2**30)
  advice = _fitting.advice(
    built._replace(dataset=blank), program._replace(name=name), chip
  )
  window = f'fewer real images at a time (--config.data={word}:window=256)'
  assert (window in advice) == said


def test_known_sets_have_their_sizes_and_take_no_memory():
  found = data.blank('tfds:imagenet2012')
  assert found.num_classes == 1000 and found.image_shape == (224, 224, 3)
  assert found.images.base.nbytes == 1
  assert data.blank('imagenet10', size=64, window=50).images.shape == (
    (500, 64, 64, 3)
  )
  assert data.blank('photos') is None


def test_a_compiled_program_is_counted_with_loops_multiplied_out():
  turns = '"known_trip_count":{"n":"5"}'
  window = 'window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f'
  product = 'lhs_contracting_dims={1}, c={"estimated_cycles":"11"}'
  text = f"""
%sum (a: f32[], b: f32[]) -> f32[] {{
  ROOT %add = f32[] add(%a, %b)
}}
%fused (p0: f32[2,6,6,8], p1: f32[3,3,8,4]) -> f32[2,6,6,4] {{
  %p0 = f32[2,6,6,8]{{3,2,1,0}} parameter(0)
  %p1 = f32[3,3,8,4]{{3,2,1,0}} parameter(1)
  ROOT %k = f32[2,6,6,4]{{3,2,1,0}} convolution(%p0, %p1), {window}
}}
%inner (p: (s32[], f32[8,8])) -> (s32[], f32[8,8]) {{
  %x = f32[8,8]{{1,0}} get-tuple-element(%p), index=1
  %m = f32[8,8]{{1,0}} dot(%x, %x), {product}
}}
%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {{
  %r = (f32[8]{{0}}, u8[4,2]{{1,0}}) all-reduce(%x, %y), channel_id=3
  %r2 = (f32[8]{{0}}, u8[4,2]{{1,0}}) all-reduce(%x, %y), channel_id=3
  %f = f32[2,6,6,4]{{3,2,1,0}} fusion(%a, %b), kind=kOutput, calls=%fused
  %c = f32[2,6,6,4]{{0,2,1,3}} copy(%f)
  %v = (s32[], f32[8,8]) while(%u), condition=%short, body=%inner
}}
%short (p: (s32[], f32[8])) -> pred[] {{
  %four = s32[]{{:T(128)}} constant(4)
  %i = s32[] get-tuple-element(%p), index=0
  ROOT %lt = pred[] compare(%i, %four), direction=LT
}}
%cond (p: (s32[], f32[8])) -> pred[] {{
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}}
ENTRY %main (a: f32[8]) -> f32[8] {{
  %w = (s32[], f32[8]) while(%t), condition=%cond, body=%body, c={{{turns}}}
  %g = bf16[16]{{0}} all-gather-start(%a), dimensions={{0}}
  %d = bf16[16]{{0}} all-gather-done(%g), c={{"estimated_cycles":"{2**64 - 1}"}}
}}
"""
  found = _compiled.emitted(text)
  assert [(s.kind, s.bytes, s.times) for s in found.spoken] == [
    ('all-reduce', 40, 5),
    ('all-gather', 32, 1),
  ]
  # A side of 6 has 16 places of the kernel that meet a pixel, twice.
  convolved = 2 * 2 * 8 * 4 * 16 * 16
  assert found.flops == 5 * convolved + 20 * 2 * 8**3
  assert found.cycles == 20 * 11
  assert (found.kernels, found.copies) == (5 * 4 + 20 + 1, 5)
  assert (found.convolutions, found.grouped) == (1, 0)


def test_gradients_of_grouped_convolutions_are_counted():
  def convolved(images, kernel):
    return jax.lax.conv_general_dilated(
      images,
      kernel,
      (2, 2),
      'VALID',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      feature_group_count=4,
    ).sum()

  images, kernel = jnp.ones((3, 9, 9, 8)), jnp.ones((3, 3, 2, 16))
  gradient = jax.jit(jax.grad(convolved))
  text = gradient.lower(images, kernel).compile().as_text()
  found = _compiled.emitted(text)
  # Each of 4 x 4 results of 16 channels takes 9 pixels of 2 channels.
  assert found.flops == 2 * 3 * 4 * 4 * 16 * 9 * 2
  assert found.grouped == 1


@pytest.mark.slow
@pytest.mark.parametrize('name', _FAMILIES)
@pytest.mark.parametrize('word', ['v5e:2x2', 'v5p:2x2x1', 'h100'])
def test_small_runs_compile_for_machines_that_are_not_here(name, word):
  if not _targets.target(word).devices:
    pytest.skip(f'the compiler for {word} is not installed')
  page = runs.plan(f'{name}:{_TINY}', word)
  assert 'does not compile' not in page and page.count(': fits') >= 2


@pytest.mark.slow
def test_scaling_by_one_factor_compiles_for_a_gpu_with_default_flags():
  found = _targets.target('h100')
  if not found.devices:
    pytest.skip('the compiler for GPUs is not installed')
  place = jax.sharding.SingleDeviceSharding(found.devices[0])
  images = jax.ShapeDtypeStruct((64, 32, 32, 3), 'float32', sharding=place)
  factor = jax.ShapeDtypeStruct((), 'float32', sharding=place)

  def energy(images, factor):
    return (augment.scale(images, factor, factor) ** 2).sum()

  with traced_for('cuda'):
    made = jax.jit(jax.grad(energy)).trace(images, factor).lower().compile()
  assert made.memory_analysis().temp_size_in_bytes > 0
