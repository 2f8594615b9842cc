"""`python -m jaxcxr`: the same as the command `jaxcxr`."""

from jaxcxr.cli.command_line import start

start()
