"""Windows from several environments: every form of environments, every autoreset mode."""

import itertools
import json
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pipeline_agents import ConstantAgent, RandomAgent

from tensor_optix import BatchPipeline, ConfigError, EnvError, VectorBatchPipeline, compute_gae
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.state import join_state, split_state
from tensor_optix.pipeline import action_history
from tensor_optix.testing import ConstantRewardChain, FailingEnv, LabelledEnv, SharedBufferEnv, TruncatedWalk

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]
LENGTHS = [(3, 5, 1), (4,), (2, 7), (10, 1, 1)]
CUT_AFTER = 6


def labelled(lengths=LENGTHS):
    """Factories; every one truncates what takes longer than CUT_AFTER steps."""
    return [
        lambda label=label, own=own: LabelledEnv(label, own, CUT_AFTER) for label, own in enumerate(lengths, start=1)
    ]


def seeded(env_fns=None, agent=None, window_size=8, seed=3, **keywords):
    pipeline = VectorBatchPipeline(env_fns, agent or RandomAgent(), window_size, **keywords)
    pipeline.seed(RandomStreams(seed))
    return pipeline


def take(pipeline, n):
    windows = pipeline.episodes()
    taken = [next(windows) for _ in range(n)]
    windows.close()
    return taken


def segment(window, index):
    """What a window says of one environment, row by row, in plain Python."""
    start, stop = window.row_ranges[index]
    rows = range(start, stop)
    successors = window.next_observations
    return [
        (window.observations[row].tolist(), window.rewards[row], successors[row].tolist(),
         window.terminated[row], window.truncated[row])
        for row in rows
    ]  # fmt: skip


def same(first, second):
    assert first.observations.tobytes() == second.observations.tobytes()
    assert first.actions.tobytes() == second.actions.tobytes()
    assert first.next_observations.tobytes() == second.next_observations.tobytes()
    for name in ("rewards", "terminated", "truncated", "episode_id", "metadata", "episode_starts", "segments",
                 "episode_returns", "episode_lengths", "episode_ends"):  # fmt: skip
        assert getattr(first, name) == getattr(second, name), name


def plain_transitions(label, lengths, cut_after):
    """The same environment as ``LabelledEnv``, written down as a loop over its transitions."""
    for episode in itertools.count():
        length = lengths[episode % len(lengths)]
        for step in range(min(length, cut_after)):
            terminated = step + 1 == length
            truncated = step + 1 == cut_after and not terminated
            yield [label, episode, step], float(label), [label, episode, step + 1], terminated, truncated


def plain_windows(label, lengths, cut_after, window_size, *, resets_take_a_step=False):
    """Lists of the transitions that belong to each window."""
    transitions, is_due = plain_transitions(label, lengths, cut_after), False
    while True:
        window = []
        for _ in range(window_size):
            if is_due:
                is_due = False
                continue
            window.append(next(transitions))
            is_due = resets_take_a_step and (window[-1][3] or window[-1][4])
        yield window


def require_equal_to_plain_loop(windows, lengths, window_size, *, resets_take_a_step=False):
    n_envs = len(lengths)
    expected = [
        plain_windows(label, own, CUT_AFTER, window_size, resets_take_a_step=resets_take_a_step)
        for label, own in enumerate(lengths, start=1)
    ]
    running = [0] * n_envs
    for window in windows:
        rows = [next(lane) for lane in expected]
        assert [segment(window, index) for index in range(n_envs)] == rows
        returns, n_steps, ends, offset = [], [], [], 0
        for index, own in enumerate(rows):
            for row, (_, reward, _, terminated, truncated) in enumerate(own):
                running[index] += 1
                if terminated or truncated:
                    returns.append(running[index] * reward)
                    n_steps.append(running[index])
                    ends.append(offset + row)
                    running[index] = 0
            offset += len(own)
        assert (window.episode_returns, window.episode_lengths, window.episode_ends) == (returns, n_steps, ends)


# -- every form gives the data of a plain loop ---------------------------------------------------------------------


def handed_over_vector(mode, kind=SyncVectorEnv):
    return lambda: kind(labelled(), autoreset_mode=mode)


FORMS = {
    "factories": labelled,
    "environments": lambda: [factory() for factory in labelled()],
    **{f"vector {mode.value}": handed_over_vector(mode) for mode in MODES},
}


