"""Stops that are asked for at a known point of a run."""

from dcjax.runs._folder import Stop


class StopWhen(Stop):
  """Asks to stop as soon as a file or folder is there."""

  def __init__(self, folder, pattern):
    """Watches what a pattern finds in a folder."""
    super().__init__()
    self._folder, self._pattern = folder, pattern

  def agreed(self):
    """Whether it is there."""
    self.asked = any(self._folder.glob(self._pattern))
    return super().agreed()
