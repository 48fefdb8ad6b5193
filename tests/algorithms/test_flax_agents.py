"""The JAX leaves: each learns a task of known optimum, goes on exactly after a restore, and keeps the user's parts."""

import os

import numpy as np
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")
optax = pytest.importorskip("optax")
import jax.numpy as jnp  # noqa: E402

from tensor_optix.adapters.jax.flax_agent import FlaxAgent  # noqa: E402
from tensor_optix.adapters.jax.flax_evaluator import FlaxEvaluator  # noqa: E402
from tensor_optix.algorithms.flax_dqn import FlaxDQNAgent  # noqa: E402
from tensor_optix.algorithms.flax_ppo import FlaxPPOAgent  # noqa: E402
from tensor_optix.algorithms.flax_ppo_continuous import FlaxGaussianPPOAgent  # noqa: E402
from tensor_optix.algorithms.flax_sac import FlaxSACAgent  # noqa: E402
from tensor_optix.core.evaluators import ReturnEvaluator  # noqa: E402
from tensor_optix.core.state import split_state  # noqa: E402
from tensor_optix.core.types import EpisodeData  # noqa: E402
from tensor_optix.errors import ArchitectureMismatch, ConfigError  # noqa: E402
from tests.flax_cache import compiled_once, xla_directory  # noqa: E402, F401


def mlp(n_inputs, n_outputs, seed=0):
    rngs = nnx.Rngs(seed)
    return nnx.Sequential(nnx.Linear(n_inputs, 32, rngs=rngs), nnx.tanh, nnx.Linear(32, n_outputs, rngs=rngs))


def ppo(seed=0, **params):
    return FlaxPPOAgent(mlp(3, 3, seed), mlp(3, 1, seed + 9), optax.adam(3e-3),
                        {"gamma": 0.5, "entropy_coef": 0.0, **params})  # fmt: skip


def gaussian_ppo(seed=0, **params):
    return FlaxGaussianPPOAgent(mlp(3, 2, seed), mlp(3, 1, seed + 9), optax.adam(3e-3), 1,
                                {"gamma": 0.5, "entropy_coef": 0.0, **params})  # fmt: skip


def dqn(seed=0, **params):
    return FlaxDQNAgent(mlp(3, 3, seed), 3, optax.adam(3e-3), {
        "learning_starts": 64, "batch_size": 64, "updates_per_step": 0.25, "epsilon_decay": 0.995,
        "target_update_freq": 20, "replay_capacity": 2000, **params,
    })  # fmt: skip


def sac(seed=0, **params):
    return FlaxSACAgent(
        mlp(3, 2, seed), mlp(4, 1, seed + 1), mlp(4, 1, seed + 2), 1, optax.adam(3e-3), optax.adam(3e-3),
        optax.adam(3e-3), {"learning_starts": 64, "batch_size": 64, "updates_per_step": 0.25, "replay_capacity": 2000,
                           "log_alpha_init": -2.0, **params},
    )  # fmt: skip


TARGETS = np.array([-0.6, 0.1, 0.7], np.float32)


def seeded(agent, seed=0):
    agent.seed(np.random.default_rng(seed))
    return agent


def play(agent, rng, n_rows=128, *, continuous=False):
    """One window of episodes of one step: name the state that is shown, or give the number that belongs to it."""
    states = rng.integers(0, 3, n_rows)
    observations = np.eye(3, dtype=np.float32)[states]
    actions, extras = agent.act_batch(observations, rng=rng)
    if continuous:
        rewards = (-np.square(actions[:, 0] - TARGETS[states])).tolist()
    else:
        rewards = (actions == states).astype(float).tolist()
    ends = {row: observations[row] for row in range(n_rows)}
    return EpisodeData(observations, actions, rewards, [True] * n_rows, [False] * n_rows, [{}] * n_rows, 0,
                       extras=extras, final_observations=ends)  # fmt: skip


def learn(agent, n_windows, *, continuous=False, seed=0):
    rng = np.random.default_rng(seed)
    return [agent.learn(play(agent, rng, continuous=continuous)) for _ in range(n_windows)]


def arrays_of(agent):
    _, arrays = split_state(agent.state_dict())
    return {name: array.tobytes() for name, array in arrays.items()}


# -- learning --------------------------------------------------------------------------------------------------------


def test_the_first_ratio_of_ppo_is_one():
    for make, continuous in ((ppo, False), (gaussian_ppo, True)):
        agent = seeded(make(n_epochs=1, minibatch_size=128))
        diagnostics = learn(agent, 1, continuous=continuous)[0]
        assert diagnostics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
        assert diagnostics["clip_fraction"] == 0.0


# -- state -----------------------------------------------------------------------------------------------------------


def test_one_seed_gives_bit_identical_learning():
    states = []
    for seed in (1, 1, 2):
        agent = seeded(sac(), seed)
        learn(agent, 2, continuous=True)
        states.append(arrays_of(agent))
    assert states[0] == states[1] != states[2]


