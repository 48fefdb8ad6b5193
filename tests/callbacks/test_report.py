import re
import sys
from pathlib import Path

import pytest
from report_parts import NASTY, Text, a_page, a_record, a_row, an_event

from tensor_optix.callbacks._report_curve import best_marks, curve_png, curve_svg, rollback_steps, state_bands
from tensor_optix.callbacks._report_log import MAX_DECISIONS
from tensor_optix.callbacks._report_page import hyperparam_changes
from tensor_optix.callbacks._report_series import gap_svg, hyperparams_svg, staircase_svg
from tensor_optix.callbacks._report_theme import COLOURS, DARK_COLOURS, MAX_POINTS, thinned
from tensor_optix.callbacks.report import ReportWriter
from tensor_optix.core.types import RunResult, StopReason, Verdict
from tensor_optix.storage import FileSystem, RunDirectory


def test_the_page_says_verdict_five_numbers_and_how_to_do_it_again() -> None:
    text = " ".join(Text(a_page(a_record())).words)
    parts = [
        "Converged : no gain.", "481.5", "95 %: 470.2 to 490.0; 20 episodes, deterministic", "487.0", "51,200",
        "0:01:15", "3 windows", "tox train Toy-v0 --seed 77", "numpy 2", "ToyAgent", "best because",
        "target 475 reached at 100 steps",
    ]  # fmt: skip
    assert [part for part in parts if part not in text] == []


def test_a_spent_budget_is_not_called_convergence() -> None:
    summary = {"reason": "max_steps", "explanation": "the budget is used up"}
    text = " ".join(Text(a_page(a_record(summary=summary, metrics=[], events=[]))).words)
    assert "Not converged : the budget is used up." in text
    assert "not evaluated" in text


def test_no_text_of_a_run_becomes_markup() -> None:
    record = a_record(
        identity={"environment": NASTY, "seed": NASTY, "agent": NASTY, "hyperparams": {NASTY: NASTY}},
        summary={"reason": NASTY, "explanation": NASTY, "notes": [NASTY]},
        metrics=[a_row(0, hyperparams={NASTY: NASTY})],
        events=[an_event(NASTY, 0, NASTY, **{NASTY: NASTY})],
        run_id=NASTY,
    )
    page = a_page(record, command=NASTY)
    assert "<script" not in page
    assert Text(page).active == []
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_the_page_loads_nothing_from_anywhere() -> None:
    page = a_page(a_record())
    assert not re.search(r"href=|url\(|@import|https?:|src=\"(?!data:image/gif;base64,)", page)
    assert "default-src 'none'" in page


def test_hyperparameters_show_start_end_and_when_they_changed() -> None:
    changed = a_row(2, hyperparams={"learning_rate": 1e-4, "gamma": 0.99})
    rows = [a_row(0), a_row(1), changed]
    assert hyperparam_changes(rows) == {"learning_rate": [300]}
    text = " ".join(Text(a_page(a_record(metrics=rows))).words)
    assert "learning_rate 0.001 0.0001 1, the last at 300 steps" in text
    assert "gamma 0.99 0.99 none" in text


def test_a_long_log_of_decisions_is_cut_and_says_so() -> None:
    page = a_page(a_record(events=[an_event("best", n) for n in range(MAX_DECISIONS + 7)]))
    assert "7 earlier ones are in events.jsonl" in page
    assert page.count("because") == MAX_DECISIONS


def test_bands_cover_the_run_without_gaps() -> None:
    states = ("ACTIVE", "ACTIVE", "COOLING", "ACTIVE")
    bands = state_bands([a_row(n, state) for n, state in enumerate(states)])
    assert bands == [("ACTIVE", 100, 200), ("COOLING", 200, 300), ("ACTIVE", 300, 400)]


def test_marks_stand_at_the_scores_of_policies_that_became_the_best() -> None:
    events = [an_event("best", 1), an_event("tuned", 2), an_event("best", 99)]
    assert best_marks([a_row(0), a_row(1), a_row(2)], events) == [(100.0, 10.0)]
    validated = [an_event("best", 1, score=7.5)]  # chosen by validation
    assert best_marks([a_row(0), a_row(1)], validated) == [(100.0, 7.5)]


def test_the_curve_takes_its_colours_from_the_page() -> None:
    pytest.importorskip("matplotlib")
    assert COLOURS.keys() == DARK_COLOURS.keys()
    states = ("ACTIVE", "COOLING", "ACTIVE", "DORMANT")
    svg = curve_svg([a_row(n, state) for n, state in enumerate(states)], [an_event("best", 1)])
    assert svg.startswith('<svg role="img"')
    for name in ("ink", "raw", "smoothed", "best", "active", "cooling", "dormant"):
        assert f"var(--curve-{name})" in svg
    assert not any(colour in svg for colour in COLOURS.values())
    for label in ("ACTIVE", "COOLING", "DORMANT", "best so far"):
        assert svg.count(f">{label}<") == 1


def test_the_curve_shows_validation_target_and_rollbacks() -> None:
    pytest.importorskip("matplotlib")
    rows = [a_row(n, metrics={"val_score": 8.0 * n}) for n in range(3)]
    svg = curve_svg(rows, [an_event("rolled back", 1)], target=25.0)
    for label in ("validation", "target", "rolled back"):
        assert svg.count(f">{label}<") == 1
    assert rollback_steps([an_event("best", 1), an_event("rolled back", 2)]) == [100.0]
    assert ">target<" not in curve_svg(rows, [], target=1e6)  # it would press the curve flat


