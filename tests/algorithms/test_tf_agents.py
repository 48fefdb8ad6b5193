"""The agents seen through their TensorFlow leaves: each learns, each goes on exactly, each snippet runs as printed."""

import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from tensor_optix.adapters.tensorflow.tf_agent import TFAgent
from tensor_optix.adapters.tensorflow.tf_evaluator import TFEvaluator
from tensor_optix.algorithms.tf_dqn import TFDQNAgent
from tensor_optix.algorithms.tf_ppo import TFPPOAgent
from tensor_optix.algorithms.tf_sac import TFSACAgent
from tensor_optix.backends.tf_import import keras, tf
from tensor_optix.core.state import join_state, split_state
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ArchitectureMismatch, ConfigError

N_STATES = 3


def mlp(n_inputs, n_outputs, seed, hidden=16, activation="tanh"):
    layers = [keras.layers.Input((n_inputs,))]
    for offset, (units, kind) in enumerate([(hidden, activation), (n_outputs, None)]):
        initializer = keras.initializers.GlorotUniform(seed=10 * seed + offset)
        layers.append(keras.layers.Dense(units, kind, kernel_initializer=initializer))
    return keras.Sequential(layers)


def adam(rate=1e-2):
    return keras.optimizers.Adam(rate)


def ppo(seed=0, *, jit_compile=False, **params):
    params = {"gamma": 0.5, "n_epochs": 4, **params}
    actor, critic = mlp(N_STATES, N_STATES, seed), mlp(N_STATES, 1, seed + 1)
    return TFPPOAgent(actor, critic, adam(), HyperparamSet(params), jit_compile=jit_compile)


def dqn(seed=0, *, jit_compile=False, **params):
    params = {"gamma": 0.5, "epsilon": 0.3, "target_update_freq": 20, "batch_size": 32, "updates_per_step": 0.25,
              "per_alpha": 0.5, "n_step": 2, **params}  # fmt: skip
    q = mlp(N_STATES, N_STATES, seed, activation="relu")
    return TFDQNAgent(q, N_STATES, adam(), HyperparamSet(params), jit_compile=jit_compile)


def sac(seed=0, *, jit_compile=False, **params):
    params = {"gamma": 0.5, "batch_size": 32, "updates_per_step": 0.5, "tau": 0.05, "learning_starts": 64, **params}
    critics = [mlp(N_STATES + 1, 1, seed + index, activation="relu") for index in (1, 2)]
    return TFSACAgent(
        mlp(N_STATES, 2, seed, activation="relu"), *critics, 1, adam(), adam(),
        keras.optimizers.AdamW(1e-2, weight_decay=1e-4), HyperparamSet(params), jit_compile=jit_compile,
    )  # fmt: skip


def reinforce(seed=0, *, jit_compile=False, **params):
    return TFAgent(mlp(N_STATES, N_STATES, seed), adam(3e-2), HyperparamSet(params))


TARGETS = np.array([-0.6, 0.0, 0.6])


def seeded(make, seed=0, **params):
    agent = make(seed, **params)
    agent.seed(np.random.default_rng(seed))
    return agent


def one_step_window(agent, rng, n_rows=128):
    """Every env episode is one step; the best action is the number of the state, or the state's target."""
    states = rng.integers(0, N_STATES, n_rows)
    observations = np.eye(N_STATES, dtype=np.float32)[states]
    actions, extras = agent.act_batch(observations, rng=rng)
    if agent.acts_in_unit_box:
        rewards = -((actions[:, 0] - TARGETS[states]) ** 2)
    else:
        rewards = (actions == states).astype(float)
    return EpisodeData(
        observations, actions, rewards.tolist(), [True] * n_rows, [False] * n_rows, [{}] * n_rows, 0, extras=extras,
        episode_returns=rewards.tolist(), episode_lengths=[1] * n_rows,
    )  # fmt: skip


# -- going on --------------------------------------------------------------------------------------------------------


def flat(state):
    json, arrays = split_state(state)
    return json, {name: (array.dtype, array.shape, array.tobytes()) for name, array in arrays.items()}


def test_saved_and_loaded_the_agent_goes_on_bit_for_bit_under_xla():
    agent, rng = seeded(ppo, jit_compile=True), np.random.default_rng(0)
    for _ in range(2):
        agent.learn(one_step_window(agent, rng))
    other = seeded(ppo, seed=5, jit_compile=True)
    other.load_state_dict(join_state(*split_state(agent.state_dict())))
    results = []
    for one in (agent, other):
        stream = np.random.default_rng(1)
        diagnostics = [one.learn(one_step_window(one, stream)) for _ in range(2)]
        results.append((diagnostics, [one.act(row) for row in np.eye(N_STATES)], flat(one.state_dict())))
    assert results[0] == results[1]


