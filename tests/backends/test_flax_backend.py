"""The JAX learner against plain optax: what it changes, what it leaves alone, and what it never compiles twice."""

import os

import numpy as np
import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")
optax = pytest.importorskip("optax")
import jax.numpy as jnp  # noqa: E402

from tensor_optix.algorithms.losses import ppo_estimates, ppo_loss  # noqa: E402
from tensor_optix.backends.base import EpochStop, Step, Update  # noqa: E402
from tensor_optix.backends.flax_backend import FlaxLearner, padded_rows  # noqa: E402
from tensor_optix.backends.flax_ops import FlaxOps  # noqa: E402
from tensor_optix.backends.numpy_backend import HostMLP  # noqa: E402
from tensor_optix.core.state import join_state, split_state  # noqa: E402
from tensor_optix.core.trajectory_buffer import minibatch_rows  # noqa: E402
from tensor_optix.errors import ArchitectureMismatch, ConfigError, NonFiniteError  # noqa: E402
from tests.flax_cache import compiled_once, xla_directory  # noqa: E402, F401

SCALARS = {"clip_ratio": 0.2, "vf_coef": 0.5, "entropy_coef": 0.01}
BOTH = ("actor", "critic")


def poisoned_loss(ops, networks, batch, scalars):
    """PPO's, of which "poison" 1 makes the gradient not finite, and 2 the loss."""
    value, metrics = ppo_loss(ops, networks, batch, scalars)
    poison = scalars["poison"]
    root = jnp.sqrt(value * 0.0 + jnp.where(poison == 1, 0.0, 1.0))  # at 0 its value is finite and its slope is not
    return value * jnp.where(poison == 2, jnp.nan, 1.0) + root, metrics


UPDATE = Update((Step(ppo_loss, "optimizer", BOTH),))
POISONED = Update((Step(poisoned_loss, "optimizer", BOTH),))


class MLP(nnx.Module):
    """What a user writes: no Sequential."""

    def __init__(self, n_outputs, seed=0):
        rngs = nnx.Rngs(seed)
        self.first = nnx.Linear(4, 16, rngs=rngs)
        self.last = nnx.Linear(16, n_outputs, rngs=rngs)

    def __call__(self, x):
        return self.last(jnp.tanh(self.first(x)))


class WithNorms(nnx.Module):
    def __init__(self, n_outputs, seed=0):
        rngs = nnx.Rngs(seed)
        self.first = nnx.Linear(4, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(16, n_outputs, rngs=rngs)

    def __call__(self, x):
        return self.last(self.drop(jnp.tanh(self.norm(self.first(x)))))


def mlp(n_outputs, seed=0):
    rngs = nnx.Rngs(seed)
    return nnx.Sequential(
        nnx.Linear(4, 16, rngs=rngs), nnx.tanh, nnx.Linear(16, n_outputs, rngs=rngs)
    )


def actor_critic():
    return {"actor": mlp(2, 0), "critic": mlp(1, 1)}


def written_by_hand():
    return {"actor": MLP(2, 0), "critic": MLP(1, 1)}


def shared_trunk():
    rngs = nnx.Rngs(0)
    trunk = nnx.Linear(4, 16, rngs=rngs)
    heads = {"actor": nnx.Linear(16, 2, rngs=rngs), "critic": nnx.Linear(16, 1, rngs=rngs)}
    return {name: nnx.Sequential(trunk, nnx.tanh, head) for name, head in heads.items()}


def with_norms():
    return {"actor": WithNorms(2, 0), "critic": WithNorms(1, 1)}


OPTIMIZERS = {
    "adam": lambda: optax.adam(1e-3),
    "adamw": lambda: optax.adamw(1e-3, weight_decay=0.1),
    "sgd": lambda: optax.sgd(1e-2, momentum=0.9, nesterov=True),
    "chain": lambda: optax.chain(optax.clip(0.1), optax.rmsprop(1e-3)),
    "schedule": lambda: optax.adam(optax.linear_schedule(1e-3, 1e-4, 20)),
    "injected": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=1e-3),
    "labelled": lambda: optax.multi_transform(
        {"actor": optax.adam(1e-3), "critic": optax.sgd(1e-2)}, {"actor": "actor", "critic": "critic"}
    ),
}


