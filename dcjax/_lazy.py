"""Names of a package that are imported when they are first asked for."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def attributes(
  package: str, public: Sequence[str], origins: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
  """Makes the `__getattr__` and `__dir__` of a package (PEP 562).

  Args:
    package: its name.
    public: its `__all__`.
    origins: public name -> the module below the package that it is from; all
      others are modules themselves, as are some that are not public.
  """
  known = sys.modules[package].__dict__

  def get(name: str) -> Any:
    path = f'{package}.{origins.get(name, name)}'
    try:
      found = None if name[:1] == '_' else importlib.import_module(path)
    except ModuleNotFoundError as error:
      if error.name != path:
        raise
      found = None
    if found is None:
      raise AttributeError(f'module {package!r} has no attribute {name!r}')
    if name in origins:
      found = getattr(found, name)
    known[name] = found
    return found

  return get, lambda: sorted({*known, *public})