@pytest.mark.parametrize("make", [ppo, sac])
def test_weights_are_saved_loaded_averaged_and_perturbed(make, tmp_path):
    first, second = seeded(make), seeded(make, seed=5)
    for number, agent in enumerate((first, second)):
        agent.save_weights(str(tmp_path / str(number)))
    start = second._actor.get_weights()
    second.load_weights(str(tmp_path / "0"))
    x = np.eye(N_STATES, dtype=np.float32)
    np.testing.assert_array_equal(
        [second.act(row, deterministic=True) for row in x], [first.act(row, deterministic=True) for row in x]
    )
    second.average_weights([str(tmp_path / "0"), str(tmp_path / "1")])
    mean = 0.5 * (start[0] + first._actor.get_weights()[0])
    np.testing.assert_allclose(second._actor.get_weights()[0], mean, atol=1e-7)
    second.perturb_weights(0.1)
    factors = second._actor.get_weights()[0] / mean
    assert 0.03 < np.std(factors) < 0.3


def test_weights_of_another_architecture_are_refused_with_their_names(tmp_path):
    agent = seeded(ppo)
    agent.save_weights(str(tmp_path / "weights"))
    wider = TFPPOAgent(mlp(N_STATES, 3, 0, hidden=32), mlp(N_STATES, 1, 0), adam(), HyperparamSet({}))
    with pytest.raises(ArchitectureMismatch, match=r"actor.dense.kernel is \(3, 16\) there and \(3, 32\) here"):
        wider.load_weights(str(tmp_path / "weights"))


# -- particulars -----------------------------------------------------------------------------------------------------


def test_the_first_ratio_is_one():
    agent = seeded(ppo, n_epochs=1, minibatch_size=128)
    diagnostics = agent.learn(one_step_window(agent, np.random.default_rng(0)))
    assert diagnostics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert diagnostics["clip_fraction"] == 0.0


def test_a_network_without_weights_cannot_have_a_target_yet():
    network = keras.Sequential([keras.layers.Dense(3)])
    with pytest.raises(ConfigError, match="no weights yet"):
        TFDQNAgent(network, 3, adam(), HyperparamSet({}))
    network(np.zeros((1, 3), np.float32))
    TFDQNAgent(network, 3, adam(), HyperparamSet({}))


def test_spaces_that_do_not_fit_are_named():
    with pytest.raises(ConfigError, match="actor gives 3 outputs but the environment has 2 actions"):
        seeded(ppo).check_spaces(gym.spaces.Box(0, 1, (3,)), gym.spaces.Discrete(2))


def test_images_reach_the_network_as_they_are():
    layers = keras.layers
    q = keras.Sequential([layers.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Conv2D(4, 3, activation="relu"),
                          layers.Flatten(), layers.Dense(2)])  # fmt: skip
    agent = TFDQNAgent(q, 2, adam(), HyperparamSet({"batch_size": 4}), jit_compile=False)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 8, 8, 1)).astype(np.uint8)
    actions, _ = agent.act_batch(images, rng=rng)
    data = EpisodeData(images, actions, [1.0] * 8, [False] * 7 + [True], [False] * 8, [{}] * 8, 0,
                       final_observations={7: images[0]})  # fmt: skip
    assert agent.learn(data)["n_updates"] > 0


def test_the_temperature_has_an_optimizer_like_the_one_given():
    agent = seeded(sac, jit_compile=True)
    optimizer = agent._learner.optimizers["alpha_optimizer"]
    assert type(optimizer) is keras.optimizers.AdamW
    before = float(agent.log_alpha.value)
    rng = np.random.default_rng(0)
    diagnostics = agent.learn(one_step_window(agent, rng))
    assert float(agent.log_alpha.value) != before
    assert np.exp(before) > diagnostics["alpha"] > 0.0  # the policy starts with more entropy than -1