def learner(build=actor_critic, optimizer="adam"):
    """Compiled with Adam only: the operations are the same, and each other program would take seconds to compile."""
    return FlaxLearner(build(), {"optimizer": OPTIMIZERS[optimizer]()}, compiled=optimizer == "adam")


def window(n_rows=96):
    rng = np.random.default_rng(3)
    return {
        "observation": rng.standard_normal((n_rows, 4)).astype(np.float32),
        "action": rng.integers(0, 2, n_rows),
        "log_prob": np.log(rng.uniform(0.3, 0.7, n_rows)).astype(np.float32),
        "advantage": rng.standard_normal(n_rows).astype(np.float32),
        "return": rng.standard_normal(n_rows).astype(np.float32),
    }


def shuffled(n_epochs=3, seed=0):
    return minibatch_rows(96, 32, n_epochs, np.random.default_rng(seed))


def run(made, update=UPDATE, *, n_epochs=3, seed=0, max_grad_norm=0.5, stop=None, **scalars):
    return made.run(update, window(), shuffled(n_epochs, seed), {**SCALARS, **scalars}, max_grad_norm=max_grad_norm,
                    rng=np.random.default_rng(seed), stop=stop)  # fmt: skip


def poison(bad, n_epochs=3, kind=2):
    marks = np.zeros(3 * n_epochs)
    marks[list(bad)] = kind
    return marks.reshape(n_epochs, 3)


def weights(networks):
    leaves = jax.tree.leaves(nnx.state(networks, nnx.Any(nnx.Param, nnx.BatchStat)))
    return [np.array(leaf) for leaf in leaves]


def max_difference(networks, others):
    return max(float(np.abs(a - b).max()) for a, b in zip(weights(networks), weights(others), strict=True))


def bits(made):
    state = made.state_dict()
    _, arrays = split_state([state["networks"], state["optimizers"]])
    return {name: array.tobytes() for name, array in arrays.items()}


def reference_run(networks, transformation):
    """The same updates as ``run``, in plain flax and optax."""
    graph, params, rest = nnx.split(networks, nnx.Param, ...)
    state = transformation.init(nnx.to_pure_dict(params))
    data = {name: jnp.asarray(column) for name, column in window().items()}

    def loss(params, batch):
        return ppo_loss(FlaxOps(), nnx.merge(graph, params, rest), batch, SCALARS)[0]

    def step(params, state, batch):
        gradient = nnx.to_pure_dict(jax.grad(loss)(params, batch))
        clipped, _ = optax.clip_by_global_norm(0.5).update(gradient, optax.EmptyState())
        changes, state = transformation.update(clipped, state, nnx.to_pure_dict(params))
        return optax.apply_updates(nnx.to_pure_dict(params), changes), state

    for rows in shuffled().reshape(-1, 32):
        pure, state = step(params, state, {name: column[rows] for name, column in data.items()})
        nnx.replace_by_pure_dict(params, pure)
    return nnx.merge(graph, params, rest)


def n_compiled(made):
    return sum(program.call._cache_size() for key, program in made._compiled.items() if key[0] == "epoch")


# -- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "optimizer"),
    [(actor_critic, name) for name in OPTIMIZERS] + [(shared_trunk, "adam"), (written_by_hand, "adamw")],
)
def test_a_run_is_what_plain_optax_does(build, optimizer):
    made = learner(build, optimizer)
    run(made)
    assert max_difference(made.networks, reference_run(build(), OPTIMIZERS[optimizer]())) < 2e-6


