"""jaxcxr: `python main.py --config=configs/patched_densenet.py [--config.run=...] [--workdir=...]`.

`python main.py --help` lists the experiments and run modes.
"""

from jaxcxr.__main__ import main

if __name__ == "__main__":
    main()
