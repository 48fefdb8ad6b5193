import numpy as np
import pytest

from tensor_optix.core.base_agent import REQUIRED_METHODS, BaseAgent, as_agent
from tensor_optix.core.hyperparams import Space
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import ConfigError


class SixMethods:
    def act(self, observation):
        return int(observation[0])

    def learn(self, episode_data):
        return None

    def get_hyperparams(self):
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams):
        self.taken = hyperparams

    def save_weights(self, path):
        self.path = path

    def load_weights(self, path):
        self.path = path


class MoreThanSix(SixMethods):
    is_on_policy = False
    warming_up = True
    acts_in_unit_box = True
    param_space = Space()
    default_min_episodes_before_dormant = 7

    def act_batch(self, observations, *, rng, deterministic=False):
        return rng.random(len(observations)), {}


def test_the_default_act_batch_acts_row_by_row():
    agent = as_agent(SixMethods())
    actions, extras = agent.act_batch(np.array([[3.0], [1.0], [2.0]]), rng=np.random.default_rng(0))
    assert actions.tolist() == [3, 1, 2]
    assert extras == {}


def test_every_missing_method_is_named_at_once():
    class Half:
        act = learn = get_hyperparams = lambda self: None

    with pytest.raises(ConfigError, match="Half cannot be used as an agent: it lacks set_hyperparams, save_weights"):
        as_agent(Half())
    with pytest.raises(ConfigError, match=", ".join(REQUIRED_METHODS)):
        as_agent(None)


def test_an_agent_is_taken_as_it_is_and_six_methods_are_wrapped():
    agent = as_agent(SixMethods())
    assert isinstance(agent, BaseAgent)
    assert as_agent(agent) is agent
    assert agent.learn(None) == {}
    agent.save_weights("here")
    assert agent.wrapped.path == "here"


def test_a_wrapped_object_has_the_defaults_of_the_contract():
    agent = as_agent(SixMethods())
    assert (agent.is_on_policy, agent.warming_up, agent.acts_in_unit_box) == (True, False, False)
    assert agent.param_space is None
    assert agent.state_dict() is None
    assert agent.policy_state() is None
    assert agent.action_probs(None) is None
    with pytest.raises(NotImplementedError, match="gives no state_dict"):
        agent.load_state_dict({})


def test_what_else_a_wrapped_object_defines_is_used():
    agent = as_agent(MoreThanSix())
    assert (agent.is_on_policy, agent.warming_up, agent.acts_in_unit_box) == (False, True, True)
    assert isinstance(agent.param_space, Space)
    assert agent.default_min_episodes_before_dormant == 7
    actions, _ = agent.act_batch(np.zeros((2, 1)), rng=np.random.default_rng(0))
    assert actions.tolist() == np.random.default_rng(0).random(2).tolist()