def test_the_users_own_modules_hold_the_new_weights():
    networks = actor_critic()
    kernel = networks["actor"].layers[0].kernel
    before = np.array(kernel.get_value())
    run(FlaxLearner(networks, {"optimizer": optax.adam(1e-3)}, compiled=False))
    assert networks["actor"].layers[0].kernel is kernel
    assert not np.array_equal(before, kernel.get_value())


def test_weights_that_the_user_sets_are_used():
    made, other = learner(), learner(lambda: {"actor": mlp(2, 5), "critic": mlp(1, 6)})
    run(made)
    run(other)
    nnx.update(other.networks["actor"], nnx.state(made.networks["actor"]))
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(other.forward("actor", x), made.forward("actor", x))


def test_nothing_that_changes_from_window_to_window_compiles_anew():
    made = learner(optimizer="adam")
    run(made, stop=EpochStop("approx_kl", 9.0))
    for n_epochs, limit in ((1, 8.0), (7, 1e-3), (40, 2.0)):
        made.learning_rate = 1e-4 * n_epochs
        run(made, n_epochs=n_epochs, stop=EpochStop("approx_kl", limit), max_grad_norm=0.1 * n_epochs,
            clip_ratio=0.1 + limit / 100, entropy_coef=np.full((n_epochs, 3), 0.02))  # fmt: skip
        made.load_state_dict(made.state_dict())
        made.perturb(1e-3, np.random.default_rng(0))
    assert n_compiled(made) == 1


def test_windows_of_about_the_same_length_are_one_program():
    made = learner()
    for n_rows in (96, 113, 128):
        rows = minibatch_rows(n_rows, 32, 1, np.random.default_rng(0))
        made.run(UPDATE, window(n_rows), rows, SCALARS, max_grad_norm=0.5, rng=np.random.default_rng(0))
    assert n_compiled(made) == 1


def test_metrics_are_means_over_the_last_epoch():
    made, other = learner(), learner()
    metrics = run(made)
    run(other, n_epochs=2)
    last = shuffled()[2:]
    each = [
        other.run(UPDATE, window(), last[:, m : m + 1], SCALARS, max_grad_norm=0.5, rng=np.random.default_rng(0))
        for m in range(3)
    ]
    assert metrics["n_updates"] == 9
    for name in ("policy_loss", "value_loss", "entropy", "approx_kl", "grad_norm"):
        assert metrics[name] == pytest.approx(np.mean([one[name] for one in each]), rel=1e-4, abs=1e-6)


def test_no_epoch_begins_after_one_above_the_limit():
    made, two_epochs = learner(), learner()
    drift = [run(learner(), n_epochs=n, clip_ratio=0.9)["approx_kl"] for n in (1, 2, 3)]
    assert drift[0] < drift[1] < drift[2]
    limit = (drift[0] + drift[1]) / 2
    metrics = run(made, n_epochs=5, clip_ratio=0.9, stop=EpochStop("approx_kl", limit))
    assert metrics["n_updates"] == 6
    assert metrics["approx_kl"] == pytest.approx(drift[1], rel=1e-5)
    run(two_epochs, n_epochs=2, clip_ratio=0.9)
    assert max_difference(made.networks, two_epochs.networks) < 1e-6


def test_scalars_may_differ_from_update_to_update():
    one, other, constant = learner(), learner(), learner()
    table = np.linspace(0.0, 1.0, 9).reshape(3, 3)
    run(one, vf_coef=table)
    for number, rows in enumerate(shuffled().reshape(9, 1, 1, 32)):
        other.run(UPDATE, window(), rows, {**SCALARS, "vf_coef": table.flat[number]}, max_grad_norm=0.5,
                  rng=np.random.default_rng(0))  # fmt: skip
    run(constant)
    assert max_difference(one.networks, other.networks) < 1e-6
    assert max_difference(one.networks, constant.networks) > 1e-5


# -- several optimizers, targets --------------------------------------------------------------------------------------