@pytest.mark.parametrize("window_size", [1, 7, 32])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_data_of_a_plain_loop(form, window_size):
    windows = take(seeded(FORMS[form](), window_size=window_size), 4)
    lacks_resets = form == "vector NextStep"
    require_equal_to_plain_loop(windows, LENGTHS, window_size, resets_take_a_step=lacks_resets)
    if not lacks_resets:
        assert all(window.length == window_size * len(LENGTHS) for window in windows)


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_that_runs_its_own_processes_gives_the_same_data(mode):
    vector = AsyncVectorEnv(labelled(), autoreset_mode=mode, context="fork")
    windows = take(seeded(vector, window_size=9), 3)
    vector.close()
    require_equal_to_plain_loop(windows, LENGTHS, 9, resets_take_a_step=mode is AutoresetMode.NEXT_STEP)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=5),
    window_size=st.integers(1, 20),
    form=st.sampled_from(["factories", *MODES]),
)
def test_any_lengths_counts_and_sizes_give_the_data_of_a_plain_loop(lengths, window_size, form):
    factories, is_next_step = labelled(lengths), form is AutoresetMode.NEXT_STEP
    assume(not is_next_step or window_size > 1)  # see the next test
    envs = factories if form == "factories" else SyncVectorEnv(factories, autoreset_mode=form)
    windows = take(seeded(envs, window_size=window_size), 4)
    require_equal_to_plain_loop(windows, lengths, window_size, resets_take_a_step=is_next_step)


def test_a_window_that_would_only_hold_resets_goes_on_until_it_has_a_row():
    vector = SyncVectorEnv(labelled([(1,), (1, 2)]), autoreset_mode=AutoresetMode.NEXT_STEP)
    windows = take(seeded(vector, window_size=1), 4)
    assert [window.segments[0] for window in windows] == [(0, 1), (0, 1), (0, 0), (0, 1)]
    assert [window.segments[1] for window in windows] == [(1, 2), (1, 2), (0, 1), (1, 1)]
    assert windows[2].observations.tolist() == [[2, 1, 1]]


def test_one_environment_in_a_list_is_what_it_is_by_itself():
    alone = BatchPipeline(lambda: LabelledEnv(1, (3, 5)), RandomAgent(), 8)
    alone.seed(RandomStreams(3))
    for a, b in zip(take(alone, 3), take(seeded([lambda: LabelledEnv(1, (3, 5))]), 3), strict=True):
        same(a, b)


@pytest.mark.parametrize("form", FORMS)
def test_no_transition_mixes_environments_or_env_episodes(form):
    for window in take(seeded(FORMS[form](), window_size=13), 3):
        successors = window.next_observations
        for label, (start, stop) in enumerate(window.segments, start=1):
            here, there = window.observations[start:stop], successors[start:stop]
            assert set(here[:, 0]) | set(there[:, 0]) <= {label}
            assert (here[:, 1] == there[:, 1]).all()
            assert (there[:, 2] - here[:, 2] == 1).all()


def true_values(observations, gamma):
    """V of labelled observations [T, 3], each by the lengths of its own environment."""
    envs = [LabelledEnv(label, own, CUT_AFTER) for label, own in enumerate(LENGTHS, start=1)]
    return np.array([envs[int(row[0]) - 1].value(row, gamma) for row in observations])


