"""Runs notebooks without Jupyter: one cell after another in one namespace.

python tests/notebooks.py docs/examples/digits.ipynb   # stores the outputs
"""

import ast
import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile


def cells(path):
  """The notebook, and its code cells in order."""
  notebook = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
  return notebook, [c for c in notebook['cells'] if c['cell_type'] == 'code']


def run(cell, names):
  """Runs a cell; returns its outputs as a notebook stores them."""
  tree = ast.parse(''.join(cell['source']))
  last = None
  if tree.body and isinstance(tree.body[-1], ast.Expr):
    last = ast.Expression(tree.body.pop().value)
  printed, outputs = io.StringIO(), []
  with contextlib.redirect_stdout(printed):
    exec(compile(tree, 'cell', 'exec'), names)
    value = None if last is None else eval(compile(last, 'cell', 'eval'), names)
  if printed.getvalue():
    text = printed.getvalue().replace(f'{os.getcwd()}/', '')
    outputs.append({'output_type': 'stream', 'name': 'stdout', 'text': text})
  if value is not None:
    data = {'text/plain': repr(value)}
    if hasattr(value, '_repr_html_'):
      data['text/html'] = value._repr_html_()
    result = {'output_type': 'execute_result', 'data': data, 'metadata': {}}
    outputs.append(result)
  return outputs


def store(path):
  """Runs a notebook in a new folder and writes its outputs into it."""
  path, names = pathlib.Path(path).resolve(), {'__name__': '__main__'}
  notebook, code = cells(path)
  with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for number, cell in enumerate(code, 1):
      cell['outputs'] = run(cell, names)
      cell['execution_count'] = number
      for output in cell['outputs']:
        if output['output_type'] == 'execute_result':
          output['execution_count'] = number
  text = json.dumps(notebook, indent=1, ensure_ascii=False)
  path.write_text(f'{text}\n', encoding='utf-8')


if __name__ == '__main__':
  store(sys.argv[1])
