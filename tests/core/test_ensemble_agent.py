"""Several agents as one: how they act, what they learn from, and what happens when one fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensor_optix import (
    CheckpointRegistry,
    ConfigError,
    EnsembleAgent,
    EpisodeData,
    EvalMetrics,
    HyperparamSet,
    PolicyManager,
)
from tensor_optix.core.base_agent import BEHAVIOUR_LOG_PROB
from tests.core.policy.worlds import SkilledAgent

OBSERVATIONS = np.zeros((3, 2))
RNG = np.random.default_rng


class Discrete(SkilledAgent):
    """Has action probabilities; corrects for the behaviour of others where it is told to say so."""

    def __init__(self, probabilities: list[float], *, corrects: bool = True, on_policy: bool = True) -> None:
        super().__init__()
        self.probabilities, self.corrects, self.on_policy = np.array(probabilities), corrects, on_policy

    @property
    def is_on_policy(self) -> bool:
        return self.on_policy

    @property
    def corrects_for_behaviour(self) -> bool:
        return self.corrects

    def action_probs(self, observation: Any) -> np.ndarray:
        return self.probabilities

    def act_batch(self, observations, *, rng, deterministic=False):
        return np.full(len(observations), self.probabilities.argmax()), {"own": np.ones(len(observations))}


class Continuous(SkilledAgent):
    def __init__(self, action: float, *, on_policy: bool = False) -> None:
        super().__init__()
        self.action, self.on_policy = action, on_policy

    @property
    def is_on_policy(self) -> bool:
        return self.on_policy

    def act_batch(self, observations, *, rng, deterministic=False):
        return np.full((len(observations), 1), self.action), {"pre_squash": np.zeros(len(observations))}


class ActOnly(SkilledAgent):
    """Knows nothing but ``act``."""

    def __init__(self, action: Any) -> None:
        super().__init__()
        self.action = action

    def act(self, observation: Any) -> Any:
        return self.action


class QNetwork(Discrete):
    def q_values(self, observations):
        return np.tile(self.probabilities, (len(observations), 1))


class Broken(Discrete):
    def action_probs(self, observation):
        raise RuntimeError("lost a wheel")


def ensemble_of(tmp_path, *agents: Any, weights: list[float] | None = None) -> EnsembleAgent:
    pm = PolicyManager(CheckpointRegistry(tmp_path), rng=RNG(0))
    for agent, weight in zip(agents, weights or [1.0] * len(agents), strict=True):
        pm.add_agent(agent, weight=weight)
    return EnsembleAgent(pm, primary_agent=agents[0])


def actions_of(ensemble: EnsembleAgent, *, deterministic: bool = False) -> list[Any]:
    return ensemble.act_batch(OBSERVATIONS, rng=RNG(1), deterministic=deterministic)[0].tolist()


def window(extras: dict[str, Any] | None = None) -> EpisodeData:
    return EpisodeData(np.zeros((2, 1)), np.zeros(2, int), [0.0, 0.0], [False, True], [False, False], [{}, {}], 0,
                       extras=extras or {})  # fmt: skip


# -- acting ----------------------------------------------------------------------------------------------------------


def test_deterministic_members_with_probabilities_take_the_largest_of_their_product(tmp_path):
    left_or_stay, right_or_stay = Discrete([0.55, 0.44, 0.01]), Discrete([0.01, 0.44, 0.55])
    assert actions_of(ensemble_of(tmp_path, left_or_stay, right_or_stay), deterministic=True) == [1, 1, 1]


def test_in_training_the_product_is_sampled_and_its_probability_recorded(tmp_path):
    ensemble = ensemble_of(tmp_path, Discrete([0.9, 0.1]), Discrete([0.9, 0.1]))
    actions, extras = ensemble.act_batch(np.zeros((500, 2)), rng=RNG(3))
    assert np.mean(actions == 0) == pytest.approx(0.9, abs=0.05)
    assert np.exp(extras[BEHAVIOUR_LOG_PROB]) == pytest.approx(np.where(actions == 0, 0.9, 0.1), rel=1e-5)


def test_q_networks_of_different_scale_have_an_equal_say(tmp_path):
    small, large = QNetwork([0.0, 0.3, 0.25], on_policy=False), QNetwork([0.0, 2000.0, 3000.0], on_policy=False)
    assert actions_of(ensemble_of(tmp_path, small, large), deterministic=True) == [2, 2, 2]
    assert actions_of(ensemble_of(tmp_path, small, large, weights=[4.0, 1.0]), deterministic=True) == [1, 1, 1]


def test_act_only_members_that_return_arrays_are_averaged_by_weight(tmp_path):
    ensemble = ensemble_of(tmp_path, ActOnly(np.array([1.0])), ActOnly(np.array([4.0])), weights=[1.0, 3.0])
    assert ensemble.act(np.zeros(2)).tolist() == [13 / 4]
    assert ensemble.policy_manager.ensemble_action(np.zeros(2)).tolist() == [13 / 4]


def test_act_only_members_that_return_ids_vote(tmp_path):
    assert ensemble_of(tmp_path, ActOnly(0), ActOnly(2), ActOnly(2)).act(np.zeros(2)) == 2


def test_continuous_members_of_different_lineages_act_by_the_medoid(tmp_path):
    ensemble = ensemble_of(tmp_path, Continuous(-1.0), Continuous(1.0), Continuous(0.9))
    assert actions_of(ensemble, deterministic=True) == [[0.9]] * 3


def test_continuous_members_of_one_lineage_act_by_their_mean(tmp_path):
    ensemble = ensemble_of(tmp_path, Continuous(0.2))
    ensemble.policy_manager.adopt(Continuous(0.4), lineage=0)
    assert actions_of(ensemble, deterministic=True) == [[pytest.approx(0.3)]] * 3


def test_an_on_policy_primary_that_cannot_correct_acts_alone_in_training(tmp_path):
    ensemble = ensemble_of(tmp_path, Continuous(-1.0, on_policy=True), Continuous(1.0), Continuous(0.9))
    actions, extras = ensemble.act_batch(OBSERVATIONS, rng=RNG(0))
    assert actions.tolist() == [[-1.0]] * 3
    assert "pre_squash" in extras
    assert actions_of(ensemble, deterministic=True) == [[0.9]] * 3


def reward_of(action: Any, n_modes: int = 2) -> float:
    """A bandit with two good actions, as far apart as can be: what lies between them pays nothing."""
    ends = (0, n_modes) if isinstance(action, int) else (-1.0, 1.0)
    return float(action in ends)


@pytest.mark.parametrize("deterministic", [True, False])
def test_where_the_mean_of_two_modes_is_the_worst_action_the_ensemble_still_gets_the_reward(deterministic, tmp_path):
    left, right = Discrete([0.98, 0.01, 0.01]), Discrete([0.01, 0.01, 0.98])
    discrete = ensemble_of(tmp_path / "d", left, right)
    ids = discrete.act_batch(np.zeros((400, 2)), rng=RNG(0), deterministic=deterministic)[0].tolist()
    assert np.mean([reward_of(action) for action in ids]) > 0.9
    assert reward_of(int(np.mean([0, 2]))) == 0  # what averaging their ids gives

    continuous = ensemble_of(tmp_path / "c", Continuous(-1.0), Continuous(1.0))
    actions = continuous.act_batch(np.zeros((400, 2)), rng=RNG(0), deterministic=deterministic)[0]
    assert np.mean([reward_of(float(action)) for action in actions[:, 0]]) == 1
    assert reward_of(float(np.mean([-1.0, 1.0]))) == 0  # what averaging their actions gives


# -- learning --------------------------------------------------------------------------------------------------------


def test_members_learn_only_from_data_that_is_right_for_them(tmp_path):
    primary = Discrete([1, 0])
    correcting, off_policy, on_policy = Discrete([1, 0]), Discrete([1, 0], on_policy=False), Discrete([1, 0],
                                                                                                     corrects=False)
    ensemble = ensemble_of(tmp_path, primary, correcting, off_policy, on_policy)
    ensemble.learn(window())
    assert [len(a.learned) for a in (primary, correcting, off_policy, on_policy)] == [1, 0, 1, 0]
    ensemble.learn(window({BEHAVIOUR_LOG_PROB: np.zeros(2)}))
    assert [len(a.learned) for a in (primary, correcting, off_policy, on_policy)] == [2, 1, 2, 0]


def test_ppo_takes_its_ratio_against_the_policy_that_acted():
    torch = pytest.importorskip("torch")
    from tests.test_optimizer import ppo_agent

    rng = RNG(0)
    data = {"observations": rng.standard_normal((8, 4)).astype(np.float32), "actions": np.zeros(8, int)}

    def first_kl(extras: dict[str, Any]) -> float:
        agent = ppo_agent()
        agent.set_hyperparams(HyperparamSet({"n_epochs": 1, "minibatch_size": 8}))
        episode = EpisodeData(**data, rewards=[1.0] * 8, terminated=[False] * 7 + [True], truncated=[False] * 8,
                              infos=[{}] * 8, episode_id=0, extras=extras)  # fmt: skip
        return float(agent.learn(episode)["approx_kl"])

    with torch.no_grad():
        own = torch.log_softmax(ppo_agent().actor(torch.as_tensor(data["observations"])), -1)[:, 0].numpy()
    assert first_kl({}) == pytest.approx(0, abs=1e-6)
    assert first_kl({BEHAVIOUR_LOG_PROB: own}) == pytest.approx(0, abs=1e-6)
    assert first_kl({BEHAVIOUR_LOG_PROB: own + 0.5}) > 0.05


# -- failing members -------------------------------------------------------------------------------------------------


def test_a_failing_member_is_left_out_and_the_rest_go_on(tmp_path, caplog):
    ensemble = ensemble_of(tmp_path, Discrete([0.1, 0.9]), Broken([1, 0]), Discrete([0.1, 0.9]))
    assert actions_of(ensemble, deterministic=True) == [1, 1, 1]
    faults = [agent["fault"] for agent in ensemble.policy_manager.status()["agents"]]
    assert faults == ["", "RuntimeError: lost a wheel", ""]
    actions_of(ensemble)
    assert [record.getMessage() for record in caplog.records] == [
        "member 1 of the ensemble failed and is left out from now on"
    ]


def test_a_member_that_has_just_failed_is_not_asked_again(tmp_path):
    class Counting(Broken):
        asked = 0

        def act_batch(self, observations, *, rng, deterministic=False):
            self.asked += 1
            return super().act_batch(observations, rng=rng, deterministic=deterministic)

    broken = Counting([1, 0])
    assert actions_of(ensemble_of(tmp_path, ActOnly(1), broken, ActOnly(1)), deterministic=True) == [1, 1, 1]
    assert broken.asked == 0


def test_a_member_whose_actions_are_not_finite_is_left_out(tmp_path):
    ensemble = ensemble_of(tmp_path, Continuous(0.5), Continuous(np.nan), Continuous(0.5))
    assert actions_of(ensemble, deterministic=True) == [[0.5]] * 3


def test_when_all_members_have_failed_the_primary_acts_alone(tmp_path):
    ensemble = ensemble_of(tmp_path, Broken([0, 1]), Broken([1, 0]))
    for _ in range(2):
        actions, extras = ensemble.act_batch(OBSERVATIONS, rng=RNG(0))
        assert actions.tolist() == [1, 1, 1]
        assert "own" in extras


def test_a_member_that_fails_to_learn_is_left_out_and_the_primary_learns(tmp_path):
    class NeverLearns(Discrete):
        def learn(self, episode_data):
            raise ValueError("no")

    primary = Discrete([0.1, 0.9])
    ensemble = ensemble_of(tmp_path, primary, NeverLearns([1, 0], on_policy=False))
    assert ensemble.learn(window()) == {}
    assert primary.learned == [2]
    assert actions_of(ensemble, deterministic=True) == [1, 1, 1]


# -- the contract ----------------------------------------------------------------------------------------------------


def test_hyperparameters_are_those_of_the_primary(tmp_path):
    primary, other = SkilledAgent(), SkilledAgent()
    ensemble = ensemble_of(tmp_path, primary, other)
    ensemble.set_hyperparams(HyperparamSet({"learning_rate": 0.5}))
    assert (primary.params, other.params) == ({"learning_rate": 0.5}, {"learning_rate": 0.1})
    assert ensemble.get_hyperparams().params == {"learning_rate": 0.5}


def test_a_snapshot_brings_back_every_member_and_its_weight(tmp_path):
    first, second = SkilledAgent(), SkilledAgent()
    ensemble = ensemble_of(tmp_path, first, second, weights=[1.0, 0.25])
    first.skill, second.skill = 3.0, 4.0
    registry = CheckpointRegistry(tmp_path)
    registry.save(ensemble, EvalMetrics(1.0, {}, 0), ensemble.get_hyperparams())
    first.skill = second.skill = 0.0
    ensemble.policy_manager.update_weights({0: 5.0, 1: 9.0})
    registry.load_best(ensemble)
    assert (first.skill, second.skill) == (3.0, 4.0)
    assert [agent["weight"] for agent in ensemble.policy_manager.status()["agents"]] == [1.0, 0.25]


def test_a_member_that_came_after_a_snapshot_has_no_say_in_its_policy(tmp_path):
    ensemble = ensemble_of(tmp_path, SkilledAgent())
    policy = ensemble.policy_state()
    ensemble.policy_manager.add_agent(SkilledAgent())
    ensemble.load_policy_state(policy)
    assert [agent["weight"] for agent in ensemble.policy_manager.status()["agents"]] == [1.0, 0.0]


def test_members_in_different_units_are_refused(tmp_path):
    class Squashed(SkilledAgent):
        @property
        def acts_in_unit_box(self) -> bool:
            return True

    with pytest.raises(ConfigError, match="must act in the same units"):
        ensemble_of(tmp_path, SkilledAgent(), Squashed()).check_spaces(None, None)
