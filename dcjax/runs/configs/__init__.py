"""Configs: an experiment on one screen each.

A file holds `get_config`, which reads what follows the colon of `--config`, and
the functions that fill what was left open: `choices` (ipc, factor, network),
`values` (published), and, where there are any, `short` (minutes on two CPU
cores) and `smoke` (seconds).
"""
