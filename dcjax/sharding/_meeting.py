"""Processes meet before JAX starts, and say what keeps them from it.

JAX waits in silence and ends with a dump where a port is taken or a process
missing. So process 0 first listens where JAX will, and only there; the others
tell it their number and the count that they were started with, and all go on at
once. Nothing but these two numbers is read from the port.
"""

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator

_GREETING = re.compile(rb'dcjax 1 (\d{1,6}) (\d{1,6})\n')
_LONGEST = 512
_ANSWER_SECONDS = 10.0
_SAY_AFTER = 3.0
_SAY_EVERY = 30.0
_RETRY = 0.2

Say = Callable[[str], None]


def say_to_stderr(text: str) -> None:
  """Says something at once, beside the output of a program."""
  print(text, file=sys.stderr, flush=True)


def parse(coordinator: str) -> tuple[str, int]:
  """Returns host and port of `HOST:PORT`.

  Raises:
    ValueError: it is something else, or the port is not in 1..65535.
  """
  found = re.fullmatch(
    r'(\[[0-9a-fA-F:.]+\]|[^:\s\[\]/]+):(\d{1,5})', coordinator
  )
  if not found or not 0 < int(found[2]) < 2**16:
    raise ValueError(
      f'coordinator {coordinator!r}: must be HOST:PORT with a port of '
      '1..65535, as --coordinator=10.0.0.1:1234'
    )
  return found[1].strip('[]'), int(found[2])


def meet(
  coordinator: str, count: int, index: int, seconds: float, say: Say
) -> str | None:
  """Waits until all processes are here.

  Args:
    coordinator: `HOST:PORT` of process 0.
    count: of processes.
    index: of this one.
    seconds: that are waited for the others.
    say: told whom this process waits for.

  Returns:
    Where process 0 must listen, `IP:PORT`; None in the others.

  Raises:
    ValueError: the address is no such, not this machine's, taken, or answers
      otherwise; a process does not come, comes twice or with another count.
  """
  host, port = parse(coordinator)
  deadline = time.monotonic() + seconds
  if index:
    _join(coordinator, host, port, count, index, deadline, say)
    return None
  with _listening(coordinator, host, port) as (server, address):
    _gather(coordinator, server, count, deadline, say)
  return address


@contextlib.contextmanager
def _listening(
  coordinator: str, host: str, port: int
) -> Iterator[tuple[socket.socket, str]]:
  """Yields a socket that listens on the host's address, and that address."""
  reasons = []
  for family, ip in _addresses(coordinator, host, port):
    server = socket.socket(family, socket.SOCK_STREAM)
    with server:
      server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      try:
        server.bind((ip, port))
        server.listen(128)
      except OSError as error:
        reasons.append(f'{ip}: {os.strerror(error.errno or 0)}')
        continue
      shown = f'[{ip}]' if family == socket.AF_INET6 else ip
      yield server, f'{shown}:{port}'
      return
  raise ValueError(
    f'coordinator {coordinator!r}: process 0 cannot listen there '
    f'({"; ".join(reasons)}); --coordinator=HOST:PORT must name an address of '
    'its machine and a free port'
  )


def _addresses(
  coordinator: str, host: str, port: int
) -> list[tuple[socket.AddressFamily, str]]:
  """Returns what a host's name stands for, IPv4 first."""
  try:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
  except (OSError, UnicodeError) as error:
    raise ValueError(
      f'coordinator {coordinator!r}: the host {host!r} is not known'
    ) from error
  unique = dict.fromkeys((f, str(place[0])) for f, _, _, _, place in found)
  return sorted(unique, key=lambda pair: pair[0] != socket.AF_INET)


