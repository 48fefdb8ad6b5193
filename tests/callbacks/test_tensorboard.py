"""Read back with the library's own messages: what is in the event files is what TensorBoard will draw."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import TensorBoardLogger
from tests.callbacks.logged_runs import tell

event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2", reason="TensorBoard files need tensorboardX")


def events(folder: Path) -> Iterator[Any]:
    """All events below ``folder``: length, its checksum, the message, its checksum."""
    for file in sorted(folder.rglob("events.out.*")):
        data = file.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            yield event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    return {
        (value.tag, event.step): value.simple_value
        for event in events(folder) for value in event.summary.value if value.HasField("simple_value")
    }  # fmt: skip


def texts(folder: Path) -> list[str]:
    values = [value for event in events(folder) for value in event.summary.value if value.HasField("tensor")]
    return [value.tensor.string_val[0].decode() for value in values if value.tensor.string_val]


def test_ticks_become_curves_over_env_steps_in_the_runs_own_directory(tmp_path: Path):
    logger = TensorBoardLogger()
    tell(logger, tmp_path)
    assert logger.problem is None
    found = scalars(tmp_path / "tensorboard")
    assert found["score/raw", 100] == 10.0
    assert found["score/raw", 300] == 20.0
    assert found["metrics/loss", 300] == 0.25
    assert found["hyperparams/learning_rate", 300] == pytest.approx(1e-3)
    assert ("score/raw", 200) not in found
    assert not any(tag.startswith("evidence") for tag, _ in found)


def test_run_decisions_and_result_are_there_too(tmp_path: Path):
    logger = TensorBoardLogger(tmp_path / "logs")
    tell(logger, tmp_path)
    assert logger.log_dir == tmp_path / "logs" / "20261123-1"
    words = texts(logger.log_dir)
    assert "ToyAgent on Toy-v0, seed 77, run 20261123-1" in words
    assert "best: new best score 20" in words
    assert "converged: no gain" in words
    assert scalars(logger.log_dir)["result/final_mean", 300] == 19.0


def test_a_second_run_goes_on_beside_the_first(tmp_path: Path):
    logger = TensorBoardLogger()
    for _ in range(2):
        tell(logger, tmp_path)
    assert logger.problem is None


def test_a_directory_that_cannot_be_written_is_told_and_costs_nothing(tmp_path: Path):
    told: list[str] = []
    (tmp_path / "file").write_text("")
    logger = TensorBoardLogger(tmp_path / "file", tell=told.append)
    tell(logger, tmp_path)
    assert len(told) == 1
    assert "TensorBoardLogger has stopped logging" in told[0]
