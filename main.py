"""jaxcxr: `python main.py --config=configs/patched_densenet.py [--config.run=...] [--workdir=...]`.

`python main.py --help` lists the experiments and run modes.
"""

from jaxcxr.cli.command_line import start

if __name__ == "__main__":
    start()
