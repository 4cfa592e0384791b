"""Lets the site show the section `Example:` of docstrings as code."""

import griffe


class Examples(griffe.Extension):
  """griffe knows this section as `Examples:`."""

  def on_object(self, *, obj, **_):
    if obj.docstring is not None:
      text = obj.docstring.value
      obj.docstring.value = text.replace('\nExample:\n', '\nExamples:\n')
