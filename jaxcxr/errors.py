"""Errors that every part of the package may raise."""


class InputError(ValueError):
    """Input that cannot be used: the message names the file or field and the fix."""


class DivergedError(RuntimeError):
    """Training produced a loss that is not finite; the last good checkpoint is kept."""