def test_a_loss_of_ones_own_is_python_in_every_window():
    seen = []

    def loss(model, episode_data, targets):
        seen.append(float(np.sum(episode_data.rewards)))  # what only Python can do
        log_p = tf.nn.log_softmax(model(np.asarray(episode_data.observations)))
        taken = tf.gather(log_p, np.asarray(episode_data.actions), batch_dims=1)
        return -tf.reduce_mean(taken * targets)

    own = TFAgent(mlp(3, 3, 0), adam(3e-2), HyperparamSet({}), compute_loss_fn=loss)
    built_in = reinforce()
    for _ in range(2):
        windows = [one_step_window(agent, np.random.default_rng(4)) for agent in (own, built_in)]
        assert own.learn(windows[0])["loss"] == pytest.approx(built_in.learn(windows[1])["loss"], rel=1e-4)
    np.testing.assert_allclose(own.model.get_weights()[0], built_in.model.get_weights()[0], atol=1e-5)
    assert seen


# -- the evaluator ---------------------------------------------------------------------------------------------------


def test_the_evaluator_needs_no_tensorflow():
    code = "import sys; from tensor_optix.adapters.tensorflow import TFEvaluator; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_evaluator_takes_a_score_of_ones_own():
    data = EpisodeData(np.zeros((2, 1)), np.zeros(2), [1.0, 2.0], [False, True], [False, False], [{}] * 2, 0)
    metrics = TFEvaluator(primary_score_fn=lambda episode, diagnostics: max(episode.rewards)).score(data, {})
    assert metrics.primary_score == 2.0


ON_A_SECOND_DEVICE = """
import keras, numpy as np, tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tensor_optix.algorithms.tf_dqn import TFDQNAgent
from tensor_optix.errors import ConfigError
from tests.agents_of_backends import window_for

q = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3)])
params = {"batch_size": 8, "updates_per_step": 0.1}
agent = TFDQNAgent(q, 3, keras.optimizers.Adam(), params, jit_compile=False, device="cpu:1")
agent.load_state_dict(agent.state_dict())
assert agent.learn(window_for(agent))["n_updates"] > 0
optimizer = agent._learner.optimizers["optimizer"]
places = {v.value.device for v in [*q.variables, *agent._q_target.variables, *optimizer.variables]}
assert [place[-5:] for place in places] == ["CPU:1"], places
try:
    TFDQNAgent(q, 3, keras.optimizers.Adam(), {}, device="cpu:2")
except ConfigError as error:
    print(error)
"""


