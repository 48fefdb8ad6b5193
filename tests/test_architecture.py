"""The rules that keep the house in order, read from the source itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tensor_optix

ROOT = Path(tensor_optix.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "flax", "optax"}

# what each part may import of the package; errors, _about and _lazy belong to everyone
ALLOWED = {
    "storage": {"storage"},
    "core": {"core", "storage"},
    "backends": {"backends", "core", "storage"},
    "algorithms": {"algorithms", "backends", "core", "storage"},
    "optimizers": {"optimizers", "core", "storage"},
    "pipeline": {"pipeline", "core", "storage"},
    "callbacks": {"callbacks", "core", "storage"},
    "testing": {"testing", "core", "storage", "pipeline"},
    "optimizer": {"core", "storage", "optimizers"},
    "quick": {"core", "storage", "optimizers", "pipeline", "algorithms", "backends", "callbacks", "optimizer"},
    "cli": {"cli", "core", "storage", "callbacks", "quick", "optimizer", "pipeline"},
}
EVERYONES = {"errors", "_about", "_lazy"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, top_level_only: bool = False) -> list[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
        elif isinstance(node, ast.Try) and top_level_only:
            names += [alias.name for child in node.body if isinstance(child, ast.Import) for alias in child.names]
    return names


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_go_one_way(path: Path):
    part = part_of(path)
    if part in EVERYONES | {"__init__"}:
        allowed = EVERYONES
    else:
        allowed = ALLOWED[part] | EVERYONES
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("tensor_optix.")}
    assert ours <= allowed


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_frameworks_are_imported_in_their_own_files_only(path: Path):
    may_import = path.name.startswith(("tf_", "torch_", "flax_")) or path.name.endswith("_backend.py")
    found = {name.split(".")[0] for name in imports(path, top_level_only=True)} & FRAMEWORKS
    assert may_import or not found


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_gymnasium_is_imported_where_environments_are_handled_only(path: Path):
    may_import = part_of(path) in {"pipeline", "exploration", "testing", "quick"}
    assert may_import or "gymnasium" not in {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_prints_outside_the_command_line(path: Path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    prints = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert part_of(path) == "cli" or not prints


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_draws_from_a_global_random_state(path: Path):
    allowed = {"Generator", "SeedSequence", "default_rng", "PCG64", "BitGenerator"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
            assert node.attr in allowed, f"np.random.{node.attr} at line {node.lineno}"
    assert "random" not in {name.split(".")[0] for name in imports(path)}


UNSAFE = ("pickle", "cloudpickle", "marshal", "shelve", "dill", "joblib", "yaml")
WRITERS = ("np.save", "np.load", "np.savez", "torch.save", "torch.load", "os.rename", "os.replace")
WRITERS += tuple(f"shutil.{name}" for name in ("copy", "move", "rmtree", "make_archive", "unpack_archive"))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_only_storage_opens_the_disk_and_nothing_unpickles(path: Path):
    assert not set(imports(path)) & set(UNSAFE)
    if part_of(path) == "storage":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert not name.startswith(WRITERS), f"{name} at line {node.lineno}"
            assert not name.endswith((".write_text", ".write_bytes", ".mkdir", ".unlink")) or name.startswith(
                ("self._opened.", "self._fs.", "files.", "directory.", "parts.files.", "fs.")
            ), f"{name} at line {node.lineno}"
            assert name not in ("open", "eval", "exec"), f"{name} at line {node.lineno}"
