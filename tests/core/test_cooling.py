"""The learning rate during a cool-down."""

import pytest

from tensor_optix.core.cooling import can_be_cooled, cooled
from tests.core.scripted import ScheduledAgent, ScriptedAgent


def test_the_learning_rate_is_lowered_within_and_put_back_after():
    agent = ScriptedAgent()
    with cooled(agent, 0.25):
        assert agent.params == {"learning_rate": 0.025}
    assert agent.params == {"learning_rate": 0.1}


def test_it_is_put_back_after_an_error_too():
    agent = ScriptedAgent()
    with pytest.raises(RuntimeError, match="boom"), cooled(agent, 0.25):
        raise RuntimeError("boom")
    assert agent.params == {"learning_rate": 0.1}


@pytest.mark.parametrize("factor", [None, 1.0])
def test_without_a_cool_down_the_agent_is_not_touched(factor):
    agent = ScriptedAgent()
    agent.set_hyperparams = lambda _: pytest.fail("nothing to set")
    with cooled(agent, factor):
        pass


def test_an_agent_without_a_learning_rate_or_with_one_under_a_schedule_is_left_alone():
    bare, scheduled = ScriptedAgent(), ScheduledAgent()
    bare.params = {"alpha": 1.0}
    assert not can_be_cooled(bare)
    assert not can_be_cooled(scheduled)
    with cooled(scheduled, 0.5):
        assert scheduled.params == {"learning_rate": 0.1}