def test_weights_come_back_from_disk_and_their_mean_too(tmp_path):
    first, second, other = ppo(1), ppo(2), ppo(3)
    for number, agent in enumerate((first, second)):
        agent.save_weights(str(tmp_path / str(number)))
    other.load_weights(str(tmp_path / "1"))
    np.testing.assert_array_equal(other.action_probs(np.ones(3)), second.action_probs(np.ones(3)))
    other.average_weights([str(tmp_path / "0"), str(tmp_path / "1")])
    kernels = [agent.actor.layers[0].kernel[...] for agent in (first, second, other)]
    np.testing.assert_allclose(kernels[2], (kernels[0] + kernels[1]) / 2, rtol=1e-6)


def test_weights_of_another_architecture_are_refused_with_the_layers_named(tmp_path):
    dqn().save_weights(str(tmp_path / "weights"))
    wider = FlaxDQNAgent(mlp(3, 4), 4, optax.adam(1e-3), {})
    with pytest.raises(ArchitectureMismatch, match=r"q.layers.2.kernel is \(32, 3\) there and \(32, 4\) here"):
        wider.load_weights(str(tmp_path / "weights"))


# -- the user's own parts --------------------------------------------------------------------------------------------


def test_the_users_models_are_the_ones_that_learn():
    agent = seeded(ppo())
    model = agent.actor
    before = np.array(model.layers[0].kernel[...])
    learn(agent, 1)
    assert agent.actor is agent._actor is model
    assert not np.array_equal(before, model.layers[0].kernel[...])
    probabilities = agent.action_probs(np.eye(3)[1])
    np.testing.assert_allclose(probabilities, jax.nn.softmax(model(jnp.eye(3)[1:2]))[0], rtol=1e-4)


class Trading(FlaxPPOAgent):
    """As users extend an agent: more diagnostics around the whole update."""

    def learn(self, episode_data):
        diagnostics = super().learn(episode_data)
        shares = nnx.softmax(self._actor(jnp.asarray(episode_data.observations[:64], jnp.float32))).mean(axis=0)
        return {**diagnostics, "p_flat": float(shares[0]), "p_long": float(shares[1]), "p_short": float(shares[2])}


def test_a_subclass_that_overrides_learn_works():
    agent = seeded(Trading(mlp(3, 3), mlp(3, 1, 9), optax.adam(3e-3), {"gamma": 0.5, "entropy_coef": 0.0}))
    diagnostics = learn(agent, 1)[0]
    assert sum(diagnostics[name] for name in ("p_flat", "p_long", "p_short")) == pytest.approx(1.0, abs=1e-5)
    assert diagnostics["n_updates"] > 0


def test_the_users_learning_rate_wins_over_the_optimizers():
    assert ppo().get_hyperparams().params["learning_rate"] == pytest.approx(3e-3)
    given = ppo(learning_rate=1e-4)
    assert given._learner.learning_rate == pytest.approx(1e-4)


def test_a_loss_of_the_users_own_takes_the_place_of_the_built_in_one():
    seen = []

    def toward_the_window(model, window, targets):
        seen.append((window.length, targets.shape))
        log_p = jax.nn.log_softmax(model(window.observations))
        return -jnp.mean(jnp.take_along_axis(log_p, window.observations.argmax(-1)[:, None], 1))

    agent = seeded(FlaxAgent(mlp(3, 3), optax.adam(1e-2), {}, toward_the_window))
    losses = [one["loss"] for one in learn(agent, 12)]
    assert losses[-1] < 0.5 * losses[0]
    assert set(seen) == {(128, (128,))}


def test_a_model_may_be_any_module():
    class Model(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.body = nnx.Linear(3, 32, rngs=rngs)
            self.norm = nnx.LayerNorm(32, rngs=rngs)
            self.drop = nnx.Dropout(0.1, rngs=rngs)
            self.head = nnx.Linear(32, 3, rngs=rngs)

        def __call__(self, x):
            return self.head(self.drop(jax.nn.gelu(self.norm(self.body(x)))))

    agent = seeded(FlaxPPOAgent(Model(), mlp(3, 1), optax.adamw(3e-3), {"gamma": 0.5, "entropy_coef": 0.0}))
    learn(agent, 10)
    assert [agent.act(row, deterministic=True) for row in np.eye(3)] == [0, 1, 2]


def test_an_unknown_device_is_refused():
    with pytest.raises(ConfigError, match="device must be one that JAX has here, got 'abacus'"):
        FlaxPPOAgent(mlp(3, 3), mlp(3, 1), optax.adam(1e-3), {}, device="abacus")
    assert FlaxPPOAgent(mlp(3, 3), mlp(3, 1), optax.adam(1e-3), {}, device="cpu").act(np.zeros(3)) in (0, 1, 2)


def test_the_evaluator_is_the_default_one():
    assert issubclass(FlaxEvaluator, ReturnEvaluator)


def test_the_docstrings_example_runs():
    example = FlaxPPOAgent.__doc__.split("Example::")[1]
    scope = {}
    exec("\n".join(line[8:] for line in example.splitlines()), scope)
    assert scope["action"] in (0, 1)
