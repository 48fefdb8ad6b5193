"""Rows and records as a run leaves them, and a reader of the pages that are made from them."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from tensor_optix.callbacks._report_page import Pictures, RunRecord, report_page

NASTY = "<script>alert(1)</script>&\"'\x1b[2J\u202e"


def a_row(window: int, state: str = "ACTIVE", **changes: Any) -> dict[str, Any]:
    row = {
        "window": window, "env_steps": 100 * (window + 1), "seconds": 0.5 * window, "score": 10.0 * window,
        "smoothed": 9.0 * window, "best": 10.0 * window, "state": state, "verdict": "improving", "interval": 1,
        "improved": True, "evaluation_point": True, "metrics": {}, "evidence": {},
        "hyperparams": {"learning_rate": 3e-4, "gamma": 0.99},
    }  # fmt: skip
    return {**row, **changes}


def an_event(kind: str, window: int, text: str = "because", **evidence: Any) -> dict[str, Any]:
    return {"kind": kind, "window": window, "env_steps": 100, "seconds": 1.0, "text": text, "evidence": evidence}


def a_record(**changes: Any) -> RunRecord:
    final = {"mean": 481.5, "low": 470.25, "high": 490.0, "returns": [480.0] * 20, "deterministic": True}
    values: dict[str, Any] = {
        "run_id": "20261123-1", "identity": {"environment": "Toy-v0", "seed": 77, "agent": "ToyAgent",
                                             "settings": {"target_score": 475},
                                             "hyperparams": {"learning_rate": 1e-3, "gamma": 0.99}},
        "summary": {"reason": "converged", "explanation": "no gain", "score": 487.0, "windows": 3, "env_steps": 51200,
                    "evaluation_steps": 900, "seconds": 75.0, "final": final, "notes": []},
        "metrics": [a_row(0), a_row(1), a_row(2, "DORMANT")], "events":
        [an_event("best", 1, snapshot="4"), an_event("target", 1)],
    }  # fmt: skip
    return RunRecord(**{**values, **changes})


def a_page(record: RunRecord, command: str | None = "tox train Toy-v0 --seed 77") -> str:
    pictures = Pictures(("<svg></svg>", ""), films={"the best policy": b"GIF89a"})
    return report_page(record, pictures, command=command, versions={"numpy": "2"})


class Text(HTMLParser):
    """The words of a page, and the tags that could load or run something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.active: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe") or any(
            name.startswith("on") or (name == "src" and not (value or "").startswith("data:")) for name, value in attrs
        ):
            self.active.append(tag)
