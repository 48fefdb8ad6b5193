import subprocess
import sys

from tensor_optix._about import VERSION


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_the_module_runs_as_a_program() -> None:
    result = python("-m", "tensor_optix.cli", "--version")
    assert (result.returncode, result.stdout) == (0, f"tensor-optix {VERSION}\n")


def test_help_loads_no_framework_and_no_plotting() -> None:
    heavy = "{'torch', 'tensorflow', 'jax', 'matplotlib', 'gymnasium'}"
    result = python("-c", f"import sys, tensor_optix.cli; print(sorted({heavy} & set(sys.modules)))")
    assert result.stdout == "[]\n", result.stderr
