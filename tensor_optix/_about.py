"""The one place for the distribution's name and version; every install hint is built from it."""

DISTRIBUTION = "tensor-optix"
VERSION = "2.0.0.dev0"


def install_hint(extra: str) -> str:
    """The line that installs ``extra`` in a clone of the project.

    It never names the distribution: until the first release an index may hold someone else's package of that name.
    """
    return f'pip install -e ".[{extra}]"'
