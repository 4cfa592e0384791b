"""Chromium without a window, driven over a pipe: pages as people see them."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

PROGRAM = next(
  filter(None, map(shutil.which, ('chromium', 'chromium-browser'))), None
)
_FLAGS = (
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--hide-scrollbars',
  '--remote-debugging-pipe',
)
_PATIENCE = 120  # seconds for an answer


class Page(NamedTuple):
  """An open page: `ask(method, **options)`, and what was complained of."""

  ask: Any
  complaints: list[str]

  def evaluate(self, script: str) -> Any:
    """The value of a JavaScript expression."""
    found = self.ask(
      'Runtime.evaluate',
      expression=script,
      returnByValue=True,
      awaitPromise=True,
    )
    assert 'exceptionDetails' not in found, found['exceptionDetails']
    return found['result'].get('value')

  def look(self, width: int, dark: bool) -> None:
    """How wide the window is, and which colours are wanted."""
    self.ask(
      'Emulation.setDeviceMetricsOverride',
      width=width,
      height=900,
      deviceScaleFactor=1,
      mobile=False,
    )
    scheme = {'name': 'prefers-color-scheme', 'value': 'light'}
    if dark:
      scheme['value'] = 'dark'
    self.ask('Emulation.setEmulatedMedia', features=[scheme])

  def show(self, address: str) -> None:
    """Opens an address and waits until it is loaded."""
    self.ask('Page.navigate', url=address)
    until = time.monotonic() + _PATIENCE
    # An empty page is loaded, too, before the wanted one comes.
    while not self.evaluate(
      "document.readyState === 'complete' && location.href !== 'about:blank'"
    ):
      assert time.monotonic() < until, f'{address} does not load'
      time.sleep(0.02)


@contextlib.contextmanager
def page(folder: Any) -> Iterator[Page]:
  """A page of a browser that is started with an empty profile in a folder."""
  to_read, to_write = os.pipe()
  from_read, from_write = os.pipe()

  # The browser reads from 3 and writes to 4. A shell hands them over: a hook of
  # this process would fork it, of which JAX warns.
  process = subprocess.Popen(
    [
      *('bash', '-c', f'exec "$@" 3<&{to_read} 4>&{from_write}', 'bash'),
      *(PROGRAM, *_FLAGS, f'--user-data-dir={folder}'),
    ],
    pass_fds=(to_read, from_write),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  os.close(to_read)
  os.close(from_write)
  complaints: list[str] = []
  try:
    with (
      open(to_write, 'wb', buffering=0) as out,
      open(from_read, 'rb') as answers,
    ):
      yield _attached(out, answers, complaints)
  finally:
    process.kill()
    process.wait()


def _attached(out, answers, complaints):
  numbers = iter(range(1, 10**9))

  def read():
    text = bytearray()
    while (byte := answers.read(1)) != b'\0':
      assert byte, 'the browser has ended'
      text += byte
    return json.loads(text)

  def ask(method, session=None, **options):
    number = next(numbers)
    message = {'id': number, 'method': method, 'params': options}
    if session is not None:
      message['sessionId'] = session
    out.write(json.dumps(message).encode() + b'\0')
    while True:
      found = read()
      complaint = _complaint(found)
      if complaint:
        complaints.append(complaint)
      if found.get('id') == number:
        assert 'error' not in found, found
        return found['result']

  target = ask('Target.createTarget', url='about:blank')['targetId']
  session = ask('Target.attachToTarget', targetId=target, flatten=True)
  name = session['sessionId']
  for domain in ('Runtime', 'Log', 'Page'):
    ask(f'{domain}.enable', session=name)
  return Page(
    lambda method, **options: ask(method, session=name, **options), complaints
  )


def _complaint(found):
  """What the console would show of an event."""
  told = found.get('params', {})
  if found.get('method') == 'Runtime.exceptionThrown':
    return json.dumps(told['exceptionDetails'])
  if found.get('method') == 'Log.entryAdded':
    return told['entry'].get('text')
  if found.get('method') == 'Runtime.consoleAPICalled':
    return json.dumps(told.get('args'))
  return None
