"""Experts: networks trained on real images whose whole way is kept."""

from dcjax.trajectories._experts import (
  Experts,
  Flatness,
  expert_bytes,
  expert_logits,
  train_experts,
)
from dcjax.trajectories._segments import segments

__all__ = [
  'Experts',
  'Flatness',
  'expert_bytes',
  'expert_logits',
  'segments',
  'train_experts',
]
