import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensor_optix.core.replay_rows import rows_of
from tensor_optix.core.state import join_state, misfit, split_state
from tensor_optix.core.transition_ring import TransitionRing
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError
from tests.core.replay_worlds import LabelledEnvs, TransitionList


def contents(ring, n_step, gamma):
    """Every stored row: observation -> (n-step reward, next observation, discount, steps used)."""
    rows = ring.transitions(np.arange(len(ring)), n_step=n_step, gamma=gamma)
    labels = [tuple(label) for label in rows["observation"].tolist()]
    successors = [tuple(label) for label in rows["next_observation"].tolist()]
    targets = zip(rows["reward"], successors, rows["discount"], rows["n_used"], strict=True)
    return dict(zip(labels, targets, strict=True))


def assert_equal_targets(found, expected):
    assert found.keys() == expected.keys()
    for label, (reward, successor, discount, used) in expected.items():
        assert found[label][1] == successor, label
        assert found[label][3] == used, label
        np.testing.assert_allclose([found[label][0], found[label][2]], [reward, discount], rtol=1e-5, atol=1e-5)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    capacity=st.integers(1, 40),
    n_envs=st.integers(1, 4),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    n_step=st.integers(1, 6),
    break_rate=st.sampled_from([0.0, 0.3]),
)
def test_a_ring_holds_what_a_plain_list_of_transitions_holds(seed, capacity, n_envs, lengths, n_step, break_rate):
    rng = np.random.default_rng(seed)
    envs, plain, ring = LabelledEnvs(n_envs, rng), TransitionList(capacity), TransitionRing(capacity)
    for length in lengths:
        data, rows = envs.window(length)
        plain.add(rows)
        ring.append(rows_of(data))
        assert_equal_targets(contents(ring, n_step, 0.9), plain.targets(n_step, 0.9))
        if rng.random() < break_rate:
            envs.break_off()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), capacity=st.integers(1, 40), before=st.integers(0, 8))
def test_a_ring_that_was_saved_and_loaded_goes_on_identically(seed, capacity, before):
    envs, ring = LabelledEnvs(3, np.random.default_rng(seed)), TransitionRing(capacity)
    for _ in range(before):
        ring.append(rows_of(envs.window(5)[0]))
    state = join_state(*split_state(ring.state_dict()))
    assert misfit(state, TransitionRing(capacity).state_dict()) is None
    fresh = TransitionRing.from_state(capacity, state)
    for _ in range(4):
        data, _ = envs.window(5)
        assert ring.append(rows_of(data)).tolist() == fresh.append(rows_of(data)).tolist()
        ours, theirs = (r.transitions(np.arange(len(ring)), n_step=3, gamma=0.9) for r in (ring, fresh))
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def chain(rewards, first, *, terminated=False, truncated=False, is_last_known=True):
    """A window of one environment that observes first, first + 1, ..."""
    n = len(rewards)
    ends = [False] * (n - 1)
    observations = np.arange(first, first + n, dtype=np.float32)[:, None]
    finals = {n - 1: np.array([first + n], dtype=np.float32)} if is_last_known else {}
    return EpisodeData(
        observations, np.zeros(n, dtype=np.int8), list(rewards), [*ends, terminated], [*ends, truncated],
        [{}] * n, 0, final_observations=finals,
    )  # fmt: skip


def targets(ring, n_step, gamma):
    rows = ring.transitions(np.arange(len(ring)), n_step=n_step, gamma=gamma)
    return rows["reward"].tolist(), rows["next_observation"][:, 0].tolist(), rows["discount"].tolist()


def test_n_step_targets_of_a_terminated_chain_are_those_worked_out_by_hand():
    ring = TransitionRing(10)
    ring.append(rows_of(chain([1.0, 2.0, 4.0, 8.0], 0, terminated=True)))
    reward, successor, discount = targets(ring, 3, 0.5)
    assert reward == [1 + 1 + 1, 2 + 2 + 2, 4 + 4, 8]
    assert successor == [3, 4, 4, 4]
    assert discount == [0.125, 0, 0, 0]


def test_a_truncated_chain_bootstraps_from_its_final_observation_with_the_steps_it_has():
    ring = TransitionRing(10)
    ring.append(rows_of(chain([1.0, 2.0, 4.0, 8.0], 0, truncated=True)))
    reward, successor, discount = targets(ring, 3, 0.5)
    assert reward == [3, 6, 8, 8]
    assert successor == [3, 4, 4, 4]
    assert discount == [0.125, 0.125, 0.25, 0.5]


def test_the_open_end_of_a_window_waits_for_the_next_window():
    ring = TransitionRing(10)
    ring.append(rows_of(chain([1.0, 2.0], 0)))
    assert targets(ring, 3, 0.5) == ([2, 2], [2, 2], [0.25, 0.5])
    ring.append(rows_of(chain([4.0, 8.0], 2, terminated=True)))
    assert targets(ring, 3, 0.5) == ([3, 6, 8, 8], [3, 4, 4, 4], [0.125, 0, 0, 0])


