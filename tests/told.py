"""Commands that pages, help and scripts tell, as a shell would take them."""

import pathlib
import re
import shlex

from dcjax import data, specs
from dcjax.runs import command, settings

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [
  'README.md',
  'CHANGELOG.md',
  *sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'docs').glob('*.md')),
]

# Where commands are printed: pages, help on configs, headers of scripts.
TOLD = {
  **{page: (ROOT / page).read_text(encoding='utf-8') for page in PAGES},
  **{name: settings.module(name).__doc__ for name in command.names()},
}


def commands(text):
  """Command lines of a page, word by word, variables filled in."""
  text = re.sub(r'\\\n\s*|\n\s*(?=--)', ' ', text)
  filled = dict(re.findall(r'^([A-Z]+)="?([^"\n]+)"?$', text, re.MULTILINE))
  filled |= {'c': 'G', 'i': '0', 'NAME': 'n', 'ZONE': 'z', 'BUCKET': '/b'}
  for name, value in filled.items():
    text = re.sub(rf'\${name}\b', value, text)
  parts = re.split(r'\n|`|;|&&| & ', text)
  for part in parts:
    starts = re.search(
      r'(^|\s)(dcjax(?= (-|list|compare|export|gallery|published))'
      r'|python (?=experiments|benchmarks)'
      r'|experiments/launch/(?=\w+\.sh [^N W]))',
      part,
    )
    if starts:
      words = shlex.split(part[starts.start() :].strip(), comments=True)
      yield (
        words[0] if words[0] != 'python' else words[1],
        [w for w in words[1 + (words[0] == 'python') :] if w != '&'],
      )


def as_flags(program, words):
  """What a launch script hands on."""
  if program.endswith('gpu_host.sh'):
    folder, config, *rest = words
  elif program.endswith('tpu_pod.sh'):
    _, _, folder, config, *rest = words
  else:
    return words
  return [f'--config={config}', f'--workdir={folder}', *rest]


def black_images(config):
  """A data set of black images, such as the one that a config names."""
  spec = specs.parse('data', config.data)
  known = {n: v for n, v in spec.items() if n in ('size', 'window')}
  dataset = data.blank(spec['name'], **known)
  return dataset or data.blank('cifar10', **{'size': 32, **known})
