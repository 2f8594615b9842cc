"""`python -m jaxcxr`: the same as the command `jaxcxr`."""

import signal


def main() -> None:
    """Runs the command line."""
    # Until it has handlers of its own, Ctrl-C ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from jaxcxr.cli.command_line import start

    start()


if __name__ == "__main__":
    main()
