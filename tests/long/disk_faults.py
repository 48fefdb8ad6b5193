"""Crash points, power loss, I/O errors and two writers, each scene repeated ``--count`` times in a row.

    python -m tests.long.disk_faults --count 1      what the test suite does, about a minute
    python -m tests.long.disk_faults --count 3      bounded to --minutes (default 30); it says where it stopped

Run it from the root of the project. Ends with status 1 at the first failure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "storage"))

from fault_file_systems import RecordingFileSystem
from fault_scenarios import Scenario, loading, scenarios, tell
from test_crash_points import crash_everywhere
from test_io_errors import fail_everywhere
from test_power_loss import lose_power_everywhere
from test_two_writers import race_for_the_lock, race_to_create, read_while_another_commits


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3, help="commits in a row, and tenths of races")
    parser.add_argument("--minutes", type=float, default=30.0, help="no new proof begins after this time")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    totals = dict.fromkeys(("crash points", "states after power loss", "I/O errors", "races", "reads"), 0)
    for scenario in scenarios(options.count):
        if time.monotonic() > end:
            tell(f"stopped before {scenario}")
            break
        totals["crash points"] += crash_everywhere(scenario)
        totals["states after power loss"] += power_loss_states(scenario)
        totals["I/O errors"] += fail_everywhere(scenario)
        tell(f"{scenario}: {totals}")
    totals["I/O errors"] += fail_everywhere(loading())
    with tempfile.TemporaryDirectory() as scratch:
        for n in range(10 * options.count):
            race_for_the_lock(Path(scratch), f"run-{n}")
            race_to_create(Path(scratch) / f"parent-{n}")
            totals["races"] += 2
        totals["reads"] = read_while_another_commits(Path(scratch) / "reader", 100 * options.count)
    tell(f"all sound: {totals}")
    return 0


def power_loss_states(scenario: Scenario) -> int:
    verdicts = lose_power_everywhere(scenario, RecordingFileSystem())
    if verdicts["lost"] or verdicts["accepted"]:
        raise AssertionError(f"{scenario}: {dict(verdicts)}")
    return verdicts.total()


if __name__ == "__main__":
    sys.exit(main())
