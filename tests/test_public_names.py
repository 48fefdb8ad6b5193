"""What ``import tensor_optix`` gives, and what it must not load."""

import ast
import subprocess
import sys

import pytest

import tensor_optix
from tensor_optix import _about, _lazy
from tensor_optix.errors import MissingDependency

HEAVY = ("torch", "tensorflow", "jax", "gymnasium", "optuna", "matplotlib")


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_no_framework():
    loaded = run_python(f"import sys, tensor_optix; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_every_public_name_exists():
    for name in tensor_optix.__all__:
        assert getattr(tensor_optix, name) is not None


def test_every_name_can_be_imported_without_any_framework_and_says_how_to_install_it():
    code = """
import sys
sys.modules["torch"] = None
import importlib.abc
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
del sys.modules["torch"]
sys.meta_path.insert(0, Absent())
import tensor_optix
for name in tensor_optix.__all__:
    getattr(tensor_optix, name)
try:
    tensor_optix.TorchPPOAgent(None, None, None, None)
except tensor_optix.MissingDependency as error:
    print(error)
try:
    from tensor_optix.algorithms.torch_ppo import TorchPPOAgent
except ImportError as error:
    print(error)
"""
    lines = run_python(code).splitlines()
    assert len(lines) == 2
    for line in lines:
        assert 'torch is needed here and is not installed: pip install -e ".[torch]"' in line


def test_the_stub_that_type_checkers_read_is_the_table_of_what_is_exported():
    imported = [statement for statement in ast.parse(_lazy.STUB).body if isinstance(statement, ast.ImportFrom)]
    names = [alias for statement in imported for alias in statement.names]
    assert all(alias.asname == alias.name for alias in names)  # only "X as X" is exported from a stub
    assert ["__version__", *sorted(alias.name for alias in names)] == tensor_optix.__all__
    assert len(names) > 90


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'RLOptimiser'"):
        tensor_optix.RLOptimiser  # noqa: B018


def test_the_version_is_the_one_constant():
    assert tensor_optix.__version__ == _about.VERSION


def test_a_missing_library_that_is_no_framework_is_not_blamed_on_the_framework(monkeypatch):
    def fail(module):
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr(_lazy.importlib, "import_module", fail)
    with pytest.raises(ModuleNotFoundError, match="numpy"):
        _lazy.load("TorchPPOAgent")


def test_the_stand_in_of_an_unavailable_class_refuses_to_be_built():
    with pytest.raises(MissingDependency, match="on purpose"):
        _lazy._unavailable("Thing", "on purpose")()
