"""`python -m jaxcxr`: the same as the command `jaxcxr`."""

from jaxcxr.command_line import start

start()
