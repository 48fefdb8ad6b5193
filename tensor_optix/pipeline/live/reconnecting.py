"""When is a feed that was lost asked again, and when is it given up?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 60.0


@dataclass(frozen=True)
class Outage:
    """Failures in a row since the last record. began: when the first of them was seen; None while all is well."""

    failures: int = 0
    began: float | None = None

    def after_failure(self, now: float) -> Outage:
        """Another connection was lost or refused."""
        return Outage(self.failures + 1, now if self.began is None else self.began)

    def seconds(self, now: float) -> float:
        """For how long nothing has come."""
        return 0.0 if self.began is None else now - self.began

    def delay(self, rng: np.random.Generator) -> float:
        """Seconds to wait before the next attempt: exponential back-off with full jitter (Brooker 2015).

            delay_k ~ U(0, min(60, 0.5 · 2^k)),   k = failures - 1
        """
        longest = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(self.failures - 1, 30))
        return float(rng.uniform(0.0, longest))
