"""Nothing in a run directory can harm whoever reads it: every hostile input ends in one typed error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.security.hostile import Case, corpus

ROOT = Path(__file__).parents[2]
MAX_SECONDS, MAX_GROWTH_BYTES = 2.0, 64 << 20
MAX_TEXT = 500_000

CASES = corpus()

Outcomes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What a guarded process of its own made of the whole corpus."""
    scratch = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "tests.security.guarded_reading", str(scratch)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = map(json.loads, (scratch / "outcomes.jsonl").read_text().splitlines())
    return {row["case"]: row for row in rows}


def parameter(case: Case) -> Any:
    """A case with a name that any terminal can show."""
    return pytest.param(case, id=case.name[:80].encode("unicode_escape").decode())


def test_the_corpus_is_large_and_every_case_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len(CASES) >= 250
    assert all(case.refused_by for case in CASES)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", [parameter(case) for case in CASES])
def test_a_hostile_input_is_refused_and_harms_nothing(case: Case, outcomes: Outcomes) -> None:
    outcome = outcomes[case.name]
    readers = outcome["outcomes"]
    assert not outcome["canary"]
    assert [name for name in case.refused_by if readers[name]["error"] is None] == [], "accepted"
    for name, reader in readers.items():
        assert reader["forbidden"] == [], name
        assert reader["error"] is None or reader["typed"], f"{name}: {reader['error']}: {reader['text']}"
        assert reader["error"] is None or not reader["changed"], f"{name} changed the agent"
        assert reader["seconds"] <= MAX_SECONDS, name
        assert reader["text"].isprintable(), name
        assert len(reader["text"]) < MAX_TEXT, name
    assert outcome["growth"] <= MAX_GROWTH_BYTES
    assert all(line.isprintable() for line in outcome["log"])
