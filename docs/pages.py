"""The pages of the site that no file of this folder is: hooks of mkdocs."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Below these stand recipes, which `dcjax list` shows.
_RECIPES = tuple(
  f'dcjax.runs.{name}.' for name in ('applications', 'configs', 'tables')
)
# A link to a file of the repository, from its root or from `docs`.
_LINK = re.compile(r'\]\((?:\.\./)?(?!http|docs/)([\w/.-]+\.(?:py|md))')


def modules() -> list[str]:
  """The public modules of dcjax, each of which has a page."""
  found = []
  for path in sorted((ROOT / 'dcjax').glob('**/*.py')):
    name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    name = name.removesuffix('.__init__')
    if '._' not in name and not name.startswith(_RECIPES):
      found.append(name)
  return found


def on_config(config):
  """Lists the pages of the modules."""
  pages = [{name: f'api/{name}.md'} for name in modules()]
  config.nav.insert(-1, {'API': pages})
  return config


def on_files(files, config):
  """Adds a page for every module, the README, and what pages link to."""
  from mkdocs.structure.files import File

  def add(path, text):
    files.append(File.generated(config, path, content=text))

  for name in modules():
    add(f'api/{name}.md', f'# {name}\n\n::: {name}\n')
  root = {'index.md': 'README.md', 'CHANGELOG.md': 'CHANGELOG.md'}
  for path, source in root.items():
    add(path, _read(source))
  texts = [
    _read(f'docs/{f.src_uri}')
    for f in files.documentation_pages()
    if f.generated_by is None
  ]
  linked = set(_LINK.findall(' '.join([*texts, *map(_read, root.values())])))
  for path in sorted(linked):
    if files.get_file_from_path(path) is None:
      add(path, _read(path))
  return files


def on_page_markdown(markdown, page, **_):
  """Lets links into the repository lead to pages of the site, or nowhere."""
  if page.file.src_uri.startswith('api/'):
    return markdown
  markdown = re.sub(r'\[([^]]*)\]\([\w/]+/\)', r'\1', markdown)  # folders
  return re.sub(r'\]\((?:\.\./|docs/)', '](', markdown)


def _read(path):
  return (ROOT / path).read_text(encoding='utf-8')
