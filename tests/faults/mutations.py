"""Seeded damage to bytes and files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

# Numbers at which readers' arithmetic breaks.
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutant(rng: np.random.Generator, whole: bytes, *, others: Sequence[bytes] = ()) -> bytes:
    """`whole` with one to four kinds of damage: flips, edge numbers, cuts, repeats, splices.

    Half of the damage falls into the first 512 bytes, where headers are.

    Args:
        rng: decides everything.
        whole: a sound file.
        others: sound files of the same kind, of which parts may be spliced in.
    """
    content = bytearray(whole)
    for _ in range(int(rng.integers(1, 5))):
        if not content:
            break
        reach = min(len(content), 512) if rng.random() < 0.5 else len(content)
        at = int(rng.integers(reach))
        kind = rng.integers(7)
        if kind == 0:
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            content[at] = int(rng.integers(256))
        elif kind == 2:
            size = int(rng.choice((1, 2, 4)))
            order = "little" if rng.random() < 0.5 else "big"
            number = int(rng.choice(_EDGES)) % (1 << 8 * size)
            content[at : at + size] = number.to_bytes(size, order)
        elif kind == 3:
            end = len(content) if rng.random() < 0.5 else at + int(rng.integers(1, 65))
            del content[at:end]
        elif kind == 4:
            piece = bytes(content[at : at + int(rng.integers(1, 65))])
            content[at:at] = piece * int(rng.integers(1, 9))
        elif kind == 5:
            content[at:at] = rng.bytes(int(rng.integers(1, 33)))
        else:
            other = others[int(rng.integers(len(others)))] if others else whole
            start = int(rng.integers(max(1, len(other))))
            piece = other[start : start + int(rng.integers(1, 257))]
            content[at : at + len(piece)] = piece
    return bytes(content)


def damage(rng: np.random.Generator, path: Path) -> str:
    """Flips a bit of a file, or truncates, empties or deletes it; returns what was done.

    Of ten, seven are flips.
    """
    size = path.stat().st_size
    kind = int(rng.integers(10))
    if kind == 9 or not size:
        path.unlink()
        return f"{path.name} deleted"
    if kind == 8:
        path.write_bytes(b"")
        return f"{path.name} emptied"
    content = bytearray(path.read_bytes())
    at = int(rng.integers(size))
    if kind == 7:
        path.write_bytes(content[:at])
        return f"{path.name} cut to {at} of {size} bytes"
    bit = int(rng.integers(8))
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {at} of {path.name} flipped"