def _gather(
  coordinator: str,
  server: socket.socket,
  count: int,
  deadline: float,
  say: Say,
) -> None:
  """Waits in process 0 for all others, and lets them go."""
  here: dict[int, socket.socket] = {}
  try:
    said = time.monotonic() + _SAY_AFTER - _SAY_EVERY
    while len(here) < count - 1:
      missing = [i for i in range(1, count) if i not in here]
      now = time.monotonic()
      if now > deadline:
        raise ValueError(
          f'process {_several(missing)} of {count} did not come to '
          f'{coordinator}'
        )
      if now > said + _SAY_EVERY:
        say(
          f'waiting for process {_several(missing)} of {count} at {coordinator}'
        )
        said = now
      server.settimeout(0.5)
      with contextlib.suppress(TimeoutError):
        _receive(server.accept()[0], here, count)
  except ValueError as error:
    _tell(here, f'no {error}')
    raise
  else:
    _tell(here, 'go')
  finally:
    for connection in here.values():
      connection.close()


def _receive(
  connection: socket.socket, here: dict[int, socket.socket], count: int
) -> None:
  """Takes one process in; what is none is sent away."""
  connection.settimeout(2.0)
  try:
    found = _GREETING.fullmatch(_line(connection))
  except OSError:
    found = None
  if found is None:
    connection.close()
    return
  theirs, index = int(found[1]), int(found[2])
  reason = None
  if theirs != count:
    reason = (
      f'process {index} was started with {theirs} processes, 0 with {count}'
    )
  elif not 0 < index < count or index in here:
    reason = f'process {index} of {count} is there twice'
  if reason:
    with contextlib.suppress(OSError), connection:
      connection.sendall(f'no {reason}\n'.encode())
    raise ValueError(
      f'{reason}; give all the same --processes, and each its own --process'
    )
  connection.sendall(b'hi\n')
  here[index] = connection


def _join(
  coordinator: str,
  host: str,
  port: int,
  count: int,
  index: int,
  deadline: float,
  say: Say,
) -> None:
  """Tells process 0 that this one is here, and waits until all are."""
  with _connected(coordinator, host, port, count, deadline, say) as connection:
    answer = b''
    try:
      connection.settimeout(_ANSWER_SECONDS)
      connection.sendall(f'dcjax 1 {count} {index}\n'.encode())
      answer = _line(connection)
      if answer == b'hi\n':
        connection.settimeout(max(1.0, deadline + 5 - time.monotonic()))
        answer = _line(connection)
    except OSError:
      answer = b''
  if answer == b'go\n':
    return
  said = answer.decode('ascii', 'replace').strip()
  if said.startswith('no '):
    raise ValueError(f'process 0 at {coordinator} ends: {said[3:]}')
  raise ValueError(
    f'coordinator {coordinator!r}: what answers there is no process 0 of '
    f'{count} that still waits; start all processes with one --coordinator'
  )


@contextlib.contextmanager
def _connected(coordinator, host, port, count, deadline, say):
  """Yields a connection with process 0, which may start later."""
  _addresses(coordinator, host, port)
  began, told = time.monotonic(), False
  while True:
    try:
      connection = socket.create_connection((host, port), timeout=2.0)
      break
    except OSError as error:
      now = time.monotonic()
      if now > deadline:
        raise ValueError(
          f'process 0 of {count} did not come to {coordinator}'
        ) from error
      if not told and now > began + _SAY_AFTER:
        say(f'waiting for process 0 of {count} at {coordinator}')
        told = True
      time.sleep(_RETRY)
  with connection:
    yield connection


def _line(connection: socket.socket) -> bytes:
  """Returns a line of bounded length, with its end."""
  content = b''
  while not content.endswith(b'\n') and len(content) < _LONGEST:
    more = connection.recv(1)
    if not more:
      break
    content += more
  return content


def _tell(here: dict[int, socket.socket], text: str) -> None:
  line = f'{text[: _LONGEST - 2]}\n'.encode('ascii', 'replace')
  for connection in here.values():
    with contextlib.suppress(OSError):
      connection.sendall(line)


def _several(numbers: list[int]) -> str:
  shown = ', '.join(map(str, numbers[:5]))
  return f'{shown}, ...' if len(numbers) > 5 else shown
