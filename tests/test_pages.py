"""Pages as a browser shows them: whole, quiet, and names stay text."""

import html
import pathlib
import shlex
import urllib.parse

import browser
import pages
import pytest
from absl import flags

from dcjax.runs import _looking, command, report, settings

_HERE = pytest.mark.skipif(
  browser.PROGRAM is None, reason='there is no chromium to look with'
)
# What is wider than the window, or cut off in a place that does not scroll.
_OVERFLOW = """(() => {
  const bad = [], wide = document.documentElement.scrollWidth;
  const say = (what, e) => bad.push(
    [what, e.tagName, e.className, e.textContent.slice(0, 40)].join(' '));
  if (wide > innerWidth) bad.push('the page is ' + wide);
  for (const e of document.querySelectorAll('body *')) {
    const svg = e.closest('svg'), box = e.getBoundingClientRect();
    if (svg) {
      const around = svg.getBoundingClientRect();
      if (e.tagName === 'text' && (box.left < around.left - 1
        || box.right > around.right + 1 || box.bottom > around.bottom + 1))
        say('outside', e);
      continue;
    }
    if (!box.width || e.parentElement.closest('.wide')) continue;
    if (box.right > innerWidth + 1 || box.left < -1) say('beyond', e);
    const style = getComputedStyle(e);
    if (e.clientWidth && e.scrollWidth > e.clientWidth + 1) {
      if (!e.matches('.wide')) say('cut', e);
      else if (style.backgroundImage === 'none') say('hidden', e);
    }
  }
  for (const image of document.images)
    if (!image.naturalWidth) say('broken', image);
  return bad;
})()"""
_FACTS = """(() => {
  const light = text => text.match(/[0-9.]+/g).slice(0, 3)
    .reduce((sum, v) => sum + Number(v) / 765, 0);
  const style = getComputedStyle(document.body);
  return {
    links: [...document.querySelectorAll('a')].map(a => a.href),
    scripts: document.scripts.length,
    broken: window.broken || 0,
    page: light(style.backgroundColor),
    text: light(style.color)};
})()"""


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  folder = tmp_path_factory.mktemp('pages')
  return pages.write_all(folder)


@pytest.fixture(scope='module')
def page(tmp_path_factory):
  """One browser for all."""
  with browser.page(tmp_path_factory.mktemp('profile')) as opened:
    yield opened


@_HERE
def test_pages_fit_and_are_quiet_on_every_screen(written, page):
  for path in written:
    page.show(path.as_uri())
    for width in (1280, 390):
      for dark in (False, True):
        place = (path.name, width, dark)
        page.look(width, dark)
        assert page.evaluate(_OVERFLOW) == [], place
        assert page.complaints == [], place
        facts = page.evaluate(_FACTS)
        assert (facts['scripts'], facts['broken']) == (1, 0), place
        shades = facts['page'], facts['text']
        assert max(shades) - min(shades) > 0.7, place
        assert (shades[0] < shades[1]) == dark, place
        for link in facts['links']:
          file = urllib.parse.unquote(urllib.parse.urlparse(link).path)
          assert pathlib.Path(file).is_file(), (place, link)


@_HERE
def test_names_are_text_and_images_are_enlarged(written, page):
  page.look(1280, False)
  page.show(written[0].as_uri())
  names = "[...document.querySelectorAll('.kinds figcaption')]"
  assert page.evaluate(f'{names}.map(n => n.textContent)') == [*pages.NAMES]
  page.evaluate("document.querySelector('[data-variant=decoded]').click()")
  shown = page.evaluate(
    "[...document.querySelectorAll('.kinds .strip')].filter(s => !s.hidden)"
    '.map(s => s.dataset.variant)'
  )
  assert shown == ['decoded'] * 4
  # The sixth decoded image is of the second stored one.
  page.evaluate(
    "document.querySelectorAll('[data-variant=decoded] .tile')[5].click()"
  )
  told = page.evaluate(
    "[document.querySelector('dialog h3').textContent,"
    " ...[...document.querySelectorAll('dialog figure')].map(f =>"
    " f.textContent + f.querySelector('.tile').style.getPropertyValue('--i'))]"
  )
  assert told == [
    pages.NAMES[0],
    'condensed, as stored1',
    'condensed, decoded5',
    'nearest real image5',
    'start of the condensation1',
  ]
  assert page.evaluate(_OVERFLOW) == []
  page.evaluate("document.querySelector('dialog button').click()")
  said = page.evaluate(
    "(() => { const f = document.querySelector('.film'), s ="
    " f.querySelector('input'); s.value = 0; s.oninput();"
    " return [f.querySelector('output').textContent, f.querySelector('img').src"
    " === f.querySelector('.strip img').src]; })()"
  )
  assert said == ['after 0 iterations: 40 %', True]
  assert page.complaints == []


def test_every_command_of_every_page_is_understood(written):
  command.define_flags()
  found = {}
  for path in written:
    text = path.read_text(encoding='utf-8')
    found[path.name] = [words for words in map(_words, _pre(text)) if words]
    for words in found[path.name]:
      _understood(words)
  assert len(found['report.html']) == 6
  assert len(found['lines.html']) == 1


def _pre(text):
  parts = text.split('<pre><code>')[1:]
  return [html.unescape(part.partition('</code>')[0]) for part in parts]


def _words(text):
  """The words of a command; None where it is Python."""
  if text.startswith(('dcjax', 'python')):
    words = shlex.split(text)
    return words[words.index('dcjax') + 1 :]
  assert 'import' in text
  return None


def _understood(words):
  """The parser of flags takes them, and the settings are complete."""
  if words[0] == 'gallery':
    said, folders = _looking.said_of(words[1:], ('page',))
    assert report.below(folders[0]) and not said
    return
  overrides = command._parse(['dcjax', *words])
  config = command.load_config(flags.FLAGS.config, overrides)
  settings.resolve(config)
  assert flags.FLAGS.workdir