def policy_loss(ops, networks, batch, scalars):
    value = ops.mean(ops.squeeze_last(networks["critic"](batch["observation"])) * batch["advantage"])
    return value + ops.mean(ops.square(networks["actor"](batch["observation"]))), {"policy": value}


def value_loss(ops, networks, batch, scalars):
    goal = ops.squeeze_last(networks["target"](batch["observation"])) + batch["return"]
    return ops.mean(ops.square(ops.squeeze_last(networks["critic"](batch["observation"])) - goal)), {"value": goal[0]}


TWO_STEPS = Update(
    (Step(policy_loss, "actor_optimizer", ("actor",)), Step(value_loss, "critic_optimizer", ("critic",))),
    {"target": "critic"},
)


def three_networks(actor_rate=1e-3):
    networks = {"actor": mlp(2, 0), "critic": mlp(1, 1), "target": mlp(1, 2)}
    optimizers = {"actor_optimizer": optax.sgd(actor_rate), "critic_optimizer": optax.adam(3e-3)}
    return FlaxLearner(networks, optimizers, trains={"actor_optimizer": ["actor"], "critic_optimizer": ["critic"]})


def test_a_step_changes_only_what_it_trains():
    made = three_networks()
    before = weights(made.networks["target"])
    metrics = run(made, TWO_STEPS, tau=0.0)
    assert {"policy", "value", "actor_optimizer_grad_norm", "critic_optimizer_grad_norm"} <= set(metrics)
    assert all(np.array_equal(a, b) for a, b in zip(before, weights(made.networks["target"]), strict=True))
    still = three_networks()
    still.learning_rate = 1e-30  # of the actor's optimizer; the other keeps its ratio to it
    run(still, TWO_STEPS, tau=0.0)
    assert max_difference(still.networks, three_networks().networks) < 1e-6
    assert max_difference(made.networks["actor"], mlp(2, 0)) > 1e-5
    assert max_difference(made.networks["critic"], mlp(1, 1)) > 1e-4


def test_gradients_of_all_steps_are_taken_at_the_same_weights():
    made, alone = three_networks(), three_networks()
    one_row = shuffled(1)[:, :1]
    made.run(TWO_STEPS, window(), one_row, {"tau": 0.0}, max_grad_norm=1e9, rng=np.random.default_rng(0))
    _, gradients = alone.loss_and_gradients(
        TWO_STEPS.steps[0], {name: column[one_row[0, 0]] for name, column in window().items()}, {}
    )
    expected = [w - 1e-3 * g for w, g in zip(weights(mlp(2, 0)), gradients["actor"].values(), strict=True)]
    for ours, theirs in zip(weights(made.networks["actor"]), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_targets_follow_at_the_rate_of_each_update():
    made = three_networks()
    run(made, TWO_STEPS, n_epochs=1, tau=np.array([[0.3, 0.0, 1.0]]))
    assert max_difference(made.networks["target"], made.networks["critic"]) == 0.0
    halfway = three_networks()
    before = weights(halfway.networks["target"])
    one = shuffled(1)[:, :1]
    halfway.run(TWO_STEPS, window(), one, {"tau": 0.25}, max_grad_norm=1.0, rng=np.random.default_rng(0))
    after, sources = weights(halfway.networks["target"]), weights(halfway.networks["critic"])
    for old, new, source in zip(before, after, sources, strict=True):
        np.testing.assert_allclose(new, 0.25 * source + 0.75 * old, atol=1e-7)


def test_a_step_must_train_what_its_optimizer_holds():
    with pytest.raises(ConfigError, match=r"trains \['actor'\] with optimizer, which holds \['actor', 'critic'\]"):
        run(learner(), Update((Step(ppo_loss, "optimizer", ("actor",)),)))
    with pytest.raises(ConfigError, match="trains must say which of the networks"):
        FlaxLearner(actor_critic(), {"one": optax.adam(1e-3), "two": optax.adam(1e-3)}, trains={"one": ["actor"]})


# -- learning rate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transformation", "rate"),
    [
        (optax.adam(2e-3), 2e-3), (optax.sgd(0.3, 0.9), 0.3), (optax.chain(optax.clip(1.0), optax.lion(1e-4)), 1e-4),
        (optax.inject_hyperparams(optax.adamw)(7e-4), 7e-4), (optax.rmsprop(1e-2, momentum=0.5), 1e-2),
        (optax.chain(optax.scale_by_adam(), optax.scale(-5e-4)), 5e-4),
        (optax.adam(optax.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)), 1e-3),
        (optax.inject_hyperparams(optax.adam)(optax.linear_schedule(1e-3, 0.0, 10)), 1e-3),
        (optax.apply_if_finite(optax.adam(4e-3), 3), 4e-3),
        (optax.multi_transform({"a": optax.adam(1e-3), "b": optax.sgd(1e-2)}, {"actor": "a", "critic": "b"}), 1e-3),
    ],
)  # fmt: skip
def test_the_learning_rate_is_read_from_the_transformation(transformation, rate):
    made = FlaxLearner(actor_critic(), {"optimizer": transformation})
    assert made.learning_rate == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "chain", "injected"])
