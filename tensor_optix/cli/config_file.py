"""What does a run.toml say? Settings by name, and which environment, algorithm and backend."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensor_optix.errors import ConfigError, nearest
from tensor_optix.storage import FileSystem

MAX_BYTES = 100_000
TABLES = ("run", "settings")
RUN_KEYS = ("env", "algo", "backend", "seed")


@dataclass(frozen=True)
class ConfigFile:
    """``[run]`` and ``[settings]`` of a run.toml; both may be missing."""

    run: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def require_env(self, env_id: str) -> None:
        """Raise ConfigError when it was written for another environment."""
        if self.run.get("env", env_id) != env_id:
            raise ConfigError(f"this config is for env = {self.run['env']!r}, not for {env_id!r}: give that id, "
                              "or take the line out")  # fmt: skip


def read_config(path: Path | None) -> ConfigFile:
    """The file's content; nothing for None. Raises ConfigError for what it cannot mean."""
    if path is None:
        return ConfigFile()
    fs = FileSystem()
    if fs.kind(path.resolve()) == "absent":
        raise ConfigError(f"there is no config file {path}")
    try:
        tables = tomllib.loads(fs.read(path.resolve(), MAX_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}") from error
    _require_names(path, tables, TABLES)
    for name in tables:
        if not isinstance(tables[name], Mapping):
            raise ConfigError(f"{path}: {name} must be a table, written [{name}]")
    _require_names(path, tables.get("run", {}), RUN_KEYS)
    return ConfigFile(dict(tables.get("run", {})), dict(tables.get("settings", {})))


def _require_names(path: Path, names: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            hint = nearest(name, known) or f" It knows {', '.join(known)}."
            raise ConfigError(f"{path} has an unknown entry {name!r}.{hint}")
