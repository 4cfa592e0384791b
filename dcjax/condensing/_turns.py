"""The gradient of a step, under the network whose turn it is."""

import functools

import jax

from dcjax.base import InTurns, Network, StatefulObjective
from dcjax.condensing._picking import Stored, decoded
from dcjax.matching import (
  match_and_gradient,
  match_and_remember,
  match_by_class,
)


def comparison(objective, augment, classes, formation):
  """The metrics and the gradient under a network, and what is remembered."""
  of_class = functools.partial(decoded, formation)

  def compare(network, variables, target, synthetic, key, memory):
    args = network, variables, target, synthetic, key
    if isinstance(objective, StatefulObjective):
      return match_and_remember(
        *args, memory, objective=objective, augment=augment
      )
    if isinstance(synthetic, Stored):
      found = match_by_class(
        *args,
        decode=of_class,
        objective=objective,
        augment=augment,
        classes=classes,
      )
      return *found, memory
    found = match_and_gradient(
      *args, objective=objective, augment=augment, classes=classes
    )
    return *found, memory

  return compare


def in_turns(network, compare):
  """Compares under the network whose turn it is."""
  if network is None or isinstance(network, Network):
    return lambda turn, *args: compare(network, *args)
  networks = tuple(network)
  if not networks:
    raise ValueError('network (): must be at least one network')

  def under(k, variables, target, synthetic, key, memory):
    own = (_of_turn(tree, k) for tree in (variables, target))
    *found, remembered = compare(
      networks[k], *own, synthetic, key, _of_turn(memory, k)
    )
    return *found, _after_turn(memory, k, remembered)

  # The switch is around the gradient: with the gradient around the switch,
  # every step would hold what the gradients of all branches need.
  branches = [functools.partial(under, k) for k in range(len(networks))]
  return lambda turn, *args: jax.lax.switch(
    turn % len(networks), branches, *args
  )


def _is_in_turns(node):
  return isinstance(node, InTurns)


def _of_turn(tree, k):
  return jax.tree.map(
    lambda node: node.each[k] if _is_in_turns(node) else node,
    tree,
    is_leaf=_is_in_turns,
  )


def _after_turn(tree, k, own):
  def put(node, new):
    if not _is_in_turns(node):
      return new
    return InTurns((*node.each[:k], new, *node.each[k + 1 :]))

  return jax.tree.map(put, tree, own, is_leaf=_is_in_turns)
