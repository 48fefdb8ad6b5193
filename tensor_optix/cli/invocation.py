"""What has a person to type next, exactly as it works in their shell?"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "tensor-optix"


def command_line(*arguments: str) -> str:
    """A call of this program that works from the user's shell, quoted where it must be."""
    return shlex.join([*_program(), *arguments])


def shown(path: Path) -> str:
    """``path`` as short as it can be typed: relative to the user's directory where it lies below that.

    The shell's own directory counts (PWD): a parent process may have started us in another one.
    """
    here = Path(os.environ.get("PWD") or Path.cwd())
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _program() -> list[str]:
    """The installed script if the shell finds it, else its path, else the module of this very Python."""
    python = Path(sys.executable)
    script = shutil.which(PROGRAM, path=str(python.parent))
    if script is None:
        return [shown(python), "-m", "tensor_optix.cli"]
    found = shutil.which(PROGRAM)
    return [PROGRAM] if found is not None and Path(found) == Path(script) else [shown(Path(script))]