@pytest.mark.parametrize("form", FORMS)
def test_advantages_of_the_true_values_are_zero_in_every_segment(form):
    gamma = 0.9
    window = take(seeded(FORMS[form](), window_size=17), 2)[1]
    values, next_values = (true_values(rows, gamma) for rows in (window.observations, window.next_observations))
    advantages, returns = compute_gae(
        window.rewards, values, window.dones, gamma, 0.8,
        terminated=window.terminated, next_values=next_values, segments=window.segments,
    )  # fmt: skip
    np.testing.assert_allclose(advantages, 0, atol=1e-6)
    np.testing.assert_allclose(returns, values, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_advantages_of_a_window_are_those_of_each_environment_by_itself(form):
    window = take(seeded(FORMS[form](), window_size=9), 1)[0]
    values = np.arange(window.length, dtype=float)
    keywords = {"terminated": np.array(window.terminated), "next_values": values[::-1] ** 2}
    dones = np.array(window.dones)
    whole, _ = compute_gae(window.rewards, values, dones, 0.9, 0.8, segments=window.segments, **keywords)
    for start, stop in window.segments:
        part = slice(start, stop)
        own = {name: column[part] for name, column in keywords.items()}
        np.testing.assert_allclose(
            compute_gae(window.rewards[part], values[part], dones[part], 0.9, 0.8, **own)[0], whole[part], rtol=1e-5
        )


def test_native_vector_cartpole_ends_its_episodes_at_500_steps_and_its_reset_rows_are_left_out():
    class Balance(ConstantAgent):
        def act_batch(self, observations, *, rng, deterministic=False):
            return (observations @ [0.0, 0.2, 3.0, 1.0] > 0).astype(int), {}

    vector = gym.make_vec("CartPole-v1", num_envs=3)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    pipeline = seeded(vector, Balance(), 501)
    first, second = take(pipeline, 2)
    vector.close()
    assert first.rewards == [1.0] * 1500
    assert first.truncated == ([False] * 499 + [True]) * 3
    assert (first.episode_returns, first.episode_lengths) == ([500.0] * 3, [500] * 3)
    assert np.abs(second.observations[[0, 500, 1000]]).max() <= 0.05  # each begins with a reset
    assert pipeline.max_episode_steps == 500
    assert pipeline.evaluate(Balance(), seeds=[1]).episode_returns == [500.0]


# -- acting --------------------------------------------------------------------------------------------------------


def test_one_call_chooses_the_actions_of_all_environments():
    class Counting(RandomAgent):
        sizes = ()

        def act_batch(self, observations, **keywords):
            self.sizes += (len(observations),)
            return super().act_batch(observations, **keywords)

    agent = Counting()
    window = take(seeded(labelled(), agent), 1)[0]
    assert agent.sizes == (4,) * 8
    assert window.extras["draw"].shape == (32,)
    assert np.array_equal(window.actions, (window.extras["draw"] * 2).astype(int))


def test_each_environment_gets_its_own_action():
    seen = {}

    class Noting(LabelledEnv):
        def step(self, action):
            seen.setdefault(self.label, []).append(action)
            return super().step(action)

    window = take(seeded([lambda label=label: Noting(label, (5,)) for label in range(3)]), 1)[0]
    assert window.actions.tolist() == seen[0] + seen[1] + seen[2]


@pytest.mark.parametrize("mode", [None, *MODES])
@pytest.mark.parametrize(
    ("space", "action", "in_env"),
    [
        (Discrete(3, start=5), 1, 6),
        (Box(-2, 4, (2,), np.float32), np.array([0.5, -1]), [2.5, -2.0]),
        (Box(-2, 4, (), np.float32), np.array(0.5), 2.5),
        (Box(-2, 4, (2, 1), np.float32), np.array([[0.5], [-1]]), [[2.5], [-2.0]]),
        (MultiDiscrete([3, 2]), np.array([2, 1]), [2, 1]),
        (MultiBinary(3), np.array([1, 0, 1]), [1, 0, 1]),
    ],
    ids=str,
)
def test_actions_of_every_space_reach_the_environments_in_their_units(mode, space, action, in_env):
    seen = []

    class Noting(LabelledEnv):
        def __init__(self):
            super().__init__(1, (4,))
            self.action_space = space

        def step(self, action):
            seen.append(np.asarray(action).tolist())
            return super().step(action)

    forms = [Noting, Noting] if mode is None else SyncVectorEnv([Noting, Noting], autoreset_mode=mode)
    pipeline = seeded(forms, ConstantAgent(action, acts_in_unit_box=True), window_size=3)
    window = take(pipeline, 1)[0]
    assert seen == [in_env] * 6
    assert window.actions.tolist() == [np.asarray(action).tolist()] * 6
    assert np.asarray(pipeline.to_env_action(action)).tolist() == in_env


# -- observations --------------------------------------------------------------------------------------------------


class Structured(LabelledEnv):
    """A dict or a tuple of an image, a place and a number."""

    def __init__(self, label=1, as_tuple=False):
        super().__init__(label, (3, 4))
        parts = {"image": Box(0, 255, (2, 2), np.uint8), "place": Discrete(9), "way": Box(-9, 9, (1,), np.float32)}
        self.as_tuple = as_tuple
        self.observation_space = Tuple(parts.values()) if as_tuple else Dict(parts)

    def _observation(self):
        image = np.full((2, 2), 10 * self.label + self.steps, np.uint8)
        parts = {"image": image, "place": self.steps, "way": np.array([self.steps], np.float32)}
        return tuple(parts.values()) if self.as_tuple else parts


STRUCTURED_FORMS = {
    "batch": lambda fns, **keywords: BatchPipeline(fns[0], RandomAgent(), 5, **keywords),
    "factories": lambda fns, **keywords: seeded(fns, window_size=5, **keywords),
    **{
        mode.value: lambda fns, mode=mode, **keywords: seeded(
            SyncVectorEnv(fns, autoreset_mode=mode), window_size=5, **keywords
        )
        for mode in MODES
    },
}


@pytest.mark.parametrize("as_tuple", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_structures_come_out_of_the_processes_of_a_vector(mode, as_tuple):
    vector = AsyncVectorEnv([lambda: Structured(1, as_tuple)] * 2, autoreset_mode=mode, context="fork")
    window = take(seeded(vector, window_size=5, observations="raw"), 1)[0]
    vector.close()
    image = 0 if as_tuple else "image"
    steps = [0, 1, 2, 0, 1] if mode is not AutoresetMode.NEXT_STEP else [0, 1, 2, 0]
    assert [int(row[image][0, 0]) for row in window.observations[: len(steps)]] == [10 + step for step in steps]
    assert [int(row[image][0, 0]) for row in window.next_observations[: len(steps)]] == [11 + step for step in steps]


@pytest.mark.parametrize("as_tuple", [False, True])
@pytest.mark.parametrize("form", STRUCTURED_FORMS)
def test_structures_are_flattened_unless_asked_for(form, as_tuple):
    factories = [lambda: Structured(1, as_tuple), lambda: Structured(2, as_tuple)]
    pipeline = STRUCTURED_FORMS[form](factories)
    window = take(pipeline, 1)[0]
    assert pipeline.observation_space.shape == (14,)
    steps = [0, 1, 2, 0, 1] if form != "NextStep" else [0, 1, 2, 0]
    assert window.observations[: len(steps), 0].tolist() == [10 + step for step in steps]
    assert window.next_observations[: len(steps), -1].tolist() == [step + 1 for step in steps]


@pytest.mark.parametrize("as_tuple", [False, True])
@pytest.mark.parametrize("form", STRUCTURED_FORMS)
def test_structures_are_passed_through_where_asked_for(form, as_tuple):
    factories = [lambda: Structured(1, as_tuple), lambda: Structured(2, as_tuple)]
    window = take(STRUCTURED_FORMS[form](factories, observations="raw"), 1)[0]
    image = 0 if as_tuple else "image"
    steps = [0, 1, 2, 0, 1] if form != "NextStep" else [0, 1, 2, 0]
    assert window.observations.dtype == object
    assert [int(row[image][0, 0]) for row in window.observations[: len(steps)]] == [10 + step for step in steps]
    successors = window.next_observations[: len(steps)]
    assert [int(row[image][0, 0]) for row in successors] == [11 + step for step in steps]
    assert window.observations[0][image].dtype == np.uint8


@pytest.mark.parametrize("form", ["batch", "factories", *MODES])
def test_images_of_bytes_stay_bytes(form):
    class Image(LabelledEnv):
        def __init__(self):
            super().__init__(1, (3,))
            self.observation_space = Box(0, 255, (2, 2, 1), np.uint8)

        def _observation(self):
            return np.full((2, 2, 1), self.steps, np.uint8)

    if form == "batch":
        pipeline = BatchPipeline(Image, RandomAgent(), 6)
    else:
        envs = [Image, Image] if form == "factories" else SyncVectorEnv([Image, Image], autoreset_mode=form)
        pipeline = seeded(envs, window_size=3)
    window = take(pipeline, 1)[0]
    assert window.observations.dtype == window.next_observations.dtype == np.uint8
    assert window.observations.shape == (6, 2, 2, 1)
    assert window.next_observations[:, 0, 0, 0].tolist() == [1, 2, 3] * 2


def test_images_and_structures_come_out_of_processes_as_they_are():
    class Pictures(LabelledEnv):  # defined here, it is sent by value
        def __init__(self):
            super().__init__(1, (3, 4))
            self.observation_space = Dict(image=Box(0, 255, (2, 2), np.uint8), place=Discrete(9))
            self.action_space = MultiDiscrete([2, 3])

        def _observation(self):
            return {"image": np.full((2, 2), self.steps, np.uint8), "place": self.steps}

    agent = ConstantAgent(np.array([1, 2]))
    here, apart = (seeded([Pictures], agent, observations="raw", async_envs=is_apart) for is_apart in (False, True))
    (ours,), (theirs,) = take(here, 1), take(apart, 1)
    apart.teardown()
    for name in ("observations", "next_observations"):
        for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            assert (a["place"], a["image"].dtype, a["image"].tolist()) == (b["place"], np.uint8, b["image"].tolist())
    assert theirs.actions.tolist() == [[1, 2]] * 8


def test_numbers_become_one_hot_only_when_flattened():
    env = gym.make("CartPole-v1")
    env.reset = lambda **keywords: (2, {})
    env.step = lambda action: (1, 0.0, False, False, {})
    env.observation_space = Discrete(3)
    raw, flat = (BatchPipeline(env, RandomAgent(), 2, observations=mode) for mode in ("auto", "flatten"))
    assert take(raw, 1)[0].observations.tolist() == [2, 1]
    assert take(flat, 1)[0].observations.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_what_has_no_fixed_length_is_refused_with_the_remedy_or_passed_through():
    class Text(LabelledEnv):
        def __init__(self):
            super().__init__(1, (3,))
            self.observation_space = gym.spaces.Sequence(Discrete(9))

        def _observation(self):
            return tuple(range(self.steps))

    with pytest.raises(ConfigError, match="observations='raw'"):
        BatchPipeline(Text())
    window = take(BatchPipeline(Text(), RandomAgent(), 3, observations="raw"), 1)[0]
    assert list(window.observations) == [(), (0,), (0, 1)]
    assert list(window.next_observations) == [(0,), (0, 1), (0, 1, 2)]
    with pytest.raises(ConfigError, match="Did you mean 'flatten'"):
        BatchPipeline(Text(), observations="flaten")


class Refilling(Structured):
    """Fills its own objects again at every step."""

    def __init__(self):
        super().__init__(1)
        self.parts = super()._observation()

    def _observation(self):
        parts = super()._observation()
        self.parts["image"][:], self.parts["place"] = parts["image"], parts["place"]
        return self.parts


@pytest.mark.parametrize("form", [form for form in STRUCTURED_FORMS if form != "SameStep"])
def test_a_structure_that_is_filled_again_does_not_reach_into_the_window(form):
    window = take(STRUCTURED_FORMS[form]([Refilling, Refilling], observations="raw"), 1)[0]
    steps = [0, 1, 2, 0] if form == "NextStep" else [0, 1, 2, 0, 1]
    assert [int(row["image"][0, 0]) for row in window.observations[: len(steps)]] == [10 + step for step in steps]
    successors = window.next_observations[: len(steps)]
    assert [int(row["image"][0, 0]) for row in successors] == [11 + step for step in steps]


class RefillingArray(SharedBufferEnv):
    """Its first observation differs from one env episode to the next."""

    def __init__(self):
        super().__init__(3)
        self.n_resets = 0

    def reset(self, *, seed=None, options=None):
        self.n_resets += 1
        return super().reset(seed=seed)

    def _observation(self):
        super()._observation()
        self.buffer += 10 * self.n_resets
        return self.buffer


@pytest.mark.parametrize("observations", ["auto", "raw"])
@pytest.mark.parametrize("env", [Refilling, RefillingArray, lambda: SharedBufferEnv(3)])
def test_an_environment_whose_reset_in_the_same_step_overwrites_its_last_observation_is_found_out(env, observations):
    vector = SyncVectorEnv([env, env], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(EnvError, match=r"loses final observations: environment 0 .* Use another autoreset_mode"):
        take(seeded(vector, window_size=4, observations=observations), 1)


def test_in_processes_of_a_vector_it_is_found_out_as_soon_as_two_first_observations_differ():
    vector = AsyncVectorEnv([RefillingArray] * 2, autoreset_mode=AutoresetMode.SAME_STEP, context="fork")
    with pytest.raises(EnvError, match="loses final observations"):
        take(seeded(vector, window_size=7), 1)
    vector.close()


@pytest.mark.parametrize("kind", [SyncVectorEnv, partial(AsyncVectorEnv, context="fork")])
def test_an_environment_that_ends_where_it_begins_is_not_taken_for_one_that_loses_observations(kind):
    class Circling(ConstantRewardChain):
        def _observation(self):
            return np.array([self.steps % self.length], dtype=np.float32)

    vector = kind([lambda: Circling(3)] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    window = take(seeded(vector, window_size=9), 1)[0]
    vector.close()
    assert window.observations[:9, 0].tolist() == [0, 1, 2] * 3
    assert window.next_observations[:9, 0].tolist() == [1, 2, 0] * 3


def test_buffers_that_environments_share_do_not_reach_into_each_other():
    buffer = np.zeros(1, np.float32)

    def sharing(limit):
        env = SharedBufferEnv(limit)
        env.buffer = buffer
        return env

    shared = take(seeded([lambda: sharing(3), lambda: sharing(5)]), 2)
    for a, b in zip(shared, take(seeded([lambda: TruncatedWalk(3), lambda: TruncatedWalk(5)]), 2), strict=True):
        same(a, b)


# -- seeds, streams and going on -----------------------------------------------------------------------------------


class Drawing(LabelledEnv):
    """Observes a number that its seed and its own draws decide."""

    def __init__(self, label=0, lengths=(5, 3)):
        super().__init__(label, lengths)

    def _observation(self):
        return np.array([self.np_random.random(), self.episode, self.steps])


def test_environments_and_env_episodes_have_seeds_of_their_own():
    window = take(seeded([Drawing] * 3, window_size=20), 1)[0]
    firsts = window.observations[window.episode_starts, 0]
    assert len(set(firsts.tolist())) == len(firsts) == 15


def test_a_manual_vector_is_reset_with_the_seeds_that_factories_get():
    ours = take(seeded([Drawing] * 3), 3)
    theirs = take(seeded(SyncVectorEnv([Drawing] * 3, autoreset_mode=AutoresetMode.DISABLED)), 3)
    for a, b in zip(ours, theirs, strict=True):
        same(a, b)


@pytest.mark.parametrize("form", [None, *MODES])
def test_two_pipelines_with_one_seed_give_identical_windows(form):
    def envs():
        return [Drawing] * 3 if form is None else SyncVectorEnv([Drawing] * 3, autoreset_mode=form)

    for a, b in zip(*(take(seeded(envs()), 3) for _ in range(2)), strict=True):
        same(a, b)
    assert take(seeded(envs(), seed=4), 1)[0].observations[0, 0] != take(seeded(envs()), 1)[0].observations[0, 0]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_saved_and_loaded_it_goes_on_identically(env_id):
    agent = RandomAgent() if env_id == "CartPole-v1" else ConstantAgent(np.array([0.5]), acts_in_unit_box=True)
    pipeline = seeded(env_id=env_id, n_envs=3, agent=agent, window_size=33)
    take(pipeline, 3)
    text, arrays = split_state(pipeline.state_dict())
    resumed = VectorBatchPipeline(env_id=env_id, n_envs=3, agent=agent, window_size=33)
    resumed.load_state_dict(join_state(json.loads(json.dumps(text)), arrays))
    for a, b in zip(take(pipeline, 3), take(resumed, 3), strict=True):
        same(a, b)
    assert resumed.health == {}
    assert split_state(pipeline.state_dict())[0] == split_state(resumed.state_dict())[0]


class DrawingAtSteps(Drawing):
    """What it observes depends on its own stream, which no reset but the first one seeds; on its actions, too."""

    def step(self, action):
        self.pushed = self.np_random.random() + float(np.sum(action))
        return super().step(action)

    def _observation(self):
        return np.array([getattr(self, "pushed", 0.0), self.episode, self.steps])


VECTORS = {
    **{f"sync {mode.value}": lambda mode=mode: SyncVectorEnv([DrawingAtSteps] * 3, autoreset_mode=mode)
       for mode in MODES},
    "async": lambda: AsyncVectorEnv([DrawingAtSteps] * 2, context="fork"),
    "native": lambda: gym.make_vec("CartPole-v1", num_envs=3),
}  # fmt: skip


def resumed_from(state, vector, **keywords):
    text, arrays = split_state(state)
    resumed = VectorBatchPipeline(vector, RandomAgent(), 8, **keywords)
    resumed.load_state_dict(join_state(json.loads(json.dumps(text)), arrays))
    return resumed


@pytest.mark.parametrize("form", VECTORS)
def test_a_vector_that_was_handed_over_goes_on_identically_in_a_new_one(form):
    vectors = [VECTORS[form]() for _ in range(2)]
    pipeline = seeded(vectors[0])
    take(pipeline, 4)
    resumed = resumed_from(pipeline.state_dict(), vectors[1])
    for a, b in zip(take(pipeline, 3), take(resumed, 3), strict=True):
        same(a, b)
    assert resumed.health == {}
    assert resumed.continues_exactly
    assert split_state(pipeline.state_dict())[0] == split_state(resumed.state_dict())[0]
    for vector in vectors:
        vector.close()


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_goes_on_identically_from_a_window_that_lost_an_env_episode(mode):
    class Odd(DrawingAtSteps):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, np.nan if (self.episode, self.steps) == (1, 2) else reward, *rest

    def vector():
        return SyncVectorEnv([Drawing, Odd], autoreset_mode=mode)

    pipeline = seeded(vector())
    take(pipeline, 2)
    resumed = resumed_from(pipeline.state_dict(), vector())
    for a, b in zip(take(pipeline, 2), take(resumed, 2), strict=True):
        same(a, b)
    assert resumed.health == pipeline.health == {"nonfinite_steps": 1}


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_that_was_started_anew_in_mid_run_goes_on_identically(mode):
    class Failing(DrawingAtSteps):
        fails = False

        def __init__(self):
            super().__init__(0, (5,))

        def reset(self, *, seed=None, options=None):
            self.pushed, self.episode = 0.0, 0  # what came before a reset is forgotten
            return super().reset(seed=seed)

        def step(self, action):
            if Failing.fails:
                raise ValueError("out of order")
            return super().step(action)

    def vector():
        return SyncVectorEnv([Failing] * 2, autoreset_mode=mode)

    pipeline = seeded(vector())
    take(pipeline, 2)
    earlier = pipeline.state_dict()["crew"]["actions"]
    as_it_was = earlier.copy()
    Failing.fails = True
    with pytest.raises(EnvError, match="out of order"):
        take(pipeline, 1)
    Failing.fails = False
    take(pipeline, 2)
    np.testing.assert_array_equal(earlier, as_it_was)
    resumed = resumed_from(pipeline.state_dict(), vector())
    for a, b in zip(take(pipeline, 2), take(resumed, 2), strict=True):
        same(a, b)
    assert resumed.health == {}


def test_a_vector_before_its_first_window_is_saved_and_loaded_too():
    resumed = resumed_from(seeded(VECTORS["async"]()).state_dict(), SyncVectorEnv([DrawingAtSteps] * 2))
    for a, b in zip(take(seeded(SyncVectorEnv([DrawingAtSteps] * 2)), 2), take(resumed, 2), strict=True):
        same(a, b)


def test_a_vector_that_comes_out_differently_starts_anew_and_says_so(caplog):
    pipeline = seeded(SyncVectorEnv([DrawingAtSteps] * 2))
    take(pipeline, 1)
    for other in (Drawing, lambda: DrawingAtSteps(0, (4, 4))):
        resumed = resumed_from(pipeline.state_dict(), SyncVectorEnv([other] * 2))
        assert resumed.health == {"resume_mismatch": 1}
        assert "could not be had again (resume_mismatch)" in caplog.text
        window = take(resumed, 1)[0]
        assert window.observations[[0, window.segments[1][0]], 2].tolist() == [0, 0]
        assert window.episode_id == 1


def test_a_vector_with_more_steps_than_are_remembered_promises_no_exact_continuation(monkeypatch):
    monkeypatch.setattr(action_history, "MAX_NUMBERS", 40)
    pipeline = seeded(SyncVectorEnv([DrawingAtSteps] * 2))
    take(pipeline, 2)
    assert pipeline.continues_exactly
    take(pipeline, 1)
    assert not pipeline.continues_exactly
    assert resumed_from(pipeline.state_dict(), SyncVectorEnv([DrawingAtSteps] * 2)).health == {"resume_too_long": 1}


def test_a_state_that_was_taken_is_not_changed_by_what_comes_after():
    pipeline = seeded(SyncVectorEnv([DrawingAtSteps] * 2))
    take(pipeline, 1)
    state = pipeline.state_dict()
    before = state["crew"]["actions"].copy()
    expected = take(pipeline, 9)[0]
    np.testing.assert_array_equal(state["crew"]["actions"], before)
    same(take(resumed_from(state, SyncVectorEnv([DrawingAtSteps] * 2)), 1)[0], expected)


def test_evaluation_between_windows_never_disturbs_a_rollout():
    plain = take(seeded([Drawing] * 2), 3)
    pipeline = seeded([Drawing] * 2)
    windows = pipeline.episodes()
    for expected in plain:
        same(expected, next(windows))
        data = pipeline.evaluate(RandomAgent(), seeds=[1, 2], deterministic=False)
        assert data.episode_lengths == [5, 3] or data.episode_lengths == [3, 5]


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_fault_of_one_environment_leaves_the_rows_of_the_others_alone(bad):
    class Odd(Drawing):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            is_odd = (self.episode, self.steps) == (1, 2)
            return observation, bad if is_odd else reward, *rest

    agent = RandomAgent()
    sound = take(seeded([Drawing] * 3, agent), 4)
    pipeline = seeded([Drawing, Odd, Drawing], agent)
    faulty = take(pipeline, 4)
    assert pipeline.health == {"nonfinite_steps": 1}
    for a, b in zip(sound, faulty, strict=True):
        for index in (0, 2):
            assert segment(a, index) == segment(b, index)
            rows = slice(*a.segments[index])
            assert a.actions[rows].tolist() == b.actions[rows].tolist()
        assert b.length == 24


@pytest.mark.parametrize("mode", MODES)
def test_a_bad_number_in_a_vector_ends_that_env_episode_before_it(mode):
    class Odd(LabelledEnv):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, np.nan if (self.label, self.episode, self.steps) == (2, 0, 3) else reward, *rest

    vector = SyncVectorEnv([lambda: Odd(1, (5,)), lambda: Odd(2, (5,))], autoreset_mode=mode)
    pipeline = seeded(vector, window_size=12)
    window = take(pipeline, 1)[0]
    assert pipeline.health == {"nonfinite_steps": 1}
    first, second = segment(window, 0), segment(window, 1)
    assert [row[0] for row in second[:3]] == [[2, 0, 0], [2, 0, 1], [2, 1, 0]]
    assert second[1][2:] == ([2, 0, 2], False, True)
    assert [row[0][1:] for row in first[:6]] == [[0, 0], [0, 1], [0, 2], [0, 3], [0, 4], [1, 0]]
    assert 2.0 * 5 in window.episode_returns
    assert len(window.episode_returns) == len(window.episode_ends)


def test_an_environment_of_a_factory_is_replaced_alone_and_named(caplog):
    made = iter([FailingEnv(3), ConstantRewardChain(4)])
    pipeline = seeded([lambda: ConstantRewardChain(5), lambda: next(made)])
    window = take(pipeline, 1)[0]
    assert pipeline.health == {"env_rebuilt": 1}
    assert "FailingEnv (environment 1) raised in step 3" in caplog.text
    assert window.observations[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 0, 1, 2, 3, 0, 1]
    assert window.truncated[8:] == [False, True] + [False] * 6
    assert window.next_observations[9].tolist() == [2.0]


def test_an_environment_that_always_fails_ends_the_run_with_its_index():
    pipeline = seeded([lambda: ConstantRewardChain(5), lambda: FailingEnv(2)])
    with pytest.raises(EnvError, match=r"\(environment 1\)") as failure:
        take(pipeline, 1)
    assert failure.value.env_index == 1
    assert pipeline.health == {"env_rebuilt": 3}


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_that_raises_fails_at_once_and_can_be_gone_on_with(mode):
    envs = []

    def remembered():
        envs.append(FailingEnv(3))
        return envs[-1]

    pipeline = seeded(SyncVectorEnv([remembered, remembered], autoreset_mode=mode))
    with pytest.raises(EnvError, match="vector environment SyncVectorEnv raised in step: ValueError"):
        take(pipeline, 1)
    for env in envs:
        env.at_step = 100
    window = take(pipeline, 1)[0]
    assert window.observations[[0, 8], 0].tolist() == [0, 0]


# -- the constructor -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, "either env_fns"),
        ({"env_fns": []}, "one factory for each"),
        ({"env_fns": "CartPole-v1"}, "env_id='CartPole-v1'"),
        ({"env_fns": 3}, "list of factories"),
        ({"env_id": "CartPole-v1"}, "give n_envs"),
        ({"env_id": "CartPol-v1", "n_envs": 2}, "Did you mean 'CartPole-v1'"),
        ({"env_fns": Drawing, "n_envs": 0}, "at least 1, got 0"),
        ({"env_fns": [Drawing] * 2, "n_envs": 3}, "got 2"),
        ({"env_fns": [Drawing()] * 2}, "one environment twice"),
        ({"env_fns": [Drawing(), Drawing()], "async_envs": True}, "needs a factory"),
        ({"env_fns": [Drawing], "async_envs": True, "step_timeout": 0}, "above 0"),
        ({"env_fns": SyncVectorEnv([Drawing]), "async_envs": True}, "without env_id, n_envs and async_envs"),
    ],
)
def test_what_cannot_work_is_refused_at_once(keywords, message):
    with pytest.raises(ConfigError, match=message):
        VectorBatchPipeline(**keywords)


def test_a_vector_that_does_not_say_when_it_resets_is_refused():
    vector = SyncVectorEnv([Drawing])
    vector.metadata = {}
    with pytest.raises(ConfigError, match="autoreset_mode"):
        VectorBatchPipeline(vector)


def test_a_vector_environment_is_known_as_the_callers_own_and_what_is_built_here_is_not():
    vector = SyncVectorEnv([Drawing] * 2)
    assert all(env is vector for env in seeded(vector).handed_over)
    assert len(seeded(vector).handed_over) == 2
    assert seeded([Drawing] * 2).handed_over == []


def test_environments_with_different_spaces_are_refused():
    with pytest.raises(ConfigError, match="environment 1 has"):
        seeded([lambda: ConstantRewardChain(3), Drawing]).setup()


def test_an_id_or_one_factory_makes_as_many_environments_as_asked_for():
    for pipeline in (seeded(env_id="CartPole-v1", n_envs=3), seeded(lambda: gym.make("CartPole-v1"), n_envs=3)):
        assert pipeline.n_envs == 3
        assert take(pipeline, 1)[0].segments == [(0, 8), (8, 16), (16, 24)]
        assert pipeline.description == "CartPole-v1 x 3"
        pipeline.teardown()

