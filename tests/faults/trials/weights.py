"""Weight files and exports."""

from __future__ import annotations

from collections.abc import Iterator

from jaxcxr.weights.read import read
from tests.faults.limits import mutants
from tests.faults.promises import Context, promise
from tests.weights import samples


@promise("mutants/safetensors", "a damaged .safetensors is one error", full=10_000, quick=100)
def safetensors(context: Context) -> Iterator[str]:
    yield from _mutants(context, "safetensors", [samples.safetensors(), samples.hashed()])


@promise("mutants/npz", "a damaged .npz is one error", full=10_000, quick=100)
def npz(context: Context) -> Iterator[str]:
    yield from _mutants(context, "npz", [samples.npz(), samples.npz(compressed=True)])


@promise("mutants/pth", "a damaged .pth is one error", full=10_000, quick=100)
def pth(context: Context) -> Iterator[str]:
    yield from _mutants(context, "pth", [samples.pth(), samples.pth(within="state_dict"), samples.old_pth()])


@promise("mutants/h5", "a damaged .h5 is one error", full=10_000, quick=100, needs=("h5py",))
def h5(context: Context) -> Iterator[str]:
    yield from _mutants(context, "h5", [samples.h5(), samples.h5(compressed=True)])


def _mutants(context: Context, suffix: str, sound: list[bytes]) -> Iterator[str]:
    path = context.folder / f"weights.{suffix}"

    def read_back(content: bytes) -> None:
        path.write_bytes(content)
        read(path)

    yield from mutants(context, sound, read_back)
