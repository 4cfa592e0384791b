"""Checks that the factories of the network zoo share."""

from collections.abc import Sequence

from dcjax.networks._conv import resolve_form
from dcjax.networks._layers import NORMS
from dcjax.utils import check_at_least, check_choice


def check_options(
  norm: str, widths: tuple[int, ...], conv_form: str = 'auto'
) -> None:
  """Checks the options that every convolutional network has.

  Args:
    norm: a norm of `make_norm`.
    widths: channels of every normalised layer.
    conv_form: a form of `convolve`.

  Raises:
    ValueError: if a name is unknown, a width below 1, or a width no multiple
      of 4 where group norm makes 4 groups.
  """
  resolve_form(conv_form)
  check_choice('norm', norm, NORMS)
  check_at_least('width', min(widths), 1)
  odd = [width for width in widths if width % 4]
  if norm == 'group' and odd:
    raise ValueError(f'width {odd[0]}: group norm needs a multiple of 4')


def layer_widths(
  width: int | Sequence[int], multiples: Sequence[int]
) -> tuple[int, ...]:
  """Returns the channels of every layer.

  Args:
    width: channels in multiples of this, or those of each layer, as in a
      network that was slimmed.
    multiples: of each layer.

  Raises:
    ValueError: if there are not as many widths as layers.
  """
  if not isinstance(width, Sequence):
    return tuple(multiple * width for multiple in multiples)
  if len(width) != len(multiples):
    raise ValueError(
      f'width {tuple(width)}: must be a number, or one for each of the '
      f'{len(multiples)} convolutions'
    )
  return tuple(width)


def check_last_size(
  name: str, image_shape: tuple[int, int, int], last: int, norm: str = 'none'
) -> None:
  """Checks that an image survives the poolings of a network.

  Args:
    name: the network, for the message.
    image_shape: `(H, W, D)`.
    last: rows (or columns, the fewer) of the last normalised feature map.
    norm: instance norm turns single pixels into constants, so it needs two.

  Raises:
    ValueError: if the images are too small.
  """
  least = 2 if norm == 'instance' else 1
  if last >= least:
    return
  h, w, _ = image_shape
  raise ValueError(
    f'image_shape {h}x{w}: too small for {name}, whose last feature map would '
    f'be {max(last, 0)} wide; norm {norm!r} needs at least {least}'
  )


def check_rate(field: str, rate: float) -> None:
  """Raises a ValueError unless `rate` is a drop probability, in [0, 1)."""
  if not 0 <= rate < 1:
    raise ValueError(f'{field} {rate!r}: must be in [0, 1)')


def resolve_size_form(form: str, image_shape: tuple[int, int, int]) -> str:
  """Returns the form of a network that is meant for images of a size.

  Args:
    form: `'cifar'`, `'imagenet'`, or `'auto'`: `'cifar'` up to 64 pixels.
    image_shape: `(H, W, D)`.

  Raises:
    ValueError: if the form is unknown.
  """
  check_choice('form', form, ('auto', 'cifar', 'imagenet'))
  if form != 'auto':
    return form
  return 'cifar' if max(image_shape[:2]) <= 64 else 'imagenet'
