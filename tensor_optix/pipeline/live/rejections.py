"""How many records were refused, why, and are they too many?"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

from tensor_optix.pipeline.live.record import MalformedRecord

KEPT_SAMPLES, KEPT_BYTES = 3, 512
SPAN_RECORDS, MAX_SHARE = 100, 0.5
"""A feed with more refused records than this share of the last so many speaks another format."""


class Rejections:
    """Counts by reason, keeps the first few for people, and remembers the last hundred verdicts."""

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        self.samples: list[str] = []
        self._recent: deque[bool] = deque(maxlen=SPAN_RECORDS)
        self._n_recent = 0

    @property
    def is_alarming(self) -> bool:
        """True when most of the last hundred records were refused."""
        return len(self._recent) == SPAN_RECORDS and self._n_recent > MAX_SHARE * SPAN_RECORDS

    def accepted(self) -> None:
        """A good record."""
        self._note(False)

    def refused(self, item: Any, problem: MalformedRecord) -> None:
        """A bad one; ``item`` is what had arrived."""
        self.by_reason[problem.reason] += 1
        if len(self.samples) < KEPT_SAMPLES:
            self.samples.append(f"{problem.reason}: {problem}: {_shown(item)}"[:KEPT_BYTES])
        self._note(True)

    def state_dict(self) -> dict[str, Any]:
        """Counts, samples and the last verdicts."""
        return {"by_reason": dict(self.by_reason), "samples": list(self.samples), "recent": list(self._recent)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.by_reason, self.samples = Counter(state["by_reason"]), list(state["samples"])
        self._recent.clear()
        self._recent.extend(state["recent"])
        self._n_recent = sum(self._recent)

    def _note(self, is_bad: bool) -> None:
        if len(self._recent) == SPAN_RECORDS:
            self._n_recent -= self._recent[0]
        self._recent.append(is_bad)
        self._n_recent += is_bad


def _shown(item: Any) -> str:
    """The beginning of ``item`` as text, whatever it is: a text or bytes may be large, anything else deep."""
    if isinstance(item, str | bytes):
        return repr(item[:KEPT_BYTES])
    try:
        return repr(item)
    except Exception as error:  # noqa: BLE001 - the item is a stranger's, and only being shown
        return f"<{type(item).__name__} that cannot be shown: {type(error).__name__}>"
