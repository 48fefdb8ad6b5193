"""A million damaged snapshots (or as many as the variable says); about half an hour on one core.

    TENSOR_OPTIX_FUZZ=1000000 python -m pytest tests/long/test_fuzz_long.py --timeout 14400
"""

import os
from pathlib import Path

import pytest

from tests.security.fuzzing import fuzz

N_DISKS = int(os.environ.get("TENSOR_OPTIX_FUZZ", "0"))


@pytest.mark.skipif(N_DISKS == 0, reason="set TENSOR_OPTIX_FUZZ to the number of snapshots to damage")
def test_no_damage_crashes_hangs_or_loads_what_was_never_saved(tmp_path: Path) -> None:
    report = fuzz(N_DISKS, seed=1, root=tmp_path)
    assert report.findings == []
    assert report.slowest_seconds < 2
