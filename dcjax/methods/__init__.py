"""Condensation methods: recipes that fill the axes of `condenser`."""

from dcjax.methods._cafe import cafe, cafe_learning_rate
from dcjax.methods._dc import dc, dc_loops
from dcjax.methods._dm import dm
from dcjax.methods._idc import idc, learning_rate_multiplier
from dcjax.methods._label_distillation import label_distillation

__all__ = [
  'cafe',
  'cafe_learning_rate',
  'dc',
  'dc_loops',
  'dm',
  'idc',
  'label_distillation',
  'learning_rate_multiplier',
]
