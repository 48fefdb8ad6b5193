"""The pages as a browser shows them: nothing in the console, nothing cut off, at two widths, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, missing_programs
from report_parts import NASTY, a_record, a_row, an_event

from tensor_optix.callbacks.comparison import Group, write_comparison
from tensor_optix.callbacks.report import write_report
from tensor_optix.storage import FileSystem, RunDirectory

pytestmark = pytest.mark.skipif(bool(missing_programs()), reason=f"needs {' and '.join(missing_programs())}")
PIXEL = bytes.fromhex("47494638396101000100800000ffffff0000002c00000000010001000002024401003b")
"""A GIF of one point."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report with everything in it, and a comparison."""
    pytest.importorskip("matplotlib")
    where = tmp_path_factory.mktemp("pages")
    rows = [a_row(n, "ACTIVE" if n < 8 else "COOLING", interval=1 + n // 3,
                  metrics={"val_score": 8.0 * n, "generalization_gap": 2.0 * n, "learning_rate": 1e-4 * 2**n})
            for n in range(12)]  # fmt: skip
    told = [an_event("best", n) for n in range(12)]
    told += [an_event("not adopted", 9, NASTY, spawn=1), an_event("rolled back", 9, "x" * 300), an_event(NASTY, 9)]
    record = a_record(metrics=rows, events=told)
    run = RunDirectory.create(FileSystem(), where, "one", record.identity)
    for row in rows:
        run.append_metrics(row)
    for event in told:
        run.append_event(event)
    run.update_summary(record.summary)
    FileSystem().ensure_directory(run.path / "media")
    (run.path / "media" / "best.gif").write_bytes(PIXEL)
    groups = [Group("Toy-v0", name, (record, record), (1.0, 2.0), 1.5, 1.0, 2.0) for name in ("ppo", NASTY)]
    return {"report": write_report(run.path), "comparison": write_comparison(groups, where / "comparison.html")}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [400, 1100])
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_a_page_is_readable(browser: Browser, pages: dict[str, Path], name: str, width: int, is_dark: bool) -> None:
    browser.open(pages[name], width=width, is_dark=is_dark)
    assert browser.console() == []
    assert browser.value("return document.documentElement.scrollWidth") == width  # nothing sticks out
    shown = browser.value("return [...document.querySelectorAll('figure svg')].filter(s => s.clientWidth > 0).length")
    assert shown == (4 if name == "report" else 2)  # each picture once: the wide or the narrow one
    page = browser.value("return getComputedStyle(document.body).backgroundColor")
    ink = browser.value("return getComputedStyle(document.body).color")
    assert (page == "rgb(13, 17, 23)") == is_dark
    assert page != ink
    text = browser.value("return getComputedStyle(document.querySelector('svg text')).fill")
    assert text == ink  # letters of the pictures follow the page
    assert browser.value("return document.scripts.length") == 0


def test_boxes_filter_the_decisions_and_films_are_shown(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["report"], width=1100, is_dark=False)
    count = "return [...document.querySelectorAll('tr.k0')].filter(row => row.offsetHeight > 0).length"
    assert browser.value(count) == 0  # so many new bests are hidden at first
    browser.value("document.getElementById('k0').click()")
    assert browser.value(count) == 12
    assert browser.value("return document.querySelector('img').naturalWidth") == 1
