"""The one place for the distribution's name and version, and for the line that installs what is missing."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

DISTRIBUTION = "tensor-optix"
VERSION = "2.0.0.dev0"

_CLONE = Path(__file__).parents[1]


def install_hint(extra: str) -> str:
    """The line that installs what ``extra`` stands for.

    In a clone of the project that is the extra itself; where a wheel is installed the libraries are named, as the
    wheel's own metadata lists them. It never names the distribution: until the first release an index may hold someone
    else's package of that name.
    """
    if (_CLONE / "pyproject.toml").is_file():
        return f'pip install -e ".[{extra}]"'
    libraries = libraries_of(extra, metadata.requires(DISTRIBUTION))
    return "pip install " + " ".join(f'"{library}"' for library in libraries)


def libraries_of(extra: str, requirements: list[str] | None) -> list[str]:
    """The libraries of ``extra`` in a distribution's requirements; an extra that stands for another one is followed.

    requirements: as a wheel's metadata writes them, ``torch>=2.10 ; extra == 'torch'``.
    """
    found: list[str] = []
    for requirement in requirements or []:
        library, _, marker = requirement.partition(";")
        if f"extra=='{extra}'" in marker.replace('"', "'").replace(" ", ""):
            name, _, others = library.strip().rstrip("]").partition("[")
            if name == DISTRIBUTION:
                found += [one for other in others.split(",") for one in libraries_of(other, requirements)]
            else:
                found.append(library.strip())
    return found
