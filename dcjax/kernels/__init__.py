"""Kernels of infinitely wide and of finite networks, and their regression.

  kernel = kernels.fully_connected(depth=1)
  support = artefact.jax(label_form='centred')
  kernels.accuracy(kernel, support, test_images, test_labels, scale=255,
                   label_form='centred')

Everything calculates in the floating type of its images. For float64, as KIP's
published runs, give float64 images inside `jax.enable_x64(True)`; the rest of
the program stays as it is.
"""

from dcjax.kernels._arc_cosine import arc_cosine_0, arc_cosine_1
from dcjax.kernels._networks import (
  FORMS,
  build,
  convolutional,
  fully_connected,
)
from dcjax.kernels._regression import (
  LABEL_FORMS,
  accuracy,
  centred,
  predict,
  regression_weights,
)
from dcjax.kernels._types import Kernel, inner_products, of_features

__all__ = [
  'FORMS',
  'LABEL_FORMS',
  'Kernel',
  'accuracy',
  'arc_cosine_0',
  'arc_cosine_1',
  'build',
  'centred',
  'convolutional',
  'fully_connected',
  'inner_products',
  'of_features',
  'predict',
  'regression_weights',
]
