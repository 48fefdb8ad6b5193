import copy
import itertools

import numpy as np
import pytest

from tensor_optix import RLOptimizer
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet
from tensor_optix.errors import ConfigError
from tensor_optix.exploration.rnd import RNDPipeline
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.testing.toys import ConstantRewardChain


class Watching(BaseAgent):
    """Keeps what it learned from."""

    def __init__(self):
        self.learned = []

    def act(self, observation):
        return 0

    def learn(self, episode_data):
        self.learned.append(episode_data)
        return {}

    def get_hyperparams(self):
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams):
        pass

    def save_weights(self, path):
        pass

    def load_weights(self, path):
        pass

    def policy_state(self):
        return {"nothing": np.zeros(1)}

    def load_policy_state(self, state):
        pass


def rnd(**settings):
    inner = BatchPipeline(lambda: ConstantRewardChain(5), Watching(), 16)
    return RNDPipeline(inner, 1, **{"predictor_lr": 1e-2, **settings})


def windows(pipeline, n, seed=0):
    pipeline.seed(RandomStreams(seed))
    return list(itertools.islice(pipeline.episodes(), n))


def test_the_bonus_travels_beside_the_rewards_and_becomes_part_of_them_for_learning():
    window = windows(rnd(eta=0.5), 1)[0]
    assert window.rewards == [1.0] * 16
    assert all(bonus > 0 for bonus in window.intrinsic_rewards)
    learned = window.for_learning()
    assert learned.rewards == [1.0 + bonus for bonus in window.intrinsic_rewards]
    assert learned.episode_returns == window.episode_returns == [5.0] * 3
    assert learned.for_learning().rewards == learned.rewards


def test_a_row_is_paid_for_where_it_led_to_and_not_for_where_it_was():
    class OneNewPlace(Mute):
        """Nine steps in one place; the tenth leads elsewhere and ends the env episode; the next one starts back."""

        def episodes(self):
            ends = [row == 9 for row in range(12)]
            yield EpisodeData(
                np.zeros((12, 1)), np.zeros(12), [0.0] * 12, ends, [False] * 12, [{}] * 12, 0,
                final_observations={9: np.ones(1), 11: np.zeros(1)},
            )  # fmt: skip

    bonus = windows(RNDPipeline(OneNewPlace(), 1), 1)[0].intrinsic_rewards
    assert bonus[9] > 2 * bonus[0]
    np.testing.assert_allclose(np.delete(bonus, 9), bonus[0], rtol=1e-9)


def test_eta_weighs_the_bonus_from_the_next_window_on():
    pipeline, plain = rnd(eta=0.1), windows(rnd(eta=0.1), 3)
    pipeline.seed(RandomStreams(0))
    source = pipeline.episodes()
    assert next(source).intrinsic_rewards == plain[0].intrinsic_rewards
    pipeline.set_eta(0.2)
    np.testing.assert_allclose(next(source).intrinsic_rewards, 2 * np.array(plain[1].intrinsic_rewards))
    pipeline.set_eta(0.0)
    assert set(next(source).intrinsic_rewards) == {0.0}


def test_the_bonus_fades_as_places_become_familiar():
    found = [np.mean(window.intrinsic_rewards) for window in windows(rnd(), 150)]
    assert np.mean(found[-10:]) < 0.3 * found[0]


def test_equal_seeds_give_equal_bonuses_and_others_do_not():
    first, again, other = (windows(rnd(), 3, seed)[-1].intrinsic_rewards for seed in (0, 0, 1))
    assert first == again != other


def test_what_was_saved_and_loaded_goes_on_identically():
    ours, theirs = rnd(), rnd(eta=0.7)
    windows(ours, 4)
    ours.set_eta(0.3)
    state = copy.deepcopy(ours.state_dict())
    expected = list(itertools.islice(ours.episodes(), 3))
    theirs.setup()
    theirs.seed(RandomStreams(0))
    theirs.load_state_dict(state)
    for mine, other in zip(expected, itertools.islice(theirs.episodes(), 3), strict=False):
        assert mine.intrinsic_rewards == other.intrinsic_rewards
        assert mine.rewards == other.rewards
        np.testing.assert_array_equal(mine.observations, other.observations)


