"""Weights & Biases offline: nothing leaves the machine, and what would be synced is in the run's directory."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import WandbLogger
from tests.callbacks.logged_runs import tell

wandb = pytest.importorskip("wandb", reason="the W&B logger is tested against wandb itself, which is not installed")
wandb_internal_pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")

BLOCK = 32_768


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What one logged run leaves for ``wandb sync``."""
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger("a-project", mode="offline", settings=wandb.Settings(x_disable_stats=True))
    tell(logger, tmp_path)
    assert logger.problem is None
    wandb.teardown()  # waits until the process that writes the file has written all of it
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    return [wandb_internal_pb2.Record.FromString(record) for record in leveldb_records(file.read_bytes())]


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """7 bytes of magic, then blocks of 32 KiB of pieces: checksum, length, kind (1 whole, 2 first, 3 mid, 4 last)."""
    place, record = 7, b""
    while place + 7 <= len(data):
        left = BLOCK - place % BLOCK
        _, size, kind = struct.unpack("<IHB", data[place : place + 7]) if left >= 7 else (0, 0, 0)
        if kind == 0:
            place += left
            continue
        record += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            yield record
            record = b""


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def test_an_offline_run_holds_ticks_config_and_result(records: list[Any]):
    history = [values(record.history.item) for record in records if record.HasField("history")]
    raw = [(row["env_steps"], row["score/raw"]) for row in history if "score/raw" in row]
    assert raw == [(100, 10.0), (300, 20.0)]
    assert any("decisions" in name for row in history for name in row)
    (run, *_) = [record.run for record in records if record.HasField("run")]
    assert (run.project, run.run_id) == ("a-project", "20261123-1")
    config = values(run.config.update)
    assert (config["environment"], config["seed"], config["gamma"]) == ("Toy-v0", 77, 0.99)
    summary: dict[str, Any] = {}
    for record in records:
        summary |= values(record.summary.update) if record.HasField("summary") else {}
    assert summary["result/reason"] == "converged"
    assert summary["result/final_mean"] == 19.0
