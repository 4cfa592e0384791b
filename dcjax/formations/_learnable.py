"""Multi-formation with a learned upsampler in place of the bilinear one."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dcjax import base, resizing
from dcjax.formations import _grids, _patches
from dcjax.networks import convolve
from dcjax.networks._layers import Conv

_KERNEL = 9  # of the deconvolution, each way
_he = nn.initializers.he_normal()


class FSRCNN(nn.Module):
  """Fast super-resolution network (Dong et al., ECCV 2016), made small.

  Five steps: 5 x 5 feature extraction, 1 x 1 shrinking, 3 x 3 mapping layers,
  1 x 1 expanding, and a 9 x 9 deconvolution of stride `factor`. A PReLU follows
  every convolution. The deconvolution starts at zero, so the output does too.

  Attributes:
    factor: upsampling factor.
    features: channels after feature extraction and expanding (d in the paper).
    shrink: channels of the mapping layers (s in the paper).
    mappings: number of mapping layers (m in the paper).
  """

  factor: int
  features: int = 16
  shrink: int = 8
  mappings: int = 1

  @nn.compact
  def __call__(self, images: base.Array) -> base.Array:
    """Maps `[B, h, w, D]` to `[B, factor * h, factor * w, D]`."""
    widths = (self.shrink,) * (1 + self.mappings)
    kernels = (1,) + (3,) * self.mappings
    x = images
    for width, kernel in zip(
      (self.features, *widths, self.features), (5, *kernels, 1), strict=True
    ):
      x = Conv(width, kernel, padding=kernel // 2, kernel_init=_he)(x)
      x = nn.PReLU(negative_slope_init=0.25)(x)
    return Deconvolution(images.shape[-1], self.factor)(x)


class Deconvolution(nn.Module):
  """A transposed 9 x 9 convolution, `flax.linen.ConvTranspose` of zeros.

  Every `factor`-th pixel of its output is an ordinary convolution of the input
  with every `factor`-th row and column of the kernel. All these are computed as
  one, which takes a CPU a third of the time.

  Attributes:
    features: channels of the output.
    factor: its stride.
  """

  features: int
  factor: int

  @nn.compact
  def __call__(self, x: base.Array) -> base.Array:
    """Maps `[B, h, w, D]` to `[B, factor * h, factor * w, features]`."""
    shape = (_KERNEL, _KERNEL, x.shape[-1], self.features)
    kernel = self.param('kernel', nn.initializers.zeros, shape)
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    taps = _taps(self.factor)
    # Row _KERNEL, which taps beside the kernel name, is zero.
    padded = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    phases = padded[taps[:, None, :, None], taps[None, :, None, :]]
    small, factor = len(taps), self.factor  # [small, small, f, f, in, out]
    weights = phases.transpose(0, 1, 4, 2, 3, 5).reshape(
      small, small, x.shape[-1], factor * factor * self.features
    )
    y = convolve(x, weights, padding=small // 2)
    batch, height, width, _ = y.shape
    y = y.reshape(batch, height, width, factor, factor, self.features)
    y = y.transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(batch, height * factor, width * factor, -1) + bias


def _taps(factor: int) -> np.ndarray:
  """Which tap of the kernel moves a pixel by `m` to phase `p`: `[2M+1, p]`.

  Output pixel `factor i + p` sees input pixel `i + m` by tap `factor m + before
  - p`, where `before` is the padding of JAX's transposed convolution.
  """
  before = _KERNEL - 1
  if factor < _KERNEL:
    before = -(-(_KERNEL + factor - 2) // 2)
  reach = -(-_KERNEL // factor)
  moves, phases = np.arange(-reach, reach + 1), np.arange(factor)
  taps = factor * moves[:, None] + before - phases
  inside = (taps >= 0) & (taps < _KERNEL)
  most = np.abs(moves[inside.any(1)]).max()
  return np.where(inside, taps, _KERNEL)[reach - most : reach + most + 1]


def learnable(
  factor: int,
  *,
  features: int = 16,
  shrink: int = 8,
  mappings: int = 1,
  value_range: Sequence[float | None] = _grids.UNIT_RANGE,
  padding: float = 0.5,
) -> base.Formation:
  """Cuts like `uniform`, upsamples by a small FSRCNN (IDC, appendix D).

  The paper states that an FSRCNN with fewer parameters replaces the upsampling
  and leaves the rest open. Chosen here:

  * one network serves all images and classes and is trained with them;
  * 16 features, 8 shrunken ones, one mapping layer (FSRCNN: 56, 12, 4): about
    6,000 numbers for RGB, as many as two stored 32 x 32 images;
  * it works on all D channels (FSRCNN: luminance), with one PReLU slope a layer
    that starts at 1/4, He-normal kernels and zero padding at the crop's border;
  * it adds to the bilinear upsampling, and its last layer starts at zero: the
    first decode equals `uniform`;
  * if factor does not divide the image, the network's output, `factor *
    ceil(size / factor)` pixels, is resized bilinearly to `size`, so that it
    stays aligned with the bilinear part;
  * decoded images are not clipped, and `project` leaves the network alone;
  * runs step the network by Adam at 5e-4 where they step images by SGD: its
    gradients are sums over all pixels, and it diverges at the images' rate
    (`optimizers.by_name(rest=..., decoder=...)`).

  Args:
    factor: multi-formation factor, >= 1 and at most H and W.
    features: channels of feature extraction, >= 1.
    shrink: channels of the mapping layers, >= 1.
    mappings: number of mapping layers, >= 1.
    value_range: (low, high) that `project` clips stored images to; None leaves
      a side open.
    padding: value of padded pixels, see `uniform`.

  Returns:
    A formation with `factor**2` tiles and params `{'images': [C, N, H, W, D],
    'decoder': the network's pytree}`; decoded order as in `uniform`.

  Raises:
    ValueError: as `uniform`.
  """
  spec = {
    'name': 'learnable',
    'factor': factor,
    'features': features,
    'shrink': shrink,
    'mappings': mappings,
  }
  spec = _patches.complete_spec(spec, value_range, padding)
  network = FSRCNN(
    factor=spec['factor'],
    features=spec['features'],
    shrink=spec['shrink'],
    mappings=spec['mappings'],
  )
  return _formation(spec, network)


def _formation(spec: dict[str, Any], network: FSRCNN) -> base.Formation:
  factor = network.factor

  def init(key: base.Key, images: base.Array) -> base.Params:
    images = _patches.check_stored(images, spec)
    # Any size does: no parameter depends on it.
    probe = jnp.zeros((1, 9, 9, images.shape[-1]), images.dtype)
    variables = jax.jit(network.init)(key, probe)
    return {'images': images, 'decoder': variables['params']}

  def decode(params: base.Params) -> base.Batch:
    stored = _patches.check_stored(params['images'], spec)
    size = stored.shape[2:4]
    crops = _patches.crop(stored, factor, factor, spec['padding'])
    flat = crops.reshape(-1, *crops.shape[2:])
    decoder = cast(Mapping[str, Any], params['decoder'])
    detail = network.apply({'params': decoder}, flat)
    images = resizing.bilinear(flat, size) + resizing.bilinear(detail, size)
    return _patches.label(images.reshape(*crops.shape[:2], *images.shape[1:]))

  return base.Formation(
    spec=spec,
    tiles=factor**2,
    pack=lambda images: _patches.pack(images, factor, factor),
    init=init,
    decode=decode,
    project=lambda params: _patches.project(params, spec['value_range']),
  )
