"""Memory limit for all threads that decode images."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class MemoryBudget:
    """A number of bytes that several threads share, so that their peaks do not add up.

    Each thread waits until the amount it needs is free. An amount above the budget waits until no
    other thread holds any. Threads hold one amount at a time.
    """

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Reserves `amount` bytes while its block runs."""
        amount = min(amount, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()


# One image of 64 million pixels, or four threads with those of 16 million each, as measured: 16-bit
# colour takes 12 bytes per pixel, all else less.
BYTES_PER_PIXEL = 12
IMAGES = MemoryBudget(64_000_000 * BYTES_PER_PIXEL)
