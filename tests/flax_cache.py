"""What XLA has compiled for one learner serves the others, so that each test may build learners of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import pytest


@pytest.fixture(scope="session")
def xla_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xla")


@pytest.fixture(autouse=True)
def compiled_once(xla_directory: Path) -> Iterator[None]:
    """JAX's own cache of compiled programs, in a directory of this test session."""
    settings = {
        "jax_compilation_cache_dir": str(xla_directory),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
