"""How pages look, and the little that they do by themselves."""

from dcjax.runs.report import _svg

STYLE = f"""{_svg.STYLE}
:root {{ color-scheme: light dark; --page: #fff; --text: #1c1c1e;
  --line: #8884; --soft: #8882; --accent: #1f6fb4; --shade: #0005; }}
@media (prefers-color-scheme: dark) {{ :root {{ --page: #16171a;
  --text: #e8e8ea; --accent: #6fb2f2; --shade: #fff6; }}
  img.map {{ filter: none !important; }} }}
img.map {{ filter: invert(1); }}
* {{ box-sizing: border-box; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 64rem;
  margin: 0 auto; padding: 1rem; background: var(--page);
  color: var(--text); overflow-wrap: break-word; }}
h1 {{ margin: .2rem 0 0; line-height: 1.2; }} h2 {{ margin-top: 2.5rem; }}
a {{ color: var(--accent); }}
.big {{ font-size: clamp(1.6rem, 6vw, 2.6rem); font-weight: 700;
  line-height: 1.2; margin: .6rem 0 .2rem; }}
.note, figcaption {{ opacity: .8; font-size: .9rem; }}
.status {{ border-left: .3rem solid var(--accent); background: var(--soft);
  padding: .4rem .8rem; margin-bottom: .8rem; }}
.status progress {{ width: 100%; accent-color: var(--accent); }}
.row {{ display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }}
.cards {{ display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); }}
.card {{ background: var(--soft); border-radius: .5rem; padding: .6rem 1rem;
  min-width: 0; }}
.card b {{ display: block; font-size: 1.4rem; }}
.card img {{ display: block; max-width: 100%; height: auto;
  image-rendering: pixelated; }}
figure {{ margin: 0; }}
.row > figure {{ flex: 1 1 24rem; min-width: 0; max-width: 36rem; }}
.row > figure > img {{ width: 100%; image-rendering: pixelated; }}
svg {{ width: 100%; height: auto; display: block; }}
.wide {{ overflow-x: auto; background:
  linear-gradient(to right, var(--page) 30%, transparent) 0 / 3rem 100%,
  linear-gradient(to left, var(--page) 30%, transparent) 100% / 3rem 100%,
  linear-gradient(to right, var(--shade), transparent) 0 / .8rem 100%,
  linear-gradient(to left, var(--shade), transparent) 100% / .8rem 100%;
  background-attachment: local, local, scroll, scroll;
  background-repeat: no-repeat; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .92rem; }}
th, td {{ text-align: left; vertical-align: top;
  padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }}
th {{ font-weight: 600; }}
.grid td {{ white-space: nowrap; }}
.grid td strong + br + .note {{ font-size: .85rem; }}
.grid td:first-child {{ white-space: normal; min-width: min(11rem, 28vw); }}
td.key {{ white-space: nowrap; padding-right: 1.5rem; }}
tr.first td {{ font-weight: 600; }}
.heat th, .heat td {{ padding: .25rem .45rem; border: 0; text-align: right;
  font-size: .85rem; }}
.heat td {{ background: color-mix(in srgb, var(--accent) var(--share),
  transparent); }}
.bars {{ display: grid; gap: .1rem .8rem; align-items: center;
  grid-template-columns: fit-content(35%) minmax(5rem, 1fr) max-content; }}
.bars span {{ overflow-wrap: anywhere; }}
.bars div {{ background: var(--soft); height: .9rem; position: relative; }}
.bars div::before {{ content: ""; position: absolute; inset: 0 auto 0 0;
  width: var(--share); background: var(--accent); }}
.bars.both div::after {{ content: ""; position: absolute; width: 2px;
  inset: -.1rem auto -.1rem min(var(--other), 100% - 2px);
  background: var(--text); }}
pre {{ background: var(--soft); border-radius: .5rem; padding: .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }}
pre button {{ float: right; margin: -.4rem; }}
button, output, input {{ font: inherit; }}
summary {{ cursor: pointer; }}
.kinds {{ display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; }}
.kinds figure {{ max-width: 100%; }}
.strip {{ display: flex; flex-wrap: wrap; gap: 3px; }}
.strip[hidden] {{ display: none; }}
.tile {{ border: 0; padding: 0; cursor: zoom-in; border-radius: 2px;
  width: clamp(3.4rem, 15vw, var(--tile, 5rem)); aspect-ratio: var(--shape);
  background-image: var(--strip); background-size: calc(var(--n) * 100%) 100%;
  background-position: calc(100% * var(--i) / max(1, var(--n) - 1)) 0;
  image-rendering: pixelated; }}
.tile.large, .film img {{ cursor: default; }}
.tile.large {{ width: min(14rem, 40vw); }}
dialog .row > figure {{ flex: none; }}
dialog .many .tile.large {{ width: min(8rem, 26vw); }}
dialog h3 {{ margin: 0; }} dialog > button {{ float: right; }}
.smooth .tile {{ image-rendering: auto; }}
.tabs {{ display: flex; flex-wrap: wrap; gap: .4rem; margin: .5rem 0 1rem; }}
.tabs button {{ border: 1px solid var(--line); border-radius: 1rem;
  padding: .2rem .8rem; background: none; color: inherit; cursor: pointer; }}
.tabs button[aria-pressed=true] {{ background: var(--accent);
  color: var(--page); border-color: var(--accent); }}
dialog {{ border: 1px solid var(--line); border-radius: .6rem;
  background: var(--page); color: var(--text); max-width: 94vw; }}
.film > img {{ width: 100%; max-width: 36rem; max-height: 70vh;
  object-fit: contain; object-position: left; image-rendering: pixelated;
  display: block; }}
.film input {{ width: 100%; max-width: 36rem; display: block; margin: 0; }}
.film .strip {{ flex-wrap: nowrap; padding: .4rem 0; gap: .5rem; }}
.film .strip img {{ width: 8rem; height: auto; image-rendering: pixelated;
  cursor: pointer; flex: none; align-self: start; }}
"""

