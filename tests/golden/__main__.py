"""Writes the golden files: `python -m tests.golden`."""

from tests import golden

for path in golden.FOLDER.glob("*.txt"):
    path.unlink()
for name in golden.CONFIGS:
    (golden.FOLDER / f"{name}.txt").write_text(golden.resolved(name))
