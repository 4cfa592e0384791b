"""Pages that need nothing else: reports of runs, comparisons."""

from dcjax.runs.report._codebook import bytes_of, pictures_of
from dcjax.runs.report._compare import (
  address,
  plots,
  table,
  write_page,
  write_plot,
)
from dcjax.runs.report._groups import below, collect, read
from dcjax.runs.report._headline import State
from dcjax.runs.report._html import (
  Markup,
  code,
  duration,
  escape,
  heat,
  link,
  markdown,
  note,
  page,
  pairs,
  section,
  table as html_table,
)
from dcjax.runs.report._page import write_report
from dcjax.runs.report._pictures import (
  encode_png,
  image_grid,
  save_png,
  to_uint8,
)
from dcjax.runs.report._svg import Plot, Series, document, figure

__all__ = [
  'Markup',
  'Plot',
  'Series',
  'State',
  'address',
  'below',
  'bytes_of',
  'code',
  'collect',
  'document',
  'duration',
  'encode_png',
  'escape',
  'figure',
  'heat',
  'html_table',
  'image_grid',
  'link',
  'markdown',
  'note',
  'page',
  'pairs',
  'pictures_of',
  'plots',
  'read',
  'save_png',
  'section',
  'table',
  'to_uint8',
  'write_page',
  'write_plot',
  'write_report',
]
