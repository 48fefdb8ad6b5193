"""What is said, and when."""

import io

from tensor_optix.core.reporting import EvaluationPoints, LineReporter, Progress, evaluation_line
from tensor_optix.core.types import LoopState, Verdict


def progress(**changes) -> Progress:
    fields = {
        "window": 16, "env_steps": 100, "seconds": 1.0, "state": LoopState.ACTIVE, "verdict": Verdict.FLAT,
        "interval": 8, "score": 208.1, "smoothed": 136.94, "best": 208.1, "improved": False,
        "is_evaluation_point": True, "explanation": "", "metrics": {}, "hyperparams": {}, "evidence": {},
    }  # fmt: skip
    return Progress(**{**fields, **changes})


def test_the_line_has_the_documented_format():
    assert evaluation_line(progress()) == "[loop] ep=  16  raw=  208.1  smoothed=  136.9  state=ACTIVE  interval=8"


def test_an_improvement_is_marked():
    assert evaluation_line(progress(improved=True, interval=1)).endswith("interval=1  ← improvement detected, reset")


def test_an_absent_score_reads_n_a():
    line = evaluation_line(progress(score=None, smoothed=None))
    assert line == "[loop] ep=  16  raw=    n/a  smoothed=    n/a  state=ACTIVE  interval=8"


def test_lines_appear_at_evaluation_points_only():
    out = io.StringIO()
    reporter = LineReporter(out)
    reporter.progressed(progress(is_evaluation_point=False))
    assert out.getvalue() == ""
    reporter.progressed(progress())
    assert out.getvalue().count("\n") == 1


def test_a_point_lies_every_interval_windows_and_at_every_improvement():
    points = EvaluationPoints()
    windows = [(1, False), (2, False), (2, False), (4, False), (4, False), (1, True), (2, False), (2, False)]
    due = [points.is_due(interval, improved) for interval, improved in windows]
    assert due == [True, False, True, False, False, True, False, True]
