"""A process may end before, after and within every single operation on the disk: nothing promised is ever lost."""

import shutil

import pytest
from fault_file_systems import CRASHED, CountingFileSystem, CrashFileSystem, crash_points
from fault_scenarios import Scenario, in_child, prepared, scenarios, tell


def crash_everywhere(scenario: Scenario) -> int:
    """Number of points at which the process was ended, each followed by the scenario's check."""
    rehearsal = CountingFileSystem()
    with prepared(scenario) as scratch:
        shutil.copytree(scratch / "prepared", scratch / "rehearsal")
        scenario.act(rehearsal, scratch / "rehearsal", lambda promise: None)
        points = crash_points(rehearsal.operations)
        for point in points:
            root = scratch / "crashed"
            shutil.copytree(scratch / "prepared", root)
            fs = CrashFileSystem(point)
            status, promises = in_child(lambda promise: scenario.act(fs, root, promise))  # noqa: B023
            assert status == CRASHED, f"{point} was not reached"
            try:
                scenario.check(root, promises, False)
            except AssertionError as error:
                error.add_note(f"after {point}, {rehearsal.operations[point.number]}, {promises}")
                raise
            shutil.rmtree(root)
    return len(points)


@pytest.mark.parametrize("scenario", scenarios(), ids=str)
def test_nothing_promised_is_lost_wherever_the_process_ends(scenario: Scenario) -> None:
    n_points = crash_everywhere(scenario)
    tell(f"{scenario}: {n_points} crash points")
    assert n_points > 0
