"""A PyTorch model of one's own as an agent."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tensor_optix.adapters.pytorch import TorchAgent, TorchEvaluator  # noqa: E402
from tensor_optix.core.evaluators import ReturnEvaluator  # noqa: E402
from tensor_optix.core.types import EpisodeData, HyperparamSet  # noqa: E402
from tensor_optix.errors import ConfigError  # noqa: E402

torch.set_num_threads(1)


def made(rate=1e-2, loss=None, n_in=3, **params):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(n_in, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    agent = TorchAgent(model, optimizer, HyperparamSet(params), compute_loss_fn=loss, device="cpu")
    agent.seed(np.random.default_rng(0))
    return agent


def episode(observations, actions, rewards, terminated=None, **keywords):
    n = len(rewards)
    ends = terminated if terminated is not None else [True] * n
    return EpisodeData(np.asarray(observations, np.float32), np.asarray(actions), list(map(float, rewards)), ends,
                       [False] * n, [{}] * n, 0, **keywords)  # fmt: skip


def targets_of(data, **params):
    """The targets that a loss of one's own is given."""
    seen = []

    def loss(model, episode_data, targets):
        assert episode_data is data
        seen.append(targets.clone())
        return model(torch.as_tensor(episode_data.observations)).square().mean()

    agent = made(loss=loss, **params)
    diagnostics = agent.learn(data)
    return seen[0].numpy(), diagnostics


def test_it_learns_to_repeat_what_it_sees():
    agent, rng = made(gamma=0.5), np.random.default_rng(0)
    for _ in range(60):
        states = rng.integers(0, 3, 64)
        observations = np.eye(3, dtype=np.float32)[states]
        actions, _ = agent.act_batch(observations, rng=rng)
        diagnostics = agent.learn(episode(observations, actions, actions == states))
    assert [agent.act(row, deterministic=True) for row in np.eye(3)] == [0, 1, 2]
    assert diagnostics["baseline_type"] == "reinforce"
    assert set(diagnostics) >= {"loss", "grad_norm", "explained_variance"}


def test_it_samples_unless_it_is_deterministic():
    agent = made()
    actions = [agent.act(np.zeros(3)) for _ in range(100)]
    assert set(actions) == {0, 1, 2}
    likeliest = agent.action_probs(np.zeros(3)).argmax()
    assert {agent.act(np.zeros(3), deterministic=True) for _ in range(10)} == {likeliest}


def test_without_values_targets_are_normalised_returns():
    data = episode(np.eye(3), [0, 1, 2], [1.0, 2.0, 4.0], [False, True, True])
    targets, diagnostics = targets_of(data, gamma=0.5)
    returns = np.array([1.0 + 0.5 * 2.0, 2.0, 4.0])
    np.testing.assert_allclose(targets, (returns - returns.mean()) / returns.std(), rtol=1e-5)
    assert (diagnostics["baseline_type"], diagnostics["explained_variance"]) == ("reinforce", 0.0)


def test_with_values_targets_are_scaled_advantages():
    data = episode(np.eye(3), [0, 1, 2], [1.0, 2.0, 4.0], [False, True, True], values=[1.5, 1.0, 4.0])
    targets, diagnostics = targets_of(data, gamma=0.5)
    advantages = np.array([2.0 - 1.5, 2.0 - 1.0, 0.0])
    np.testing.assert_allclose(targets, advantages / advantages.std(), rtol=1e-5)
    assert diagnostics["baseline_type"] == "a2c"
    returns = np.array([2.0, 2.0, 4.0])
    assert diagnostics["explained_variance"] == pytest.approx(1 - np.var(advantages) / np.var(returns))


def test_an_episode_that_goes_on_is_continued_by_the_value_of_its_last_row():
    data = episode(np.eye(3), [0, 1, 2], [1.0, 1.0, 1.0], [False] * 3, values=[0.0, 0.0, 8.0])
    targets, _ = targets_of(data, gamma=0.5)
    returns = np.array([1 + 0.5 * (1 + 0.5 * (1 + 0.5 * 8.0)), 1 + 0.5 * 5.0, 5.0])
    advantages = returns - [0.0, 0.0, 8.0]
    np.testing.assert_allclose(targets, advantages / advantages.std(), rtol=1e-5)


def test_a_loss_of_ones_own_is_what_is_minimised():
    def loss(model, episode_data, targets):
        return (model(torch.as_tensor(episode_data.observations)) - 2.0).square().mean()

    agent = made(loss=loss, rate=0.1)
    data = episode(np.eye(3), [0, 1, 2], [0.0] * 3)
    losses = [agent.learn(data)["loss"] for _ in range(60)]
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize(
    ("loss", "got"), [(1.0, "1.0"), (None, "None"), (torch.ones(3, requires_grad=True), r"one of shape \(3,\)")]
)
def test_a_loss_that_is_no_number_is_refused(loss, got):
    agent = made(loss=lambda model, data, targets: loss)
    with pytest.raises(ConfigError, match=rf"compute_loss_fn must return the loss, a tensor of one number, got {got}"):
        agent.learn(episode(np.ones((4, 3)), [0, 1, 0, 1], [1.0] * 4))


def test_values_of_another_length_are_refused():
    with pytest.raises(ConfigError, match="values of a window must be one for each of its 4 rows, got 5"):
        made().learn(episode(np.ones((4, 3)), [0, 1, 0, 1], [1.0] * 4, values=[0.0] * 5))


def test_the_step_is_the_users_own_optimizer():
    agent = made()
    data = episode(np.eye(3), [0, 1, 2], [1.0, 0.0, 2.0])
    agent.learn(data)
    assert agent.optimizer.state[next(agent.model.parameters())]["step"] == 1.0
    assert agent.get_hyperparams().params["learning_rate"] == 1e-2


def test_the_evaluator_is_the_default_one_under_its_published_name():
    evaluator = TorchEvaluator(primary_score_fn=lambda episode_data, diagnostics: 7.0)
    assert isinstance(evaluator, ReturnEvaluator)
    assert evaluator.score(episode(np.eye(3), [0, 1, 2], [1.0] * 3), {}).primary_score == 7.0
