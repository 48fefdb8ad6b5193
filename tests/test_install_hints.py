"""The line that installs what is missing works where it is read: in a clone, and beside an installed wheel."""

from pathlib import Path

import pytest

from tensor_optix import _about
from tensor_optix._about import install_hint, libraries_of

REQUIREMENTS = [
    "numpy>=1.26",
    "torch>=2.10; extra == 'torch'",
    'tensorflow>=2.18; (python_version < "3.14") and extra == "tensorflow"',
    "tensor-optix[tensorflow]; extra == 'tf'",
    "gymnasium[atari]>=1.1; extra == 'atari'",
    "ale-py>=0.10; extra == 'atari'",
    "tensor-optix[torch,tf]; extra == 'all'",
]


@pytest.mark.parametrize(
    ("extra", "libraries"),
    [
        ("torch", ["torch>=2.10"]),
        ("tf", ["tensorflow>=2.18"]),
        ("atari", ["gymnasium[atari]>=1.1", "ale-py>=0.10"]),
        ("all", ["torch>=2.10", "tensorflow>=2.18"]),
        ("nothing", []),
    ],
)
def test_the_libraries_of_an_extra_are_those_of_the_metadata(extra: str, libraries: list[str]) -> None:
    assert libraries_of(extra, REQUIREMENTS) == libraries


def test_in_a_clone_the_extra_is_named() -> None:
    assert install_hint("torch") == 'pip install -e ".[torch]"'


def test_beside_a_wheel_the_libraries_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_about, "_CLONE", tmp_path)
    assert install_hint("torch").startswith('pip install "torch>=')
    assert install_hint("tf").startswith('pip install "tensorflow>=')
    assert "tensor-optix" not in install_hint("all")