def test_a_learning_rate_that_is_set_is_as_if_built_with_it(optimizer):
    def build(rate):
        return {
            "adam": optax.adam, "sgd": lambda r: optax.sgd(r, momentum=0.9),
            "chain": lambda r: optax.chain(optax.clip(0.1), optax.rmsprop(r)),
            "injected": optax.inject_hyperparams(optax.adam),
        }[optimizer](rate)  # fmt: skip

    made, reference = (
        FlaxLearner(actor_critic(), {"optimizer": build(rate)}, compiled=False) for rate in (1e-3, 4e-3)
    )
    made.learning_rate = 1e-8
    made.learning_rate = 4e-3
    assert made.learning_rate == pytest.approx(4e-3)
    run(made)
    run(reference)
    assert max_difference(made.networks, reference.networks) < 2e-6


def test_a_rate_that_nobody_tells_is_asked_for():
    def update(gradients, state, params=None):
        return jax.tree.map(lambda g: -0.01 * g, gradients), state

    opaque = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
    with pytest.raises(ConfigError, match="optimizer does not tell its learning rate"):
        FlaxLearner(actor_critic(), {"optimizer": opaque})
    made = FlaxLearner(actor_critic(), {"optimizer": opaque}, learning_rate=0.01, compiled=False)
    reference = FlaxLearner(actor_critic(), {"optimizer": optax.sgd(0.02)}, compiled=False)
    made.learning_rate = 0.02
    run(made)
    run(reference)
    assert max_difference(made.networks, reference.networks) < 1e-7


# -- skipped updates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "build", "kind"),
    [("adam", with_norms, 1), ("adam", with_norms, 2), ("schedule", actor_critic, 1), ("sgd", actor_critic, 2)],
)
def test_a_skipped_update_leaves_weights_statistics_and_moments_bit_for_bit(optimizer, build, kind):
    made = learner(build, optimizer)
    run(made, POISONED, poison=0.0)
    before = bits(made)
    assert run(made, POISONED, n_epochs=1, poison=kind) == {"n_updates": 0, "skipped_updates": 3}
    assert bits(made) == before


@pytest.mark.parametrize("bad", [{0}, {4}, {0, 1}, {6, 7, 8}])
def test_the_other_updates_are_what_they_would_have_been_without_it(bad):
    made, other = learner(), learner()
    metrics = run(made, POISONED, poison=poison(bad))
    rows = shuffled().reshape(9, 1, 1, 32)
    for number in set(range(9)) - bad:
        other.run(UPDATE, window(), rows[number], SCALARS, max_grad_norm=0.5, rng=np.random.default_rng(0))
    assert max_difference(made.networks, other.networks) < 2e-6
    assert (metrics["n_updates"], metrics["skipped_updates"]) == (9 - len(bad), len(bad))
    assert all(np.isfinite(value) for value in metrics.values())


