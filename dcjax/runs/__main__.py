"""`python -m dcjax.runs` is `dcjax`."""

from dcjax.runs import command

if __name__ == '__main__':
  command.main(program='python -m dcjax.runs')