def test_all_of_an_agent_moves_to_the_device_that_is_asked_for():
    """A process of its own: TensorFlow's devices are settled with its first operation."""
    done = subprocess.run([sys.executable, "-c", ON_A_SECOND_DEVICE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "one that TensorFlow has here (CPU:0, CPU:1), got 'cpu:2'" in done.stdout


# -- the published snippets ------------------------------------------------------------------------------------------

QUICK_START = """
import tensorflow as tf
import gymnasium as gym
from tensor_optix import RLOptimizer, TFPPOAgent, BatchPipeline, HyperparamSet

actor = tf.keras.Sequential([
    tf.keras.layers.Input(shape=(4,)),
    tf.keras.layers.Dense(64, activation="tanh"),
    tf.keras.layers.Dense(64, activation="tanh"),
    tf.keras.layers.Dense(2),                    # logits, one per action
])
critic = tf.keras.Sequential([
    tf.keras.layers.Input(shape=(4,)),
    tf.keras.layers.Dense(64, activation="tanh"),
    tf.keras.layers.Dense(64, activation="tanh"),
    tf.keras.layers.Dense(1),                    # scalar value estimate
])

agent = TFPPOAgent(
    actor=actor,
    critic=critic,
    optimizer=tf.keras.optimizers.Adam(3e-4),
    hyperparams=HyperparamSet(params={
        "learning_rate": 3e-4,
        "clip_ratio":    0.2,
        "entropy_coef":  0.01,
        "vf_coef":       0.5,
        "gamma":         0.99,
        "gae_lambda":    0.95,
        "n_epochs":      10,
        "minibatch_size": 64,
    }, episode_id=0),
)

env      = gym.make("CartPole-v1")
pipeline = BatchPipeline(env=env, agent=agent, window_size=2048)

opt = RLOptimizer(agent=agent, pipeline=pipeline{budget})
opt.run()  # runs until convergence, auto-tunes hyperparams, saves best checkpoint
"""


def test_the_quick_start_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(QUICK_START.replace("{budget}", ", max_episodes=3"), names)  # as printed, but for a budget
    result = names["opt"].result
    assert result.env_steps >= 3 * 2048
    assert names["agent"]._learner.n_traces == 1


OFF_POLICY = """
q_net = tf.keras.Sequential([
    tf.keras.layers.Input(shape=(obs_dim,)),
    tf.keras.layers.Dense(64, activation="relu"),
    tf.keras.layers.Dense(n_actions),    # Q-values for all actions
])

dqn = TFDQNAgent(
    q_network=q_net,
    n_actions=n_actions,
    optimizer=tf.keras.optimizers.Adam(3e-4),
    hyperparams=HyperparamSet(params={
        "learning_rate": 3e-4, "gamma": 0.99,
        "epsilon": 1.0, "epsilon_min": 0.05, "epsilon_decay": 0.995,
        "batch_size": 64, "target_update_freq": 100,
        "replay_capacity": 100_000,
        "per_alpha": 0.0,        # 0 = uniform replay; 1 = full prioritized
        "per_beta":  0.4,        # IS correction exponent
        "n_step":    1,          # multi-step TD return length
    }, episode_id=0),
)

action_dim = 6   # e.g. MuJoCo Ant

actor   = tf.keras.Sequential([        # obs → [mean || log_std], shape [batch, 2*action_dim]
    tf.keras.layers.Input(shape=(obs_dim,)),
    tf.keras.layers.Dense(256, activation="relu"),
    tf.keras.layers.Dense(action_dim * 2),
])
critic1 = tf.keras.Sequential([        # [obs || action] → Q-value
    tf.keras.layers.Input(shape=(obs_dim + action_dim,)),
    tf.keras.layers.Dense(256, activation="relu"),
    tf.keras.layers.Dense(1),
])
critic2 = tf.keras.models.clone_model(critic1)   # independent weights (twin-Q)

sac = TFSACAgent(
    actor=actor, critic1=critic1, critic2=critic2,
    action_dim=action_dim,
    actor_optimizer=tf.keras.optimizers.Adam(3e-4),
    critic_optimizer=tf.keras.optimizers.Adam(3e-4),
    alpha_optimizer=tf.keras.optimizers.Adam(3e-4),
    hyperparams=HyperparamSet(params={
        "learning_rate": 3e-4, "gamma": 0.99,
        "tau": 0.005, "batch_size": 256,
        "replay_capacity": 1_000_000,
    }, episode_id=0),
)
"""


def test_the_off_policy_snippets_run_as_printed():
    names = {"tf": tf, "TFDQNAgent": TFDQNAgent, "TFSACAgent": TFSACAgent, "HyperparamSet": HyperparamSet,
             "obs_dim": 5, "n_actions": 3}  # fmt: skip
    exec(OFF_POLICY, names)
    assert names["dqn"].act(np.zeros(5)) in (0, 1, 2)
    action = names["sac"].act(np.zeros(5))
    assert action.shape == (6,)
    assert np.abs(action).max() < 1.0


class TradingPPO(TFPPOAgent):
    """Adds action distribution logging to standard PPO."""

    def learn(self, episode_data):
        diag = super().learn(episode_data)           # full PPO update
        obs  = tf.cast(episode_data.observations[:256], tf.float32)
        probs = tf.nn.softmax(self._actor(obs, training=False))
        probs_mean = tf.reduce_mean(probs, axis=0).numpy()
        diag["p_flat"]  = float(probs_mean[0])
        diag["p_long"]  = float(probs_mean[1])
        diag["p_short"] = float(probs_mean[2])
        return diag


def test_a_subclass_as_published_learns_and_reports():
    agent = TradingPPO(mlp(3, 3, 0), mlp(3, 1, 1), adam(), HyperparamSet({"n_epochs": 1}), jit_compile=False)
    diagnostics = agent.learn(one_step_window(agent, np.random.default_rng(0)))
    assert diagnostics["p_flat"] + diagnostics["p_long"] + diagnostics["p_short"] == pytest.approx(1.0, abs=1e-5)
    assert "policy_loss" in diagnostics


def test_the_reward_normalizer_snippet_runs_as_printed():
    from tensor_optix.core.normalizers import RewardNormalizer

    reward_norm = RewardNormalizer(gamma=0.99, clip=10.0)
    agent = TFPPOAgent(
        actor=mlp(3, 3, 0), critic=mlp(3, 1, 1), optimizer=adam(), hyperparams=HyperparamSet({"n_epochs": 1}),
        jit_compile=False,
        reward_normalizer=reward_norm,   # resets at done, normalizes before GAE
    )
    before = split_state(agent.state_dict()["policy"]["normalizers"])
    agent.learn(one_step_window(agent, np.random.default_rng(0)))
    assert str(before) != str(split_state(agent.state_dict()["policy"]["normalizers"]))
