"""Set before any test uses JAX: four CPU devices, strict shapes, a compilation cache that stays."""

import os
import tempfile
from pathlib import Path

import pytest

_FOUR_DEVICES = "--xla_force_host_platform_device_count=4"
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FOUR_DEVICES}".strip()
_XLA_FLAGS = os.environ["XLA_FLAGS"]
# Programs that were compiled before are read back, also by processes that tests start and by the
# next run of pytest. One folder for each of pytest's processes, since JAX does not write its
# cache's files atomically.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
_CACHE = Path(tempfile.gettempdir()) / f"jaxcxr-tests-{os.getuid()}" / f"xla-{_WORKER}"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import hypothesis  # noqa: E402
import jax  # noqa: E402
from absl import flags  # noqa: E402

jax.devices()  # from here on XLA_FLAGS mean nothing to this process
jax.config.update("jax_numpy_rank_promotion", "raise")
hypothesis.settings.register_profile("seeded", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("seeded")  # the same examples every time
flags.FLAGS.mark_as_parsed()  # grain reads absl flags, which main.py parses and pytest does not


@pytest.fixture(autouse=True)
def _same_xla_flags():
    """Those of this process, for the processes that a test starts: main.py, called by a test, adds
    one for its own.

    A process with other flags compiles, and rounds, otherwise: what was killed there would not end
    as it does here.
    """
    os.environ["XLA_FLAGS"] = _XLA_FLAGS
    yield
    os.environ["XLA_FLAGS"] = _XLA_FLAGS


_MOST_MEMORY = 7 << 30  # bytes of a worker, of which a machine with 16 GB runs two


@pytest.fixture(scope="module", autouse=True)
def _programs_do_not_pile_up():
    """Compiled programs of thousands of tests would fill a small machine's memory."""
    yield
    statm = Path("/proc/self/statm")
    if statm.exists():
        resident = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if resident > _MOST_MEMORY:
            jax.clear_caches()


@pytest.fixture(scope="session", autouse=True)
def _prepared_data_sets(tmp_path_factory: pytest.TempPathFactory):
    """Data sets that a test prepares without a data_dir go to a folder of this run of pytest, never
    to the user's.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder of real X-rays (ccx/, kcx/, lungs/, qatar/, v7/), named by JAXCXR_TEST_DATA; skips
    without it.
    """
    name = os.environ.get("JAXCXR_TEST_DATA")
    if not name:
        pytest.skip("JAXCXR_TEST_DATA is unset: no real X-rays to check against")
    if not Path(name).is_dir():
        pytest.fail(f"JAXCXR_TEST_DATA={name} is not a folder")
    return Path(name).resolve()
