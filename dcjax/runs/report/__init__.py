"""Pages that need nothing else: reports of runs, comparisons."""

from dcjax.runs.report._codebook import bytes_of, pictures_of
from dcjax.runs.report._compare import plot, read, table
from dcjax.runs.report._html import (
  STYLE,
  code,
  duration,
  escape,
  markdown,
  pairs,
  section,
  table as html_table,
)
from dcjax.runs.report._page import PAGE, write_report
from dcjax.runs.report._pictures import curve, image_grid, save_png

__all__ = [
  'PAGE',
  'STYLE',
  'bytes_of',
  'code',
  'curve',
  'duration',
  'escape',
  'html_table',
  'image_grid',
  'markdown',
  'pairs',
  'pictures_of',
  'plot',
  'read',
  'save_png',
  'section',
  'table',
  'write_report',
]
