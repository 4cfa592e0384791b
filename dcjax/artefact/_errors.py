"""What is wrong with a file of a condensed set."""


class ArtefactError(ValueError):
  """A file that is not a whole, valid artefact; says which file and why."""
