"""Processes meet on the coordinator's address, or say why not."""

import concurrent.futures
import os
import re
import socket
import subprocess
import sys
import threading

import pytest
from runner import free_port

from dcjax import sharding
from dcjax.sharding import _meeting


def _meet(place, count, numbers, seconds=20.0, heard=None):
  """Lets processes meet in threads; returns what each got or raised."""

  def one(number):
    said = [] if heard is None else heard
    try:
      return _meeting.meet(place, count, number, seconds, said.append)
    except ValueError as error:
      return error

  with concurrent.futures.ThreadPoolExecutor(len(numbers)) as pool:
    return list(pool.map(one, numbers))


@pytest.mark.parametrize(
  ('host', 'address'),
  [('127.0.0.1', '127.0.0.1'), ('localhost', '127.0.0.1'), ('[::1]', '[::1]')],
)
def test_processes_meet_in_any_order(host, address):
  if host == '[::1]' and not socket.has_ipv6:
    pytest.skip('there is no IPv6')
  port = free_port()
  found = _meet(f'{host}:{port}', 3, [2, 0, 1])
  assert found == [None, f'{address}:{port}', None]


@pytest.mark.parametrize(
  'place',
  [
    'localhost',
    'localhost:',
    ':1234',
    '127.0.0.1:x',
    '127.0.0.1:0',
    '127.0.0.1:99999',
    '127.0.0.1:12 34',
    'http://127.0.0.1:80',
    '::1:80',
    '[::1]',
    '',
  ],
)
@pytest.mark.parametrize('index', [0, 1])
def test_what_is_no_address_is_refused_at_once(place, index):
  with pytest.raises(ValueError, match='must be HOST:PORT'):
    sharding.start_processes(place, 2, index)


@pytest.mark.parametrize('index', [0, 1])
def test_an_unknown_host_is_refused_at_once(index):
  with pytest.raises(ValueError, match=r"host 'no\.such\.host\.invalid'"):
    sharding.start_processes('no.such.host.invalid:1234', 2, index)


def test_a_port_in_use_and_an_address_of_another_machine_are_said():
  with socket.create_server(('127.0.0.1', 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(ValueError, match=r'cannot listen there.*in use'):
      sharding.start_processes(f'127.0.0.1:{port}', 2, 0)
  with pytest.raises(ValueError, match='name an address of its machine'):
    sharding.start_processes(f'192.0.2.1:{port}', 2, 0)


@pytest.mark.parametrize('count', [-1, 0, 10**9])
def test_numbers_of_processes_that_cannot_be_are_refused(count):
  with pytest.raises(ValueError, match=rf'processes {count}: must be in 1\.\.'):
    sharding.start_processes('127.0.0.1:1', count, 0)


def test_processes_that_do_not_come_are_named():
  (error,) = _meet(f'127.0.0.1:{free_port()}', 4, [0], 0.2)
  assert 'process 1, 2, 3 of 4 did not come to 127.0.0.1:' in str(error)
  (error,) = _meet(f'127.0.0.1:{free_port()}', 4, [2], 0.2)
  assert 'process 0 of 4 did not come' in str(error)


def test_waiting_says_whom_for(monkeypatch):
  monkeypatch.setattr(_meeting, '_SAY_AFTER', 0.1)
  for numbers, said in (([0, 1], 'process 2 of 3'), ([1], 'process 0 of 3')):
    heard = []
    _meet(f'127.0.0.1:{free_port()}', 3, numbers, 1.5, heard)
    assert any(said in text for text in heard)


def test_other_counts_and_numbers_twice_end_all():
  port = free_port()
  place = f'127.0.0.1:{port}'
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    first = pool.submit(_meet, place, 2, [0])
    (second,) = _meet(place, 3, [1])
  (first,) = first.result()
  for error in (first, second):
    assert 'process 1 was started with 3 processes, 0 with 2' in str(error)
    assert '\n' not in str(error)
  found = _meet(f'127.0.0.1:{free_port()}', 3, [0, 1, 1])
  assert all(isinstance(error, ValueError) for error in found)
  assert 'process 1 of 3 is there twice' in str(found[0])


def test_strangers_at_the_port_are_sent_away():
  port = free_port()
  place = f'127.0.0.1:{port}'
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    first = pool.submit(_meet, place, 2, [0])
    for content in (b'GET / HTTP/1.1\r\n\r\n', b'\xff' * 4096, b''):
      stranger = None
      while stranger is None:
        try:
          stranger = socket.create_connection(('127.0.0.1', port), 2)
        except ConnectionRefusedError:
          continue
      with stranger:
        stranger.sendall(content)
    assert _meet(place, 2, [1]) == [None]
    assert first.result() == [place]


def test_what_answers_otherwise_is_no_process_0():
  with socket.create_server(('127.0.0.1', 0)) as other:

    def answer():
      connection, _ = other.accept()
      with connection:
        connection.recv(100)
        connection.sendall(b'HTTP/1.1 400 Bad Request\r\n')

    threading.Thread(target=answer, daemon=True).start()
    (error,) = _meet(f'127.0.0.1:{other.getsockname()[1]}', 2, [1])
  assert 'is no process 0 of 2' in str(error)


_PROGRAM = """
import sys
from dcjax import sharding
place, index = sys.argv[1], int(sys.argv[2])
sharding.start_processes(place, 2, index)
if index == 0:
  listening = [line.split() for kind in ('tcp', 'tcp6')
               for line in open(f'/proc/net/{kind}')]
  port = f':{int(place.split(":")[1]):04X}'
  here = [l for l in listening if l[1].endswith(port) and l[3] == '0A']
  print('said', *(l[1] for l in here))
sharding.agree_on('same', 'settings')
try:
  sharding.agree_on(str(index), 'data')
except ValueError as error:
  print('said', error)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc/net')
def test_processes_agree_or_all_end_and_only_the_given_address_listens():
  place = f'127.0.0.1:{free_port()}'
  running = [
    subprocess.Popen(
      [sys.executable, '-c', _PROGRAM, place, str(index)],
      env={**os.environ, 'JAX_NUM_CPU_DEVICES': '1'},
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for index in range(2)
  ]
  # Beside what other libraries print.
  said = [
    [line[5:] for line in text.splitlines() if line.startswith('said ')]
    for text in [process.communicate(timeout=300)[0] for process in running]
  ]
  address = said[0].pop(0)
  # 127.0.0.1 in the kernel's spelling, perhaps as an address of IPv6.
  assert re.fullmatch(r'(0{16}FFFF0000)?0100007F:[0-9A-F]{4}', address)
  for (text,) in said:
    assert 'data: process 1 of 2 has other than process 0' in text
