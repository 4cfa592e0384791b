"""Published constants: normalisation, class names, lists of classes."""

from typing import NamedTuple


class Normalization(NamedTuple):
  """Per-channel statistics of images scaled to [0, 1].

  Attributes:
    mean: D numbers.
    std: D numbers.
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]


_CIFAR10 = Normalization((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_CIFAR100_MEAN = (0.5071, 0.4866, 0.4409)

# The numbers in use by published results, some of which are not the pixel
# statistics: CIFAR-10's std averages that of single images, and IDC treats
# CIFAR-100 with CIFAR-10's numbers. `cifar100_dc` is DC's and DSA's choice,
# `cifar100_continual` that of IDC's continual-learning experiment. `digits` (at
# 8x8) and `usps` are the pixel statistics of the training images.
NORMALIZATIONS: dict[str, Normalization] = {
  'cifar10': _CIFAR10,
  'cifar100': _CIFAR10,
  'cifar100_continual': Normalization(_CIFAR100_MEAN, (0.2009, 0.1984, 0.2023)),
  'cifar100_dc': Normalization(_CIFAR100_MEAN, (0.2673, 0.2564, 0.2762)),
  'digits': Normalization((0.3055,), (0.3761,)),
  'fashion_mnist': Normalization((0.2861,), (0.3530,)),
  'imagenet': Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
  'mnist': Normalization((0.1307,), (0.3081,)),
  'svhn': Normalization((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
  'usps': Normalization((0.2545,), (0.3846,)),
}

_DIGITS = tuple('0123456789')

_FASHION = (
  'T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot'
)

_CIFAR10_NAMES = 'airplane automobile bird cat deer dog frog horse ship truck'

_CIFAR100_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy
bridge bus butterfly camel can castle caterpillar cattle chair chimpanzee clock
cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange
orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
snail snake spider squirrel streetcar sunflower sweet_pepper table tank
telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""

# Class names in label order.
CLASS_NAMES: dict[str, tuple[str, ...]] = {
  'cifar10': tuple(_CIFAR10_NAMES.split()),
  'cifar100': tuple(_CIFAR100_FINE.split()),
  'digits': _DIGITS,
  'fashion_mnist': tuple(_FASHION.split(',')),
  'mnist': _DIGITS,
  'svhn': _DIGITS,
  'usps': _DIGITS,
}

_SPEECH_WORDS = 'yes no go stop left right up down'

# Mini Speech Commands in IDC's label order.
SPEECH_COMMANDS: tuple[str, ...] = tuple(_SPEECH_WORDS.split())

# WordNet ids in label order: a list of Tian et al. (2020), as IDC uses it.
_IMAGENET_100 = """
n02869837 n01749939 n02488291 n02107142 n13037406 n02091831 n04517823
n04589890 n03062245 n01773797 n01735189 n07831146 n07753275 n03085013
n04485082 n02105505 n01983481 n02788148 n03530642 n04435653 n02086910
n02859443 n13040303 n03594734 n02085620 n02099849 n01558993 n04493381
n02109047 n04111531 n02877765 n04429376 n02009229 n01978455 n02106550
n01820546 n01692333 n07714571 n02974003 n02114855 n03785016 n03764736
n03775546 n02087046 n07836838 n04099969 n04592741 n03891251 n02701002
n03379051 n02259212 n07715103 n03947888 n04026417 n02326432 n03637318
n01980166 n02113799 n02086240 n03903868 n02483362 n04127249 n02089973
n03017168 n02093428 n02804414 n02396427 n04418357 n02172182 n01729322
n02113978 n03787032 n02089867 n02119022 n03777754 n04238763 n02231487
n03032252 n02138441 n02104029 n03837869 n03494278 n04136333 n03794056
n03492542 n02018207 n04067472 n03930630 n03584829 n02123045 n04229816
n02100583 n03642806 n04336792 n03259280 n02116738 n02108089 n03424325
n01855672 n02090622
"""

IMAGENET_100: tuple[str, ...] = tuple(_IMAGENET_100.split())
IMAGENET_10: tuple[str, ...] = IMAGENET_100[:10]
