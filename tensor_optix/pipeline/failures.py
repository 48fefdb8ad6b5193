"""How often may an environment fail before it is given up?"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

MAX_IN_A_ROW = 3
"""So often an environment is built anew before an env episode has to end by itself in between."""
MAX_AN_HOUR = 10
"""One that fails more often than this is not repaired by building it anew, even if some env episodes end well."""
HOUR_SECONDS = 3600.0


class Failures:
    """Counts those of one environment.

    clock: seconds that only go forward. The hour is that of this process: a resumed run starts it anew.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=MAX_AN_HOUR)
        self.in_a_row = 0

    def verdict(self) -> str | None:
        """Why the environment is to be given up when it fails now; None where it may be built anew."""
        if self.in_a_row >= MAX_IN_A_ROW:
            return f"it was built anew {MAX_IN_A_ROW} times in a row and failed again"
        if len(self._times) == MAX_AN_HOUR and self._clock() - self._times[0] < HOUR_SECONDS:
            return f"it was built anew {MAX_AN_HOUR} times within an hour and failed again"
        return None

    def add(self) -> None:
        """It failed, and is built anew."""
        self.in_a_row += 1
        self._times.append(self._clock())

    def episode_ended(self) -> None:
        """An env episode ended by itself."""
        self.in_a_row = 0
