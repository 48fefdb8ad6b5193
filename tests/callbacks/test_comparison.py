import re
from pathlib import Path
from typing import Any

import pytest
from report_parts import NASTY, Text, a_record, a_row

from tensor_optix.callbacks.comparison import Group, comparison_page, write_comparison


def a_group(environment: str = "Toy-v0", name: str = "ppo", n: int = 3, **changes: Any) -> Group:
    scores = tuple(480.0 + number for number in range(n))
    runs = tuple(a_record(run_id=f"run-{number}") for number in range(n))
    return Group(environment, name, runs, scores, **{"iqm": 481.0, "low": 480.0, "high": 482.0, **changes})


def test_each_group_has_its_interquartile_mean_with_an_interval_and_every_run_a_row() -> None:
    pytest.importorskip("matplotlib")
    page = comparison_page([a_group(), a_group(name="dqn", iqm=123.4), a_group("Other-v0", n=1)])
    text = " ".join(Text(page).words)
    assert "7 runs of Toy-v0, Other-v0" in text
    assert "ppo 3 481.0 480.0 to 482.0 51,200" in text
    assert "dqn 3 123.4" in text
    assert text.count("run-") == 7
    assert page.count("<svg") == 2 * (2 + 1)  # no interval of a single run


def test_environments_are_never_in_one_picture() -> None:
    pytest.importorskip("matplotlib")
    page = comparison_page([a_group("A-v0"), a_group("B-v0")])
    assert page.index("<h2>A-v0") < page.index("<svg") < page.index("<h2>B-v0")
    found = [set(re.findall(r'(?:href="|url\()#([^")]+)', part)) for part in page.split("<h2>")[1:3]]
    assert found[0].isdisjoint(found[1])


def test_no_text_of_a_run_becomes_markup() -> None:
    pytest.importorskip("matplotlib")
    page = comparison_page([a_group(NASTY, NASTY, n=2)])
    assert "<script" not in page
    assert Text(page).active == []
    assert not {"\x1b", "\u202e"} & set(page)


def test_runs_without_any_tick_still_have_a_page(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    empty = a_group(n=1)
    empty = Group(empty.environment, empty.name, (a_record(metrics=[a_row(0)][:0]),), (1.0,), 1.0, 1.0, 1.0)
    assert write_comparison([empty], tmp_path / "below" / "c.html").read_text().startswith("<!doctype html>")
