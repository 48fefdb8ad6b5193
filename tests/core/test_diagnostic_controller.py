"""Remedies for learning that is ill: bounded, taken back, and never for a symptom that is none."""

import numpy as np
import pytest

from tensor_optix.core.diagnostic_controller import MAX_STEPS, RECOVERY, DiagnosticController, Remedy
from tensor_optix.core.types import HyperparamSet
from tests.core.scripted import ScheduledAgent, ScriptedAgent


class DiscreteAgent(ScriptedAgent):
    def __init__(self):
        super().__init__()
        self.params = {"learning_rate": 0.1, "entropy_coef": 0.01, "epsilon": 0.05, "epsilon_min": 0.05}

    def action_probs(self, observation):
        return np.array([0.5, 0.5])


class ContinuousAgent(ScriptedAgent):
    def __init__(self):
        super().__init__()
        self.params = {"learning_rate": 0.1, "entropy_coef": 0.01}


HEALTHY = {"loss": 1.0, "entropy": 0.5, "approx_kl": 0.01, "value_loss": 2.0}


def steps(controller, agent, *diagnostics):
    return [controller.step(i, agent, d) for i, d in enumerate(diagnostics)]


def warmed_up(agent, **settings):
    controller = DiagnosticController(**settings)
    steps(controller, agent, *[HEALTHY] * 10)
    return controller


def test_healthy_learning_is_left_alone():
    agent = DiscreteAgent()
    controller = warmed_up(agent)
    assert agent.params == DiscreteAgent().params
    assert controller.firings == []


def test_a_learning_rate_under_a_schedule_is_left_to_it():
    agent = ScheduledAgent()
    controller = warmed_up(agent)
    controller.step(10, agent, {**HEALTHY, "loss": 6.0})
    assert agent.params == {"learning_rate": 0.1}
    assert controller.firings == []


@pytest.mark.parametrize(
    ("symptom", "rule", "parameter", "value"),
    [
        ({"loss": 6.0}, "LOSS_SPIKE", "learning_rate", 0.05),
        ({"loss": -6.0}, "LOSS_SPIKE", "learning_rate", 0.05),
        ({"approx_kl": 0.05}, "KL_TOO_HIGH", "learning_rate", 0.05),
        ({"kl_div": 0.05, "approx_kl": None}, "KL_TOO_HIGH", "learning_rate", 0.05),
        ({"entropy": 0.01}, "ENTROPY_COLLAPSE", "entropy_coef", 0.02),
        ({"value_loss": 50.0}, "VALUE_EXPLOSION", "learning_rate", 0.05),
        ({"saturated_share": 0.99}, "SATURATED_ACTIONS", "learning_rate", 0.05),
    ],
)
def test_each_symptom_has_its_remedy(symptom, rule, parameter, value):
    agent = DiscreteAgent()
    controller = warmed_up(agent)
    fired = controller.step(10, agent, HEALTHY | symptom)
    assert [name for name, _ in fired] == [rule]
    assert agent.params[parameter] == pytest.approx(value)
    assert controller.firings == fired


def test_all_remedies_together_are_bounded_as_one_is():
    agent = DiscreteAgent()
    controller = warmed_up(agent)
    for window in range(10, 20):
        controller.step(window, agent, HEALTHY | {"loss": 99.0, "approx_kl": 1.0, "value_loss": 1e9})
    assert agent.params["learning_rate"] == pytest.approx(0.1 * 0.5**MAX_STEPS)


@pytest.mark.parametrize("rest", [{"entropy": -3.0}, {"entropy": 0.01}])
def test_a_differential_entropy_is_no_symptom(rest):
    agent = ContinuousAgent()
    controller = warmed_up(agent)
    assert controller.step(10, agent, HEALTHY | rest) == []


def test_diagnostics_may_say_which_entropy_theirs_is():
    for agent, kind, is_ill in ((DiscreteAgent(), "differential", False), (ContinuousAgent(), "discrete", True)):
        controller = warmed_up(agent)
        assert bool(controller.step(10, agent, HEALTHY | {"entropy": 0.01, "entropy_kind": kind})) is is_ill