def test_what_did_not_move_has_no_picture() -> None:
    pytest.importorskip("matplotlib")
    rows = [a_row(0), a_row(1)]
    assert gap_svg(rows, is_narrow=False) is None
    assert staircase_svg(rows, is_narrow=False) is None
    assert hyperparams_svg(rows, [], is_narrow=False) is None


def test_gap_staircase_and_hyperparameters_are_drawn_where_they_move() -> None:
    pytest.importorskip("matplotlib")
    rows = [a_row(n, interval=n + 1, metrics={"generalization_gap": 1.0 * n, "learning_rate": 1e-4 * 2**n})
            for n in range(4)]  # fmt: skip
    probe = [an_event("tuned", 1, learning_rate=1e-4)]
    for is_narrow in (False, True):
        assert "train − val" in (gap_svg(rows, is_narrow=is_narrow) or "")
        assert "windows" in (staircase_svg(rows, is_narrow=is_narrow) or "")
        assert ">learning_rate<" in (hyperparams_svg(rows, probe, is_narrow=is_narrow) or "")


def test_the_report_tells_a_rate_that_a_controller_inside_the_agent_has_moved() -> None:
    rows = [a_row(0), a_row(1, metrics={"learning_rate": 1.5e-3})]
    text = " ".join(Text(a_page(a_record(metrics=rows))).words)
    assert "learning_rate 0.001 0.0015 1, the last at 200 steps" in text


def test_a_validated_tick_shows_what_was_in_force_too() -> None:
    rows = [a_row(0, metrics={"learning_rate": 1e-3}), a_row(1, metrics={"train_learning_rate": 1e-3})]
    assert hyperparam_changes(rows) == {}


def test_what_the_environment_reports_has_a_table() -> None:
    rows = [a_row(0, metrics={"success_rate": 0.25, "info/laps": 2.0}), a_row(1, metrics={"train_success_rate": 0.5})]
    text = " ".join(Text(a_page(a_record(metrics=rows))).words)
    assert "success_rate 0.25 0.5 0.5 info/laps 2 2 2" in text
    assert "Reported by the environment" not in a_page(a_record())


def test_a_long_series_is_thinned_and_keeps_its_end() -> None:
    rows = [a_row(n) for n in range(10 * MAX_POINTS + 3)]
    kept = thinned(rows)
    assert len(kept) <= MAX_POINTS + 1
    assert kept[-1] == rows[-1]


def test_variants_have_a_table() -> None:
    told = an_event("not adopted", 3, "no gain could be shown", spawn=2, noise=0.125, gain=-1.5, n_pairs=9)
    text = " ".join(Text(a_page(a_record(events=[told]))).words)
    assert "2 0.125 -1.5 9 not adopted no gain could be shown" in text


def test_decisions_are_filtered_by_boxes_that_need_no_script() -> None:
    events = [an_event("best", n) for n in range(20)] + [an_event("</style>", 1)]
    page = a_page(a_record(events=events))
    assert "<label><input type=checkbox id=k0>best 20</label>" in page  # frequent: hidden at first
    assert "<label><input type=checkbox id=k1 checked>&lt;/style&gt; 1</label>" in page
    assert ".log:has(#k0:not(:checked)) .k0{display:none}" in page
    assert page.count("<tr class=k0>") == 20


def test_two_curves_in_one_page_never_refer_to_each_other() -> None:
    pytest.importorskip("matplotlib")
    rows, events = [a_row(0), a_row(1)], [an_event("best", 1)]
    curves = [curve_svg(rows, events, is_narrow=is_narrow) for is_narrow in (False, True)]
    wide, narrow = ({*re.findall(r'(?:href="|url\()#([^")]+)', svg)} for svg in curves)
    assert wide
    assert wide.isdisjoint(narrow)


def test_a_run_without_scores_still_has_a_picture() -> None:
    pytest.importorskip("matplotlib")
    assert "no policy was scored" in curve_svg([], [])
    assert curve_png([], [], title="$\\odd{$").startswith(b"\x89PNG")


# -- the callback ----------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A run as the loop leaves it to its callbacks: logged, summarised and still locked."""
    record = a_record()
    run = RunDirectory.create(FileSystem(), tmp_path, "one", record.identity)
    for row in record.metrics:
        run.append_metrics(dict(row))
    for row in record.events:
        run.append_event(dict(row))
    run.update_summary(record.summary)
    return run


def a_result(run: RunDirectory) -> RunResult:
    reason, verdict = StopReason.CONVERGED, Verdict.CONVERGED
    return RunResult(reason, verdict, "no gain", 487.0, None, 3, 300, 0, 1.0, run.path, None, 77)


def test_the_report_is_written_while_the_loop_still_holds_the_run(run: RunDirectory) -> None:
    pytest.importorskip("matplotlib")
    writer = ReportWriter()
    writer.on_stop(a_result(run))
    assert (writer.path, writer.problem) == (run.path / "report.html", None)
    page = (run.path / "report.html").read_text()
    assert "Toy-v0" in page
    assert "RLOptimizer(..., seed=77)" in page
    assert page.count("<svg") == 2
    assert (run.path / "progress.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_run_goes_on_and_the_remedy_is_told(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    writer = ReportWriter()
    writer.on_stop(a_result(run))
    assert writer.path is None
    assert writer.problem == 'the report needs matplotlib, which is not installed: pip install -e ".[report]"'
    assert "no report: the report needs matplotlib" in caplog.text  # in a script nobody reads ``problem``


def test_a_damaged_log_costs_the_report_but_not_the_run(run: RunDirectory) -> None:
    (run.path / "metrics.jsonl").write_text("no json\n")
    writer = ReportWriter()
    writer.on_stop(a_result(run))
    assert writer.path is None
    assert "metrics.jsonl: line 1" in str(writer.problem)
