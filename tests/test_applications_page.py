"""The examples of the applications' page run and give what they say."""

import pathlib
import re

import numpy as np

_PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'applications.md'


def test_the_examples_run():
  text = _PAGE.read_text(encoding='utf-8')
  names = {}
  for block in re.findall(r'^```python\n(.*?)^```', text, re.DOTALL | re.M):
    exec(compile(block, str(_PAGE), 'exec'), names)
  assert names['matrix'].shape == (2, 5, 5)
  # Chance is 1/2 after the first step, 1/10 after the last.
  assert names['curve'][:, 0].mean() > 0.7
  assert names['curve'][:, -1].mean() > 0.2
  assert names['forgotten'].shape == (2,)
  assert names['adapted'].shape == (2,)
  assert np.isclose(names['ranking'].overlap, 0.5)
  assert 0.3 < names['attack'].auc < 0.8
  assert (names['before'] > names['after']).all()
  assert (names['repaired'] > names['after']).all()
  # The narrow network is the pruned one.
  right = names['logits'].logits.argmax(-1) == names['digits'].test_labels
  assert np.isclose(right.mean(), names['repaired'][0], atol=0.01)