def test_a_remedy_is_bounded_and_taken_back_step_by_step():
    agent = DiscreteAgent()
    controller = warmed_up(agent)
    steps(controller, agent, *[HEALTHY | {"approx_kl": 1.0}] * 20)
    assert agent.params["learning_rate"] == pytest.approx(0.1 / 2**MAX_STEPS)
    steps(controller, agent, *[HEALTHY] * RECOVERY)
    assert agent.params["learning_rate"] == pytest.approx(0.1 / 2 ** (MAX_STEPS - 1))
    steps(controller, agent, *[HEALTHY] * (RECOVERY * MAX_STEPS))
    assert agent.params["learning_rate"] == 0.1


def test_a_value_that_somebody_else_sets_is_the_new_base():
    agent = DiscreteAgent()
    controller = warmed_up(agent)
    controller.step(10, agent, HEALTHY | {"approx_kl": 1.0})
    agent.set_hyperparams(HyperparamSet({**agent.params, "learning_rate": 0.4}))
    steps(controller, agent, *[HEALTHY] * (RECOVERY + 1))
    assert agent.params["learning_rate"] == pytest.approx(0.4)


def test_exploration_is_taken_up_again_at_most_three_times():
    agent = DiscreteAgent()
    controller = DiagnosticController(epsilon_patience=5)
    fired = 0
    for _ in range(10):
        rounds = steps(controller, agent, *[HEALTHY | {"episode_reward": 3.0}] * 5)
        fired += sum(rule == "EPSILON_RESET" for firings in rounds for rule, _ in firings)
        agent.params["epsilon"] = 0.05
    assert fired == 3


def test_good_returns_at_the_exploration_floor_are_no_reason():
    agent = DiscreteAgent()
    steps(DiagnosticController(epsilon_patience=5), agent, *[HEALTHY | {"episode_reward": 300.0}] * 20)
    assert agent.params["epsilon"] == 0.05


@pytest.mark.parametrize("settings", [{"entropy_floor": None}, {"target_kl": None}])
def test_a_symptom_can_be_switched_off(settings):
    agent = DiscreteAgent()
    controller = warmed_up(agent, **settings)
    ill = {"entropy_floor": {"entropy": 0.0}, "target_kl": {"approx_kl": 9.0}}[next(iter(settings))]
    assert controller.step(10, agent, HEALTHY | ill) == []


def test_nothing_fires_before_there_is_something_to_compare_with():
    agent = DiscreteAgent()
    ill = {"loss": 1e9, "entropy": 0.0, "approx_kl": 9.0}
    assert steps(DiagnosticController(min_episodes=5), agent, *[ill] * 5) == [[]] * 5


def test_numbers_that_are_none_are_ignored():
    agent = DiscreteAgent()
    controller = warmed_up(agent)
    assert controller.step(10, agent, {"loss": float("nan"), "entropy": "x", "approx_kl": float("inf")}) == []


def test_an_agent_without_these_parameters_is_left_alone():
    agent = DiscreteAgent()
    agent.params = {}
    controller = warmed_up(agent)
    assert controller.step(10, agent, HEALTHY | {"approx_kl": 9.0}) == []


def test_it_goes_on_as_if_it_had_not_been_saved():
    agent, other = DiscreteAgent(), DiscreteAgent()
    first = warmed_up(agent)
    first.step(10, agent, HEALTHY | {"approx_kl": 1.0})
    second = DiagnosticController()
    second.load_state_dict(first.state_dict())
    other.params = dict(agent.params)
    steps(first, agent, *[HEALTHY] * 15)
    steps(second, other, *[HEALTHY] * 15)
    assert other.params == agent.params
    assert second.state_dict() == first.state_dict()


def test_the_remedy_as_a_table():
    remedy = Remedy("learning_rate", 0.5)
    assert remedy.after(True).total == 0.5
    assert remedy.after(False).total == 1.0
    assert Remedy("x", 0.5, steps=2, healthy=RECOVERY - 1).after(False) == Remedy("x", 0.5, steps=1)
