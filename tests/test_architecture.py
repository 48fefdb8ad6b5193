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
    "adapters": {"adapters", "algorithms", "backends", "core", "storage"},
    "optimizers": {"optimizers", "core", "storage"},
    "pipeline": {"pipeline", "core", "storage"},
    "exploration": {"exploration", "core", "storage"},
    "callbacks": {"callbacks", "core", "storage"},
    "testing": {"testing", "core", "storage", "pipeline"},
    "optimizer": {"core", "storage", "optimizers", "factory_mode", "population"},
    "factory_mode": {"core", "storage", "optimizers", "orchestrator", "population"},
    "population": {"population", "core", "storage", "search"},
    "search": {"search", "core", "storage", "optimizer", "optimizers"},
    "orchestrator": {"core", "storage", "search"},
    "export": {"export", "algorithms", "backends", "core", "storage", "quick"},
    "quick": {"quick", "core", "storage", "optimizers", "pipeline", "algorithms", "backends", "callbacks", "optimizer",
              "orchestrator", "search"},
    "cli": {"cli", "core", "storage", "callbacks", "quick", "optimizer", "pipeline", "export", "search"},
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


UNSAFE_IMPORTS = {"pickle", "cloudpickle", "marshal", "shelve", "dill", "joblib", "yaml", "subprocess", "shutil"}
HANDS_FACTORIES_TO_CHILDREN = {"search/workers.py"}  # by cloudpickle, over pipes of its own, never from a file
HARMLESS = {"shutil.which", "shutil.get_terminal_size"}
BANNED_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp",
    "np.save", "np.savez", "np.load", "np.fromfile", "np.memmap", "torch.save", "torch.load",
}  # fmt: skip
BANNED_KEYWORDS = {"allow_pickle": True, "weights_only": False, "safe_mode": False}
DISK_METHODS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "rename", "rmdir"}
OUR_DOORS = ("self._opened.", "self._fs.", "self._directory.", "files.", "directory.", "parts.files.", "fs.",
             "RunDirectory.", "self._files.", "run.", "os.open")  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_nothing_runs_code_from_a_file(path: Path):
    found = {name.split(".")[0] for name in imports(path)} & UNSAFE_IMPORTS
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    if part_of(path) == "storage":
        found -= {"shutil"}
    if relative(path) in HANDS_FACTORIES_TO_CHILDREN:
        found -= {"cloudpickle"}
    if found == {"shutil"}:
        found = {name for call in calls if (name := ast.unparse(call.func)).startswith("shutil.")} - HARMLESS
    assert not found
    assert not {ast.unparse(call.func) for call in calls} & BANNED_CALLS
    for keyword in (keyword for call in calls for keyword in call.keywords):
        if isinstance(keyword.value, ast.Constant) and keyword.arg in BANNED_KEYWORDS:
            assert keyword.value.value is not BANNED_KEYWORDS[keyword.arg], f"{keyword.arg} at line {keyword.lineno}"
    chosen_by_us = [call for call in calls if ast.unparse(call.func) == "importlib.import_module"
                    and isinstance(call.args[0], ast.Constant)]  # fmt: skip
    n_imports = sum(ast.unparse(call.func).endswith("import_module") for call in calls)
    assert path.name == "_lazy.py" or n_imports == len(chosen_by_us)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_only_storage_opens_the_disk(path: Path):
    if part_of(path) == "storage":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name != "open", f"open at line {node.lineno}"
            is_disk = name.rpartition(".")[2] in DISK_METHODS and "." in name
            assert not is_disk or name.startswith(OUR_DOORS), f"{name} at line {node.lineno}"


def test_json_from_files_goes_through_the_strict_reader():
    readers = [relative(path) for path in FILES if "json.loads(" in path.read_text()]
    assert readers == ["storage/strict_json.py"]
