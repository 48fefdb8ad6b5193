"""Each promise of the documents is kept by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/explanation/promises.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
PROMISES = {promise: re.findall(r"`([^`]+)`", where) for promise, _, where in ROWS[1:]}


@pytest.mark.parametrize("promise", PROMISES)
def test_a_promise_names_tests_that_exist(promise: str) -> None:
    assert PROMISES[promise], "no tests are named"
    for where in PROMISES[promise]:
        path, _, name = where.partition("::")
        source = (TESTS / path).read_text()
        assert f"def {name}(" in source if name else "def test_" in source, where