class Summing(BaseEvaluator):
    """A score of one's own, from the rewards themselves."""

    def __init__(self):
        self.scores = []

    def score(self, episode_data, train_diagnostics):
        self.scores.append(sum(episode_data.rewards))
        return EvalMetrics(self.scores[-1], {}, episode_data.episode_id)


def test_in_the_loop_agents_learn_the_bonus_and_no_score_holds_it(tmp_path):
    agent, evaluator = Watching(), Summing()
    pipeline = rnd(eta=5.0)
    opt = RLOptimizer(agent, pipeline, evaluator, checkpoint_dir=tmp_path, max_episodes=4, seed=0, verbose=False)
    opt.run()
    assert set(evaluator.scores) == {16.0, 5.0}  # windows, and the env episodes of the final evaluation
    assert opt.result.score == 16.0
    assert all(sum(window.rewards) > 20.0 for window in agent.learned)
    assert all(window.total_reward == pytest.approx(sum(window.rewards)) for window in agent.learned)


def test_evaluation_carries_no_bonus_and_makes_nothing_familiar():
    pipeline = rnd()
    windows(pipeline, 1)
    before = pipeline.state_dict()["novelty"]["updates"]
    data = pipeline.evaluate(Watching(), seeds=[1, 2])
    assert data.intrinsic_rewards is None
    assert data.episode_returns == [5.0, 5.0]
    assert pipeline.state_dict()["novelty"]["updates"] == before


def test_the_whole_contract_of_pipelines_is_handed_on():
    contract = {name for name in vars(BasePipeline) if not name.startswith("_")}
    assert contract <= set(vars(RNDPipeline))


def test_what_the_pipeline_inside_says_is_what_is_said():
    pipeline = rnd()
    pipeline.setup()
    inner = pipeline.pipeline
    assert (pipeline.is_live, pipeline.description, pipeline.health) == (False, inner.description, inner.health)
    assert (pipeline.max_episode_steps, pipeline.continues_exactly) == (inner.max_episode_steps, True)
    assert inner.fingerprint.items() < pipeline.fingerprint.items()
    pipeline.teardown()


class Mute(BasePipeline):
    """One empty window, and no state."""

    is_live = True

    def setup(self):
        pass

    def teardown(self):
        pass

    def episodes(self):
        return iter([EpisodeData(np.zeros((0, 1)), np.zeros(0), [], [], [], [], 0)])


def test_a_pipeline_without_a_state_stays_without_one_and_an_empty_window_stays_empty():
    pipeline = RNDPipeline(Mute(), 1)
    assert pipeline.state_dict() is None
    assert [window.length for window in pipeline.episodes()] == [0]


def test_closing_the_windows_closes_those_of_the_pipeline_inside():
    closed = []

    class Closing(Mute):
        def episodes(self):
            try:
                while True:
                    yield EpisodeData(np.zeros((1, 1)), np.zeros(1), [0.0], [False], [False], [{}], 0)
            finally:
                closed.append(True)

    source = RNDPipeline(Closing(), 1).episodes()
    next(source)
    source.close()
    assert closed == [True]


def test_impossible_settings_are_refused_by_name():
    for settings, message in [({"obs_dim": 0}, "obs_dim"), ({"obs_dim": 1, "embedding_dim": 0}, "embedding_dim"),
                              ({"obs_dim": 1, "eta": -1.0}, "eta")]:  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            RNDPipeline(Mute(), **settings)
    with pytest.raises(ConfigError, match="obs_dim is 7 but observations hold 1"):
        next(RNDPipeline(rnd().pipeline, 7).episodes())