def test_one_bad_step_skips_all_steps_and_the_target():
    def bad(ops, networks, batch, scalars):
        loss, metrics = value_loss(ops, networks, batch, scalars)
        return loss * scalars["poison"], metrics

    made = three_networks()
    update = Update((TWO_STEPS.steps[0], Step(bad, "critic_optimizer", ("critic",))), {"target": "critic"})
    before = bits(made)
    assert run(made, update, n_epochs=1, poison=np.nan, tau=0.5)["skipped_updates"] == 3
    assert bits(made) == before


def test_random_numbers_that_a_skipped_update_drew_are_drawn():
    results = []
    for kind in (1, 2):
        made = learner(with_norms)
        run(made, POISONED, poison=poison({2}, kind=kind))
        results.append(made.networks)
    assert max_difference(*results) == 0.0


def test_the_fifth_skipped_update_in_a_row_is_an_error_that_loses_nothing():
    made, other = learner(), learner()
    with pytest.raises(NonFiniteError, match=r"5 updates in a row .* the loss is nan .* lower learning_rate"):
        run(made, POISONED, poison=poison(range(3, 9)))
    run(other, n_epochs=1)
    assert max_difference(made.networks, other.networks) < 1e-6  # what was learned before them stays
    run(made, POISONED, poison=poison({0, 1, 2, 3, 5, 6, 7, 8}))  # the count has begun anew; never five in a row
    for _ in range(2):
        with pytest.raises(NonFiniteError):
            run(made, POISONED, poison=poison(range(9)))


def test_updates_after_the_fifth_in_a_row_are_not_made():
    made = learner()
    before = bits(made)
    with pytest.raises(NonFiniteError):
        run(made, POISONED, poison=poison(range(5)))
    assert bits(made) == before


def test_skipped_updates_in_a_row_are_counted_across_runs_and_saved():
    made, resumed = learner(), learner()
    run(made, POISONED, poison=poison({5, 6, 7, 8}))
    resumed.load_state_dict(made.state_dict())
    with pytest.raises(NonFiniteError):
        run(resumed, POISONED, poison=poison({0}))
    assert run(made, POISONED, poison=poison({1, 2, 3, 4}))["skipped_updates"] == 4


# -- modes, randomness ------------------------------------------------------------------------------------------------


def test_dropout_draws_from_our_stream_and_leaves_the_users_alone():
    results = []
    for own_seed in (1, 2):
        networks = with_norms()
        networks["actor"].drop.rngs.key.set_value(jax.random.key(own_seed))
        made = FlaxLearner(networks, {"optimizer": optax.adam(1e-3)})
        run(made)
        assert jax.random.key_data(networks["actor"].drop.rngs.key.get_value()).tolist() == [0, own_seed]
        assert int(networks["actor"].drop.rngs.count.get_value()) == 0
        results.append(networks)
    assert max_difference(*results) == 0.0
    another = learner(with_norms)
    run(another, seed=1)
    assert max_difference(another.networks, results[0]) > 0.0


def test_acting_is_in_evaluation_mode_and_learning_in_the_users():
    networks = with_norms()
    made = FlaxLearner(networks, {"optimizer": optax.adam(1e-3)})
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    before = bits(made)
    np.testing.assert_array_equal(made.forward("actor", x), made.forward("actor", x))
    np.testing.assert_allclose(made.forward("actor", x)[:2], made.forward("actor", x[:2]), atol=1e-6)
    np.testing.assert_array_equal(made.acting_forward("actor")(x), made.forward("actor", x))
    assert bits(made) == before
    assert networks["actor"].drop.deterministic is False
    means = [np.array(networks[name].norm.mean.get_value()) for name in BOTH]
    networks["actor"].eval()
    run(made)
    assert np.array_equal(means[0], networks["actor"].norm.mean.get_value())  # frozen by the user
    assert not np.array_equal(means[1], networks["critic"].norm.mean.get_value())
    networks["actor"].train()
    run(made)
    assert not np.array_equal(means[0], networks["actor"].norm.mean.get_value())


