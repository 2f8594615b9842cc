"""Threads that decode share what they may take."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from jaxcxr.data.memory_budget import MemoryBudget


def test_threads_hold_no_more_than_the_budget_together():
    budget, lock, held, peaks = MemoryBudget(100), threading.Lock(), [0], []

    def work(amount: int) -> None:
        with budget.hold(amount):
            with lock:
                held[0] += amount
                peaks.append(held[0])
            time.sleep(0.002)
            with lock:
                held[0] -= amount

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [30, 60, 50, 10, 40, 70, 20] * 6))
    assert 50 < max(peaks) <= 100


def test_more_than_the_budget_is_held_alone_and_errors_give_it_back():
    budget = MemoryBudget(100)

    def take_too_much_then_all() -> None:
        for _ in range(3):
            with contextlib.suppress(ValueError), budget.hold(1000):
                raise ValueError
        with budget.hold(60), budget.hold(40):
            pass

    thread = threading.Thread(target=take_too_much_then_all, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive(), "it waits for bytes that were never given back"