def test_a_window_that_starts_elsewhere_continues_nothing():
    ring = TransitionRing(10)
    ring.append(rows_of(chain([1.0, 2.0], 0)))
    ring.append(rows_of(chain([4.0, 8.0], 50)))
    assert targets(ring, 3, 0.5) == ([2, 2, 8, 8], [2, 2, 52, 52], [0.25, 0.5, 0.25, 0.5])


@pytest.mark.parametrize(("end", "discounts"), [("terminated", [0, 0]), ("truncated", [0.25, 0.5])])
def test_an_ended_chain_goes_on_nowhere_even_if_the_next_starts_where_it_ended(end, discounts):
    ring = TransitionRing(10)
    ring.append(rows_of(chain([1.0, 2.0], 0, **{end: True})))
    ring.append(rows_of(chain([4.0, 8.0], 2)))
    reward, successor, discount = targets(ring, 3, 0.5)
    assert (reward[:2], successor[:2], discount[:2]) == ([2, 2], [2, 2], discounts)


def test_a_last_row_whose_successor_nobody_recorded_is_left_out_and_still_ends_the_row_before():
    ring = TransitionRing(10)
    ring.append(rows_of(chain([1.0, 2.0, 4.0], 0, is_last_known=False)))
    assert targets(ring, 2, 0.5) == ([2, 2], [2, 2], [0.25, 0.5])
    ring.append(rows_of(chain([8.0], 2, is_last_known=False)))
    assert len(ring) == 2


def test_a_termination_needs_no_recorded_successor():
    ring = TransitionRing(10)
    ring.append(rows_of(chain([1.0, 2.0], 0, terminated=True, is_last_known=False)))
    reward, _, discount = targets(ring, 2, 0.5)
    assert (reward, discount) == ([2, 2], [0, 0])


def test_types_of_the_data_are_kept_and_widened_only_where_they_must():
    ring = TransitionRing(10)
    images = EpisodeData(
        np.full((2, 4, 4), 255, dtype=np.uint8), np.zeros(2, dtype=np.int8), [1.0, 1.0], [False, True], [False] * 2,
        [{}] * 2, 0, final_observations={1: np.zeros((4, 4), dtype=np.uint8)},
    )  # fmt: skip
    ring.append(rows_of(images))
    rows = ring.transitions(np.arange(2), n_step=1, gamma=0.9)
    assert rows["observation"].dtype == rows["next_observation"].dtype == np.uint8
    assert rows["action"].dtype == np.int8
    images.actions = np.full(2, 0.5, dtype=np.float32)
    ring.append(rows_of(images))
    assert ring.transitions(np.arange(4), n_step=1, gamma=0.9)["action"].tolist() == [0, 0, 0.5, 0.5]


def test_what_does_not_fit_is_refused_by_name():
    ring = TransitionRing(4)
    ring.append(rows_of(chain([1.0], 0)))
    wide = chain([1.0], 0)
    wide.observations, wide.final_observations = np.zeros((1, 3), dtype=np.float32), {0: np.zeros(3, np.float32)}
    with pytest.raises(ConfigError, match=r"observation has shape \(3,\)"):
        ring.append(rows_of(wide))
    with pytest.raises(ConfigError, match="capacity must lie in"):
        TransitionRing(0)
    short = chain([1.0, 2.0], 0)
    short.actions = np.zeros(1)
    with pytest.raises(ConfigError, match="equally long"):
        rows_of(short)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.update(capacity=5),
        lambda state: state.update(head=99),
        lambda state: state.update(open_rows=[7]),
        lambda state: state["links"].update(link=np.array([1, 2, 99, -1], dtype=np.int32)),
        lambda state: state["links"].update(link=np.array([1, 2, 3, -99], dtype=np.int32)),
        lambda state: state["finals"].update(free=np.array([999])),
    ],
)
def test_a_stored_ring_that_contradicts_itself_is_refused(spoil):
    ring = TransitionRing(4)
    ring.append(rows_of(chain([1.0, 2.0, 4.0, 8.0], 0)))
    state = ring.state_dict()
    assert targets(TransitionRing.from_state(4, state), 2, 0.5) == targets(ring, 2, 0.5)
    spoil(state)
    with pytest.raises(ConfigError, match="the stored replay"):
        TransitionRing.from_state(4, state)


def test_final_observations_are_given_up_with_their_rows():
    envs, ring = LabelledEnvs(2, np.random.default_rng(0)), TransitionRing(50)
    sizes = set()
    for round_ in range(300):
        ring.append(rows_of(envs.window(5)[0]))
        if round_ > 50:
            sizes.add(ring.nbytes)
    assert len(sizes) == 1