# -- acting -----------------------------------------------------------------------------------------------------------


def dense_stacks():
    for activation in (nnx.tanh, jnp.tanh, nnx.relu, jax.nn.relu, nnx.sigmoid, nnx.elu, nnx.leaky_relu):
        rngs = nnx.Rngs(0)
        yield nnx.Sequential(
            nnx.Linear(4, 8, rngs=rngs), activation, nnx.Linear(8, 3, use_bias=False, rngs=rngs), nnx.tanh
        )


@pytest.mark.parametrize("stack", list(dense_stacks()), ids=lambda stack: stack.layers[1].__name__)
def test_a_dense_stack_acts_on_the_host(stack):
    made = FlaxLearner({"actor": stack}, {"optimizer": optax.sgd(0.1)})
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    for _ in range(2):
        host = made.acting_forward("actor")
        assert isinstance(host, HostMLP)
        np.testing.assert_allclose(host(x), made.forward("actor", x), rtol=1e-4, atol=1e-6)
        made.perturb(0.5, np.random.default_rng(0))


@pytest.mark.parametrize(
    "module",
    [
        MLP(2), WithNorms(2), type("Mine", (nnx.Sequential,), {})(nnx.Linear(4, 2, rngs=nnx.Rngs(0))),
        nnx.Sequential(nnx.Linear(4, 2, rngs=nnx.Rngs(0)), lambda x: 2 * x),
    ],
    ids=["class", "norms", "subclass", "lambda"],
)  # fmt: skip
def test_anything_else_acts_through_the_module(module):
    made = FlaxLearner({"actor": module}, {"optimizer": optax.sgd(0.1)})
    act = made.acting_forward("actor")
    assert not isinstance(act, HostMLP)
    x = np.ones((3, 4), np.float32)
    module.eval()
    np.testing.assert_allclose(act(x), module(x), rtol=1e-5)


def test_few_shapes_are_compiled_for_batches_of_any_size():
    made = learner()
    for n_rows in range(1, 70):
        data = {name: column[:n_rows] for name, column in window().items()}
        estimates = made.evaluate(ppo_estimates, data)
        assert [column.shape for column in estimates.values()] == [(n_rows,), (n_rows,)]
        np.testing.assert_allclose(made.forward("critic", data["observation"])[:, 0], estimates["value"], atol=1e-6)
    assert made._compiled[("estimate", ppo_estimates)]._cache_size() == 5
    sizes = {1: 1, 2: 4, 4: 4, 5: 16, 64: 64, 65: 256, 1024: 1024, 1025: 2048, 2048: 2048, 2049: 4096}
    assert {n: padded_rows(n) for n in sizes} == sizes


# -- state ------------------------------------------------------------------------------------------------------------


def through_files(state):
    json, arrays = split_state(state)
    return join_state(json, arrays)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_saved_and_loaded_the_run_goes_on_identically(optimizer):
    build = with_norms if optimizer == "adam" else actor_critic
    made, other = learner(build, optimizer), learner(build, optimizer)
    made.learning_rate = other.learning_rate = 2e-3
    run(other, seed=9, n_epochs=1)
    run(made, n_epochs=1)
    other.load_state_dict(through_files(made.state_dict()))
    assert run(made, seed=1, n_epochs=1) == run(other, seed=1, n_epochs=1)
    assert bits(made) == bits(other)


