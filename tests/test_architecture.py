"""The house: who may import whom, who may name devices, how long a file may be.

Reads the sources, imports nothing.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A module imports only from its own layer or a lower one; the longest name that fits counts.
LAYERS = {
    "jaxcxr.errors": 0,
    "jaxcxr.papers": 0,
    "jaxcxr.run_modes": 0,
    "jaxcxr.schema": 0,
    "jaxcxr.hints": 0,
    "jaxcxr.shipped": 0,
    "jaxcxr.parallel": 0,
    "jaxcxr.ops": 1,
    "jaxcxr.losses": 1,
    "jaxcxr.metrics": 1,
    "jaxcxr.cpu": 1,
    "jaxcxr.storage": 1,
    "jaxcxr.models": 2,
    "jaxcxr.weights": 2,
    "jaxcxr.data": 2,
    "jaxcxr.explain": 2,
    "jaxcxr.optim": 3,
    "jaxcxr.state": 3,
    "jaxcxr.exported": 3,
    "jaxcxr.tasks": 4,
    "jaxcxr.inference": 5,
    "jaxcxr.training": 5,
    "jaxcxr.report": 6,
    "jaxcxr.audit": 6,
    "jaxcxr.commands": 7,
    "jaxcxr.studies": 8,
    "jaxcxr.cli": 9,
    "jaxcxr.__main__": 9,
    "main": 9,
}
PACKAGES = ("jaxcxr", "configs", "tfds_builders", "benchmarks")
FILES = sorted([p for name in PACKAGES for p in (ROOT / name).rglob("*.py")] + [ROOT / "main.py"])

HEAVY = {"tensorflow", "torch", "torchvision", "keras", "tensorboard", "clu"}
# The device seam: what only jaxcxr/parallel.py may name.
DEVICES = {
    "pmap",
    "shard_map",
    "Mesh",
    "NamedSharding",
    "PartitionSpec",
    "distributed",
    "devices",
    "local_devices",
    "device_count",
    "local_device_count",
    "process_count",
    "process_index",
    "multihost_utils",
}
# Those that may look for themselves: checkpoints are taken apart by process (Orbax and grain name
# their files by it), and preprocessing stays on the host's CPU.
SEAM = {
    "jaxcxr.parallel": DEVICES,
    "jaxcxr.storage.checkpoint": {"process_count", "process_index", "multihost_utils"},
    "jaxcxr.storage.orbax_files": {"process_count", "process_index"},
    "jaxcxr.data.preprocessing": {"local_devices"},
    "benchmarks.ours.device": {"local_devices"},
}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports_of(tree: ast.AST) -> set[str]:
    """Every module that is imported anywhere in the file; `from jaxcxr.storage import files` gives
    jaxcxr.storage.files.
    """
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {part if is_module(part) else str(node.module) for part in parts}
    return names


def layer_of(module: str) -> int:
    known = [name for name in LAYERS if module == name or module.startswith(f"{name}.")]
    assert known, f"{module} has no layer: give it one in LAYERS"
    return LAYERS[max(known, key=len)]


def jax_names(tree: ast.AST) -> set[str]:
    """Attributes of `jax` and its modules, and what is imported from them: {"jit", "process_count",
    ...}.
    """
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain, value = [node.attr], node.value
            while isinstance(value, ast.Attribute):
                chain.append(value.attr)
                value = value.value
            if isinstance(value, ast.Name) and value.id == "jax":
                names |= set(chain)
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "jax":
            names |= {alias.name for alias in node.names}
    return names


def without_encoding(tree: ast.AST) -> list[str]:
    """Calls that read or write text in whatever encoding the locale has."""

    def is_text(call: ast.Call) -> bool:
        names = {keyword.arg for keyword in call.keywords}
        method = isinstance(call.func, ast.Attribute)
        name = (
            call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        )
        if "encoding" in names:
            return False
        if name in ("run", "Popen", "check_output") and names & {"text", "universal_newlines"}:
            return True
        if name == "read_text":
            return not call.args
        if name == "write_text":
            return method and len(call.args) < 2  # with two it is `files.write_text`
        if name not in ("open", "fdopen"):
            return False
        # `path.open(mode)`, `open(path, mode)`; what has no mode and arguments is another `open`.
        modes = [
            a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
        ]
        modes = [mode for mode in modes if mode and set(mode) <= set("rwaxbt+")]
        if name == "open" and method and not modes:
            return names <= {"newline", "errors", "buffering"} and not call.args
        return not modes or "b" not in modes[-1]

    return [
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call) and is_text(node)
    ]


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(ROOT)))
def source(request):
    return request.param


@pytest.fixture
def module(source):
    return module_of(source)


@pytest.fixture
def tree(source):
    return ast.parse(source.read_text(encoding="utf-8"))


def test_imports_go_down_the_layers(module, tree):
    if not (module.startswith("jaxcxr.") or module == "main"):
        return
    own = layer_of(module)
    upward = {n for n in imports_of(tree) if n.startswith("jaxcxr.") and layer_of(n) > own}
    assert not upward, f"{module} (layer {own}) imports {sorted(upward)} from higher layers"


def test_packages_keep_apart(module, tree):
    allowed = {
        "jaxcxr": {"jaxcxr"},  # builders are imported by the names that a config gives
        "configs": {"configs", "jaxcxr.schema"},
        "tfds_builders": {"tfds_builders"},
        "benchmarks": {"benchmarks", "jaxcxr", "configs", "tfds_builders"},
        "main": {"jaxcxr"},
    }[module.split(".")[0]]
    imported = imports_of(tree)
    ours = {name for name in imported if name.split(".")[0] in {*PACKAGES, "main", "tests"}}
    others = {n for n in ours if not any(n == a or n.startswith(f"{a}.") for a in allowed)}
    assert not others


def test_no_other_framework(module, tree):
    """But in the programs that ours are measured against, and these do not know ours."""
    imported = {name.split(".")[0] for name in imports_of(tree)}
    if module.startswith("benchmarks.peers"):
        assert not {"jax", "jaxcxr", "flax"} & imported
    else:
        assert not HEAVY & imported


def test_devices_are_named_at_the_seam_only(module, tree):
    extra = (jax_names(tree) & DEVICES) - SEAM.get(module, set())
    assert not extra, f"{module} names {sorted(extra)}: go through jaxcxr.parallel"


def test_files_stay_readable(source):
    lines = len(source.read_text(encoding="utf-8").splitlines())
    assert lines <= 700, f"{lines} lines: split the file"


def test_every_layer_names_a_module():
    assert [name for name in LAYERS if not is_module(name)] == []


def test_the_rules_bite():
    """The readers above see what they forbid, however it is written."""
    text = (
        "import jax\nfrom jaxcxr import tasks\nfrom jax import pmap\n\ndef f():\n    from torch "
        "import nn\n"
    )
    tree = ast.parse(text + "    return jax.sharding.Mesh, jax.process_count()\n")
    assert imports_of(tree) == {"jax", "jaxcxr.tasks", "torch"}
    assert jax_names(tree) == {"pmap", "sharding", "Mesh", "process_count"}
    assert layer_of("jaxcxr.commands.train") == 7


def test_text_is_read_and_written_as_utf8_whatever_the_locale(source):
    assert without_encoding(ast.parse(source.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "call",
    ["open(p)", "open(p, 'w')", "p.open()", "p.open('w')", "p.read_text(errors='replace')",
     "p.write_text(t)",
     "os.fdopen(1, 'w')", "subprocess.run(c, text=True)", "p.open(newline='')"],
)  # fmt: skip
def test_text_in_the_locales_encoding_is_noticed(call):
    assert without_encoding(ast.parse(call)) == [call]
    named = f"{call[:-1]}{'' if call.endswith('()') else ', '}encoding='utf-8')"
    assert without_encoding(ast.parse(named)) == []
