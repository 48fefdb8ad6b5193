"""Saving and loading take little more memory than the arrays themselves, and running out of it harms nothing."""

import resource
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fault_scenarios import SOUND, QuickFileSystem, in_child

from tensor_optix.errors import CheckpointError
from tensor_optix.storage import SnapshotStore
from tensor_optix.storage import array_format as array_format_module

MB = 1 << 20
N_ARRAYS, ARRAY_BYTES = 16, 4 * MB


def arrays(order: str = "C") -> dict[str, np.ndarray]:
    """64 MB."""
    shape = (1024, ARRAY_BYTES // 4 // 1024)
    return {f"layer-{n}": np.full(shape, n, np.float32, order=order) for n in range(N_ARRAYS)}  # type: ignore[call-overload]


def peak_of(act: Callable[[], object]) -> int:
    """Bytes that ``act`` had at once beyond what was there before."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(SOUND, tmp_path / "snapshots")


def test_a_save_copies_no_array(store: SnapshotStore) -> None:
    given = arrays()
    assert peak_of(lambda: store.commit({}, given, {})) < 1 * MB


def test_a_save_of_arrays_in_another_order_copies_one_at_a_time(store: SnapshotStore) -> None:
    given = arrays("F")
    assert peak_of(lambda: store.commit({}, given, {})) < ARRAY_BYTES + 1 * MB


def test_a_load_holds_the_arrays_once(store: SnapshotStore) -> None:
    generation = store.commit({}, arrays(), {})
    assert peak_of(lambda: store.read(generation)) < N_ARRAYS * ARRAY_BYTES + 4 * MB


class OutOfMemory(QuickFileSystem):
    """No memory is left at the ``n``-th write."""

    def __init__(self, n: int) -> None:
        self.n = n

    def _write_all(self, descriptor: int, data: bytes | memoryview) -> None:
        self.n -= 1
        if self.n == -1:
            raise MemoryError
        super()._write_all(descriptor, data)


def attempts(store: SnapshotStore) -> Iterator[CheckpointError]:
    """What commits said that ran out of memory, each at another write, until one succeeds."""
    for n in range(100):
        try:
            SnapshotStore(OutOfMemory(n), store.directory).commit({}, {"w": np.ones(3)}, {})
        except CheckpointError as error:
            yield error
        else:
            return


def test_a_save_that_runs_out_of_memory_anywhere_is_a_failed_commit_that_harms_nothing(store: SnapshotStore) -> None:
    first = store.commit({}, {"w": np.zeros(3)}, {})
    n_failures = 0
    for error in attempts(store):
        n_failures += 1
        assert "out of memory; free some memory" in error.reason
        assert isinstance(error.__cause__, MemoryError)
        assert SOUND.names(store.directory) == [f"{first:012d}"]
        assert (store.read(first).arrays["w"] == 0).all()
    assert n_failures == 4  # the arrays' header and data, the state, the manifest


def test_arrays_that_do_not_fit_into_memory_are_told_and_not_taken_for_damage(
    store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: object) -> None:
        raise MemoryError

    generation = store.commit({}, {"w": np.zeros(3)}, {})
    monkeypatch.setattr(array_format_module.np, "empty", too_much)
    with pytest.raises(CheckpointError, match="does not fit into memory") as caught:
        store.read(generation)
    assert isinstance(caught.value.__cause__, MemoryError)


def test_a_process_with_little_memory_left_can_save(store: SnapshotStore) -> None:
    """64 MB in place; then one array of 64 MB that would have to be copied: no memory, and nothing is lost."""
    given, large = arrays(), {"w": np.asfortranarray(np.ones((4096, 4096), np.float32))}

    def with_little_left(say: Callable[[str], None]) -> None:
        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + 24 * MB, in_use + 24 * MB))
        say(f"saved {store.commit({}, given, {})}")
        try:
            store.commit({}, large, {})
        except CheckpointError as error:
            say("no memory" if isinstance(error.__cause__, MemoryError) else str(error))

    status, said = in_child(with_little_left)
    assert (status, said) == (0, {"saved 1", "no memory"})
    assert SOUND.names(store.directory) == ["000000000001"]
    assert (store.read(1).arrays["layer-7"] == 7).all()