def test_moments_carry_the_names_of_parameters():
    made = learner()
    run(made)
    optimizer = made.state_dict()["optimizers"]["optimizer"]
    assert optimizer["type"] == "ScaleByAdamState+EmptyState"
    assert optimizer["moments"]["critic.layers.2.bias"]["0.nu"].shape == (1,)
    assert optimizer["moments"]["optimizer"]["0.count"] == 9


def test_networks_alone_leave_moments_as_they_are():
    made, other = learner(), learner()
    run(made)
    run(other, seed=4)
    before = other.state_dict()["optimizers"]["optimizer"]["moments"]["actor.layers.0.bias"]["0.mu"]
    other.load_state_dict({"networks": made.state_dict()["networks"]})
    assert max_difference(made.networks, other.networks) == 0.0
    after = other.state_dict()["optimizers"]["optimizer"]["moments"]["actor.layers.0.bias"]["0.mu"]
    np.testing.assert_array_equal(before, after)


def test_other_architectures_are_refused_whole_and_named():
    made = learner()
    before = bits(made)
    wider = {"actor": mlp(2, 5), "critic": nnx.Sequential(nnx.Linear(4, 32, rngs=nnx.Rngs(0)))}
    state = FlaxLearner(wider, {"optimizer": optax.adam(1e-3)}).state_dict()
    with pytest.raises(ArchitectureMismatch) as caught:
        made.load_state_dict(state, source="there.zip")
    assert "there.zip" in str(caught.value)
    assert "critic.layers.0.kernel is (4, 32) there and (4, 16) here" in str(caught.value)
    assert bits(made) == before


def test_moments_of_another_optimizer_are_refused_before_anything_is_loaded():
    made, other = learner(), learner(optimizer="sgd")
    run(other)
    with pytest.raises(ArchitectureMismatch, match=r"TraceState.*here is optimizer: ScaleByAdamState"):
        made.load_state_dict(other.state_dict())
    assert max_difference(made.networks, actor_critic()) == 0.0


def test_perturbation_multiplies_every_trained_weight_once():
    made = FlaxLearner(shared_trunk(), {"optimizer": optax.adam(1e-3)})
    before = weights(made.networks)
    made.perturb(0.1, np.random.default_rng(0))
    factors = [after[old != 0] / old[old != 0] for after, old in zip(weights(made.networks), before, strict=True)]
    assert np.std(np.concatenate([factor.ravel() for factor in factors])) == pytest.approx(0.1, rel=0.2)
    three = three_networks()
    three.perturb(0.1, np.random.default_rng(0))
    assert max_difference(three.networks["target"], mlp(1, 2)) == 0.0


def test_released_it_still_works():
    made, other = learner(), learner()
    run(made)
    run(other)
    made.release()
    assert run(made, seed=1) == run(other, seed=1)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_what_is_no_module_or_no_transformation_is_refused_by_name():
    layer = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    with pytest.raises(ConfigError, match=r"q must be a flax.nnx.Module, got function"):
        FlaxLearner({"q": lambda x: x}, {"optimizer": optax.sgd(0.1)})
    with pytest.raises(ConfigError, match=r"optimizer of q must be an optax transformation .* got Optimizer"):
        FlaxLearner({"q": layer}, {"optimizer": nnx.Optimizer(layer, optax.sgd(0.1), wrt=nnx.Param)})


def test_a_recurrent_network_is_refused():
    with pytest.raises(ConfigError, match=r"recurrent layer \(LSTMCell\)"):
        FlaxLearner({"actor": nnx.LSTMCell(4, 2, rngs=nnx.Rngs(0))}, {"optimizer": optax.adam(1e-3)})


def test_other_types_than_float32_are_refused_with_the_parameters_named():
    networks = actor_critic()
    networks["critic"] = nnx.Linear(4, 1, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    with pytest.raises(ConfigError, match=r"float32 \(critic.bias is bfloat16; critic.kernel is bfloat16\)"):
        FlaxLearner(networks, {"optimizer": optax.adam(1e-3)})
