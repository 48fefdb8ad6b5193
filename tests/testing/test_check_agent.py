import numpy as np
import pytest

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import AgentError
from tensor_optix.testing import OneStepBandit, check_agent
from tensor_optix.testing.check_agent import CHECKS


class TableAgent(BaseAgent):
    """Keeps the contract: preferences by context, learned by adding rewards and a little noise of its own."""

    def __init__(self):
        self.table = np.zeros((3, 3))
        self.rng = np.random.default_rng(0)
        self.rate = 0.1

    def act(self, observation):
        return int(self.table[np.argmax(observation)].argmax())

    def act_batch(self, observations, *, rng, deterministic=False):
        noise = 0.0 if deterministic else rng.random((len(observations), 3))
        scores = observations @ self.table + noise
        return scores.argmax(axis=1), {"score": scores.max(axis=1)}

    def learn(self, episode_data):
        rows = episode_data.observations.argmax(axis=1), episode_data.actions
        np.add.at(self.table, rows, self.rate * np.array(episode_data.rewards))
        self.table += self.rng.normal(size=(3, 3))
        return {"loss": 0.5, "kind": "table"}

    def get_hyperparams(self):
        return HyperparamSet({"rate": self.rate})

    def set_hyperparams(self, hyperparams):
        self.rate = hyperparams.params["rate"]

    def save_weights(self, path):
        with open(path, "wb") as file:  # noqa: PTH123 - np.save adds a suffix to a bare path
            np.save(file, self.table)

    def load_weights(self, path):
        self.table = np.load(path)

    def state_dict(self):
        return {"table": self.table, "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state):
        self.table = state["table"].copy()
        self.rng.bit_generator.state = state["rng"]


class SixMethods:
    """No base class, actions drawn by itself."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def act(self, observation):
        return int(self.rng.integers(3))

    def learn(self, episode_data):
        return None

    def get_hyperparams(self):
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams):
        pass

    def save_weights(self, path):
        pass

    def load_weights(self, path):
        pass


def broken(**methods):
    return type("BrokenAgent", (TableAgent,), methods)()


def test_an_agent_that_keeps_the_contract_passes_every_check():
    assert check_agent(TableAgent(), OneStepBandit())[1:] == [claim for claim, _ in CHECKS]


def test_an_object_that_merely_has_the_six_methods_passes_what_applies_to_it():
    checked = check_agent(SixMethods(), OneStepBandit())
    assert "learn gives a dict whose numbers are finite" in checked
    assert "act_batch repeats itself with the same random stream" not in checked


def test_missing_methods_are_named():
    with pytest.raises(AgentError, match="lacks act, learn"):
        check_agent(object(), OneStepBandit())


def unseeded(self, observations, *, rng, deterministic=False):
    return self.rng.integers(3, size=len(observations)), {}


def stochastic(self, observations, *, rng, deterministic=False):
    return rng.integers(3, size=len(observations)), {}


def draws_from_its_own(self, observations, *, rng, deterministic=False):
    self.rng.random()
    return TableAgent.act_batch(self, observations, rng=rng, deterministic=deterministic)


def first_extra_only(self, observations, *, rng, deterministic=False):
    return TableAgent.act_batch(self, observations, rng=rng)[0], {"score": np.zeros(1)}


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"act": lambda self, observation: 7}, "action of the space; the agent chose action 7"),
        ({"act_batch": first_extra_only}, "16 observations gave 1 rows of the extra 'score'"),
        ({"act_batch": unseeded}, "repeats itself with the same random stream"),
        ({"act_batch": stochastic}, "deterministic actions repeat"),
        ({"act_batch": draws_from_its_own}, "evaluation does not disturb"),
        ({"learn": lambda self, data: {"loss": np.nan}}, "learn gave loss = nan"),
        ({"learn": lambda self, data: None}, "learn gave NoneType"),
        ({"get_hyperparams": lambda self: HyperparamSet({"rate": np.random.default_rng().random()})}, "hyperparam"),
        ({"load_weights": lambda self, path: None}, "the loaded policy acts differently"),
        ({"load_state_dict": lambda self, state: None}, "load_state_dict brings the saved state back"),
    ],
)
def test_a_broken_agent_is_told_which_claim_fails(methods, message):
    with pytest.raises(AgentError, match=message):
        check_agent(broken(**methods), OneStepBandit())