# Texts enter the page as text only: class names may be markup.
SCRIPT = """
const all = (what, where) => [...(where || document).querySelectorAll(what)];
const made = (tag, text) => Object.assign(
  document.createElement(tag), {textContent: text || ''});
for (const pre of all('pre')) {
  if (!navigator.clipboard) break;
  const text = pre.textContent, button = made('button', 'copy');
  button.onclick = () => navigator.clipboard.writeText(text)
    .then(() => { button.textContent = 'copied'; });
  pre.prepend(button);
}
for (const tab of all('.tabs button')) tab.onclick = () => {
  for (const other of all('.tabs button'))
    other.setAttribute('aria-pressed', other === tab);
  for (const strip of all('.kinds .strip'))
    strip.hidden = strip.dataset.variant !== tab.dataset.variant;
};
function large(strip, i) {
  const holder = strip.cloneNode(false), tile = made('div');
  holder.hidden = false;
  tile.className = 'tile large';
  tile.style.setProperty('--i', i);
  holder.append(tile);
  return holder;
}
for (const tile of all('button.tile')) tile.onclick = () => {
  const strip = tile.parentNode, kind = strip.parentNode;
  const box = document.querySelector('dialog'), row = made('div');
  const per = strip.dataset.per, at = all('.tile', strip).indexOf(tile);
  row.className = 'row' + (kind.parentNode.classList.contains('smooth')
    ? ' smooth' : '');
  for (const other of all('.strip', kind)) {
    const many = other.dataset.per;
    const first = many === per ? at : Math.floor(at / per) * many;
    const count = many === per ? 1 : many;
    for (let i = first; i < first + Number(count); i++) {
      const part = made('figure');
      part.append(large(other, i), made('figcaption', other.title));
      row.append(part);
    }
  }
  if (row.children.length > 4) row.classList.add('many');
  box.replaceChildren(
    Object.assign(made('button', 'close'), {onclick: () => box.close()}),
    made('h3', kind.querySelector('figcaption').textContent), row);
  box.showModal();
};
for (const box of all('dialog'))
  box.onclick = event => { if (event.target === box) box.close(); };
for (const film of all('.film')) {
  const [big, slider, said] = ['img', 'input', 'output'].map(
    what => film.querySelector(what));
  const frames = all('.strip img', film);
  const show = i => {
    big.src = frames[i].src;
    said.textContent = frames[i].alt;
    slider.value = i;
  };
  slider.oninput = () => show(slider.value);
  frames.forEach((frame, i) => { frame.onclick = () => show(i); });
  slider.hidden = false;
}
const running = document.querySelector('[data-running]');
if (running) {
  const since = () => Date.now() / 1000 - running.dataset.running;
  const tell = () => {
    const minutes = Math.floor(since() / 60);
    all('.since').forEach(place => {
      place.textContent = minutes < 1 ? 'just now' : minutes + ' min ago'; });
  };
  tell();
  setInterval(() => {
    tell();
    if (!document.querySelector('dialog[open]')) location.reload();
  }, 30000);
}
"""
