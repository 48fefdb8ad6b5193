"""A damaged snapshot is refused or comes back as it was saved; nothing in between."""

from pathlib import Path

import numpy as np
import pytest

from tensor_optix.storage import archive
from tests.security.fuzzing import DAMAGES, damage, fuzz, sound_disk

N_DISKS = 20_000  # a million by tests/long/test_fuzz_long.py


@pytest.mark.timeout(300)
def test_no_damage_crashes_hangs_or_loads_what_was_never_saved(tmp_path: Path) -> None:
    report = fuzz(N_DISKS, seed=0, root=tmp_path)
    assert report.findings == []
    assert report.slowest_seconds < 2
    assert sum(report.outcomes.values()) == N_DISKS
    assert set(report.outcomes) == {"refused", "loaded 1", "loaded 2", "loaded what was forged"}


def test_every_kind_of_damage_does_damage(tmp_path: Path) -> None:
    disk, _ = sound_disk(tmp_path)
    damages = [damage(disk, np.random.default_rng(number)) for number in range(300)]
    assert {kind for kind, damaged in damages if damaged != disk} == set(DAMAGES)


def test_without_the_manifests_own_hash_wrong_loads_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Anything(str):
        __hash__ = str.__hash__

        def __ne__(self, other: object) -> bool:
            return False

    monkeypatch.setattr(archive, "_digest", lambda path, fields: Anything(""))
    report = fuzz(1000, seed=0, root=tmp_path)
    assert any("never saved" in finding for finding in report.findings)
