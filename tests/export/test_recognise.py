"""Which networks and agents have a description, and how the others are refused."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import ConfigError, NumpyPolicy, ObsNormalizer, TorchPPOAgent, export_policy
from tensor_optix.core.normalizers import RunningMeanStd
from tests.core.scripted import ScriptedAgent
from tests.export.export_agents import N_ACTIONS, N_INPUTS, Spaces, env_for, observations, onnx_outputs

torch = pytest.importorskip("torch")
nn = torch.nn


def a_ppo_agent(actor: Any, kind: type = TorchPPOAgent, **keywords: Any) -> Any:
    critic = nn.Sequential(nn.Flatten(), nn.LazyLinear(1))
    critic(torch.zeros(1, N_INPUTS))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)
    return kind(actor, critic, optimizer, {}, device="cpu", **keywords)


ACTIVATIONS = (nn.Tanh(), nn.ReLU(), nn.Sigmoid(), nn.ELU(0.7), nn.LeakyReLU(0.05), nn.SiLU())


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("format", ["numpy", "onnx"])
def test_torch_layers_compute_what_the_module_computes(activation, format, tmp_path):
    torch.manual_seed(0)
    actor = nn.Sequential(
        nn.Flatten(), nn.Linear(N_INPUTS, 7, bias=False), nn.LayerNorm(7), activation, nn.Dropout(0.5), nn.Identity(),
        nn.Sequential(nn.Linear(7, 6), activation), nn.Linear(6, N_ACTIONS),
    )  # fmt: skip
    agent, x = a_ppo_agent(actor), observations()
    path = export_policy(agent, tmp_path / "policy", format=format, env=env_for("ppo"))
    logits = onnx_outputs(path, x)["logits"] if format == "onnx" else NumpyPolicy.load(path).outputs(x)
    assert np.allclose(logits, agent.policy_outputs(x), atol=1e-5)


@pytest.mark.parametrize("padding", [0, (1, 2)])
def test_torch_convolutions_with_padding_and_strides_are_exported(padding, tmp_path):
    torch.manual_seed(0)
    actor = nn.Sequential(nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=padding), nn.Flatten(), nn.LazyLinear(3))
    actor(torch.zeros(1, 2, 7, 6))
    critic = nn.Sequential(nn.Flatten(), nn.Linear(84, 1))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3)
    agent = TorchPPOAgent(actor, critic, optimizer, {}, device="cpu")
    x, env = observations((2, 7, 6), 10), Spaces(gym.spaces.Discrete(3), (2, 7, 6))
    for format in ("numpy", "onnx"):
        path = export_policy(agent, tmp_path / format, format=format, env=env)
        logits = onnx_outputs(path, x)["logits"] if format == "onnx" else NumpyPolicy.load(path).outputs(x)
        assert np.allclose(logits, agent.policy_outputs(x), atol=1e-5)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(N_INPUTS, N_ACTIONS)

    def forward(self, x: Any) -> Any:
        return self.inner(x) + 1.0


def hooked() -> Any:
    layer = nn.Linear(N_INPUTS, N_ACTIONS)
    layer.register_forward_hook(lambda module, inputs, output: output + 1.0)
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    ("actor", "named"),
    [(nn.Sequential(Residual()), "Residual"), (hooked(), "Linear with a hook"),
     (nn.Sequential(nn.Linear(N_INPUTS, N_ACTIONS), nn.Softplus()), "Softplus")],
    ids=["module of one's own", "hook", "unknown layer"],
)  # fmt: skip
def test_a_network_without_a_description_is_refused_by_the_name_of_the_part(actor, named, tmp_path):
    with pytest.raises(ConfigError, match=f"TorchPPOAgent acts with a network that cannot be exported: {named}"):
        export_policy(a_ppo_agent(actor), tmp_path / "policy")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_no_chain_is_found_out_by_its_outputs(tmp_path):
    keras = pytest.importorskip("keras")
    from tensor_optix import TFPPOAgent

    x = keras.Input((N_INPUTS,))
    hidden = keras.layers.Dense(N_ACTIONS)(x)
    twice = keras.layers.Dense(N_ACTIONS)
    actor = keras.Model(x, twice(twice(hidden)))
    critic = keras.Sequential([keras.Input((N_INPUTS,)), keras.layers.Dense(1)])
    agent = TFPPOAgent(actor, critic, keras.optimizers.Adam(1e-3), {})
    with pytest.raises(ConfigError, match="computes something else than its layers one after another"):
        export_policy(agent, tmp_path / "policy")


def test_agents_that_act_by_code_of_their_own_are_refused(tmp_path):
    class Cautious(TorchPPOAgent):
        def act(self, observation: Any, deterministic: bool = False) -> int:
            return 0

    cautious = a_ppo_agent(nn.Sequential(nn.Linear(N_INPUTS, N_ACTIONS)), kind=Cautious)
    for agent in (ScriptedAgent(), cautious):
        with pytest.raises(ConfigError, match=f"only built-in agents.*{type(agent).__name__}"):
            export_policy(agent, tmp_path / "policy")


def test_a_normaliser_of_ones_own_is_refused_by_name(tmp_path):
    class Doubling(ObsNormalizer):
        def normalize(self, obs: Any) -> np.ndarray:
            return 2.0 * super().normalize(obs)

    agent = a_ppo_agent(nn.Sequential(nn.Linear(N_INPUTS, N_ACTIONS)), obs_normalizer=Doubling(N_INPUTS))
    with pytest.raises(ConfigError, match="Doubling cannot be exported"):
        export_policy(agent, tmp_path / "policy")


def test_the_shape_of_observations_must_be_known(tmp_path):
    actor = nn.Sequential(nn.Flatten(), nn.Linear(N_INPUTS, N_ACTIONS))
    with pytest.raises(ConfigError, match="give the environment"):
        export_policy(a_ppo_agent(actor), tmp_path / "policy")


def test_statistics_that_have_seen_nothing_divide_by_what_training_divides_by(tmp_path):
    agent = a_ppo_agent(nn.Sequential(nn.Linear(N_INPUTS, N_ACTIONS)), obs_normalizer=ObsNormalizer(N_INPUTS))
    policy = NumpyPolicy.load(export_policy(agent, tmp_path / "policy"))
    assert np.array_equal(policy.layers[0].divisor, RunningMeanStd(N_INPUTS).std)
