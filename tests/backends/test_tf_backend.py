"""The TensorFlow learner: its updates against NumPy and torch, what it leaves alone, and what it never does twice."""

import copy
import logging

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from tensor_optix.algorithms.losses import ppo_estimates, ppo_loss
from tensor_optix.backends.base import EpochStop, Step, Update
from tensor_optix.backends.numpy_backend import HostMLP
from tensor_optix.backends.tf_backend import Compilation, TFLearner, TFOps
from tensor_optix.backends.tf_import import keras, tf
from tensor_optix.backends.tf_layers import ScalarParameter, TargetCopy, named_weights
from tensor_optix.core.trajectory_buffer import minibatch_rows
from tensor_optix.errors import ArchitectureMismatch, ConfigError, NonFiniteError

layers = keras.layers
XLA, GRAPH, NONE = Compilation.XLA, Compilation.GRAPH, Compilation.NONE
SCALARS = {"clip_ratio": 0.2, "vf_coef": 0.5, "entropy_coef": 0.01}
PPO = Update((Step(ppo_loss, "optimizer", ("actor", "critic")),))
TRAINS = {"optimizer": ("actor", "critic")}


def mlp(n_outputs, seed=0, hidden=16):
    def dense(n, activation, offset):
        initializer = keras.initializers.GlorotUniform(seed=10 * seed + offset)
        return layers.Dense(n, activation, kernel_initializer=initializer)

    return keras.Sequential([layers.Input((4,)), dense(hidden, "tanh", 0), dense(hidden, "tanh", 1),
                             dense(n_outputs, None, 2)])  # fmt: skip


def actor_critic(seed=0):
    return {"actor": mlp(2, 2 * seed + 1), "critic": mlp(1, 2 * seed + 2)}


def shared_trunk():
    trunk = keras.Sequential([layers.Input((4,)), layers.Dense(16, "tanh")])
    heads = {"actor": layers.Dense(2), "critic": layers.Dense(1)}
    inputs = keras.Input((4,))
    return {name: keras.Model(inputs, head(trunk(inputs))) for name, head in heads.items()}


def adam():
    return keras.optimizers.Adam(1e-3)


def ppo_learner(networks=None, optimizer=None, compilation=NONE):
    """The operations are the same however they are compiled, which takes seconds: it is done where it could matter."""
    optimizers = {"optimizer": optimizer or adam()}
    return TFLearner(networks or actor_critic(), optimizers, trains=TRAINS, compilation=compilation)


def window(n_rows=96):
    rng = np.random.default_rng(3)
    return {
        "observation": rng.standard_normal((n_rows, 4)).astype(np.float32),
        "action": rng.integers(0, 2, n_rows),
        "log_prob": np.log(rng.uniform(0.3, 0.7, n_rows)).astype(np.float32),
        "advantage": rng.standard_normal(n_rows).astype(np.float32),
        "return": rng.standard_normal(n_rows).astype(np.float32),
    }


def run(learner, data=None, n_epochs=3, seed=0, update=PPO, scalars=SCALARS, stop=None):
    data = data or window()
    rows = minibatch_rows(len(next(iter(data.values()))), 32, n_epochs, np.random.default_rng(seed))
    return learner.run(update, data, rows, scalars, max_grad_norm=0.5, rng=np.random.default_rng(seed), stop=stop)


def weights(learner):
    state = learner.state_dict()
    return {f"{name}.{key}": array for name, net in state["networks"].items() for key, array in net.items()}


def everything(learner):
    """All arrays of a learner's state by their paths."""

    def walk(node, path):
        if isinstance(node, dict):
            for key, child in node.items():
                yield from walk(child, f"{path}/{key}")
        else:
            yield path, np.asarray(node)

    return dict(walk(learner.state_dict(), ""))


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype, name
        assert array.tobytes() == second[name].tobytes(), name


# -- training: what an update is ----------------------------------------------------------------------------------


def by_hand(networks, optimizer):
    """The same updates as ``run``, in eager Keras."""
    data = {name: tf.constant(column) for name, column in window().items()}
    variables = list({id(v): v for net in networks.values() for v in net.trainable_variables}.values())
    for rows in minibatch_rows(96, 32, 3, np.random.default_rng(0)).reshape(-1, 32):
        with tf.GradientTape() as tape:
            loss, _ = ppo_loss(TFOps(), networks, {name: tf.gather(x, rows) for name, x in data.items()}, SCALARS)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 0.5)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))


@pytest.mark.parametrize(
    "make_optimizer",
    [
        adam, lambda: keras.optimizers.AdamW(1e-3, weight_decay=0.1), lambda: keras.optimizers.SGD(1e-2, momentum=0.9),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 4, 0.5)),
    ],
    ids=["Adam", "AdamW", "SGD", "schedule"],
)  # fmt: skip
def test_a_run_is_what_the_users_optimizer_does_step_by_step(make_optimizer):
    networks, reference = actor_critic(), actor_critic()
    learner = ppo_learner(networks, make_optimizer(), compilation=XLA if make_optimizer is adam else GRAPH)
    assert run(learner)["n_updates"] == 9
    by_hand(reference, make_optimizer())
    for name, network in networks.items():
        for own, expected in zip(network.weights, reference[name].weights, strict=True):
            np.testing.assert_allclose(own.numpy(), expected.numpy(), atol=3e-6)
    assert int(learner.optimizers["optimizer"].iterations) == 9


def test_without_compilation_the_updates_are_the_same():
    compiled, plain = ppo_learner(compilation=GRAPH), ppo_learner(compilation=NONE)
    assert run(plain) == pytest.approx(run(compiled), rel=1e-4)
    assert plain.n_traces == 0
    for name, array in weights(plain).items():
        np.testing.assert_allclose(array, weights(compiled)[name], atol=1e-6)


def test_networks_may_share_a_trunk():
    networks = shared_trunk()
    before = networks["actor"].layers[1].get_weights()[0].copy()
    learner = ppo_learner(networks, compilation=GRAPH)
    run(learner)
    assert len(learner.optimizers["optimizer"]._trainable_variables) == 6
    assert not np.array_equal(networks["critic"].layers[1].get_weights()[0], before)


class Subclassed(keras.Model):
    def __init__(self, n_outputs):
        super().__init__()
        self.hidden, self.out = layers.Dense(8, "relu"), layers.Dense(n_outputs)

    def call(self, x):
        return self.out(self.hidden(x))


def test_a_subclassed_model_gets_its_weights_from_the_first_batch():
    learner = ppo_learner({"actor": Subclassed(2), "critic": Subclassed(1)}, compilation=GRAPH)
    with pytest.raises(ConfigError, match="actor, critic has no weights yet"):
        learner.state_dict()
    before = learner.evaluate(ppo_estimates, window())
    run(learner)
    assert set(learner.state_dict()["networks"]["actor"]) == {
        "dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias",
    }  # fmt: skip
    assert not np.allclose(before["value"], learner.evaluate(ppo_estimates, window())["value"])


def mean_of(column):
    def loss(ops, networks, batch, scalars):
        value = ops.mean(ops.square(networks["actor"](batch["observation"])))
        return value, {"seen": ops.mean(batch[column]), "factor": scalars["factor"]}

    return loss


def test_metrics_are_means_over_the_last_epoch_and_scalars_come_one_an_update():
    learner = ppo_learner()
    data = {"observation": window()["observation"], "number": np.arange(96, dtype=np.float32)}
    rows = np.arange(96).reshape(1, 3, 32)
    rows = np.concatenate([rows, rows[:, ::-1] % 32])
    update = Update((Step(mean_of("number"), "optimizer", ("actor",)),))
    factors = np.arange(6.0).reshape(2, 3)
    found = learner.run(update, data, rows, {"factor": factors}, max_grad_norm=1.0, rng=np.random.default_rng(0))
    assert found["seen"] == pytest.approx(15.5)
    assert found["factor"] == pytest.approx(4.0)
    assert found["n_updates"] == 6
    assert found["grad_norm"] > 0


def test_gradients_are_clipped_to_their_global_norm():
    networks = actor_critic()
    before = weights(learner := ppo_learner(networks, keras.optimizers.SGD(1.0)))
    rows = np.arange(32).reshape(1, 1, 32)
    data = {**window(), "return": np.full(96, 1e3, np.float32)}
    found = learner.run(PPO, data, rows, SCALARS, max_grad_norm=0.01, rng=np.random.default_rng(0))
    moved = sum(float(((weights(learner)[name] - before[name]) ** 2).sum()) for name in before) ** 0.5
    assert found["grad_norm"] > 1.0
    assert moved == pytest.approx(0.01, rel=1e-3)


def test_no_epoch_begins_after_one_that_went_too_far():
    learner = ppo_learner(compilation=GRAPH)
    assert run(learner, n_epochs=5, stop=EpochStop("approx_kl", 1e-9))["n_updates"] == 3
    assert run(learner, n_epochs=5, stop=EpochStop("approx_kl", 1e9))["n_updates"] == 15
    assert learner.n_traces == 1


# -- several networks ----------------------------------------------------------------------------------------------


def value_loss(ops, networks, batch, scalars):
    error = ops.squeeze_last(networks["critic"](batch["observation"])) - batch["return"]
    return ops.mean(ops.square(error)), {"value_loss": ops.mean(ops.square(error))}


def follow_critic(ops, networks, batch, scalars):
    value = networks["critic"](batch["observation"] + 0 * ops.mean(batch["return"]))
    logits = networks["actor"](batch["observation"])
    return -ops.mean(value * logits), {"follow": ops.mean(logits)}


TWO_STEPS = Update(
    (Step(value_loss, "critic_optimizer", ("critic",)), Step(follow_critic, "actor_optimizer", ("actor",))),
    targets={"target": "critic"},
)
TWO_TRAIN = {"critic_optimizer": ("critic",), "actor_optimizer": ("actor",)}


def two_step_learner(seed=0, compilation=NONE):
    networks = actor_critic(seed)
    networks["target"] = TargetCopy(networks["critic"])
    optimizers = {"critic_optimizer": keras.optimizers.SGD(0.1), "actor_optimizer": keras.optimizers.SGD(0.1)}
    return TFLearner(networks, optimizers, trains=TWO_TRAIN, compilation=compilation)


def test_each_step_changes_only_the_networks_that_it_trains():
    learner, alone = two_step_learner(), two_step_learner()
    only_critic = Update(TWO_STEPS.steps[:1])
    metrics = run(learner, update=TWO_STEPS, scalars={"tau": 0.0})
    run(alone, update=only_critic, scalars={})
    both, one, start = weights(learner), weights(alone), weights(two_step_learner())
    for name in both:
        if name.startswith("critic"):  # the actor's loss, which flows through the critic, leaves no trace there
            np.testing.assert_array_equal(both[name], one[name])
        if name.startswith("actor"):
            np.testing.assert_array_equal(one[name], start[name])
    assert {"critic_optimizer_grad_norm", "actor_optimizer_grad_norm", "value_loss", "follow"} < metrics.keys()


def test_targets_follow_by_the_tau_of_each_update_exactly():
    learner = two_step_learner(compilation=XLA)
    start = weights(learner)
    run(learner, update=TWO_STEPS, scalars={"tau": np.array([[0.0, 0.0, 0.0]])}, n_epochs=1)
    for name, array in weights(learner).items():
        if name.startswith("target"):
            assert array.tobytes() == start[name].tobytes()
    run(learner, update=TWO_STEPS, scalars={"tau": np.array([[0.0, 0.0, 1.0]])}, n_epochs=1)
    copied = weights(learner)
    for name in (name for name in copied if name.startswith("target")):
        assert copied[name].tobytes() == copied[name.replace("target", "critic")].tobytes()
    run(learner, update=TWO_STEPS, scalars={"tau": np.array([[0.0, 0.0, 0.25]])}, n_epochs=1)
    mixed = weights(learner)
    for name in (name for name in copied if name.startswith("target")):
        expected = 0.25 * mixed[name.replace("target", "critic")] + 0.75 * copied[name]
        np.testing.assert_allclose(mixed[name], expected, atol=1e-7)


def test_a_target_copies_any_network_and_is_its_own():
    model = Subclassed(3)
    with pytest.raises(ConfigError, match="no weights yet"):
        TargetCopy(model)
    x = np.ones((2, 4), np.float32)
    expected = model(x).numpy()
    target = TargetCopy(model)
    model.hidden.kernel.assign(model.hidden.kernel * 2)
    np.testing.assert_array_equal(target(x).numpy(), expected)
    assert list(target.named_weights()) == list(named_weights(model))


def test_a_single_number_can_be_trained():
    def loss(ops, networks, batch, scalars):
        number = networks["number"](batch["observation"])
        return ops.square(number - 3.0), {"number": number}

    learner = TFLearner({"number": ScalarParameter(1.0)}, {"optimizer": keras.optimizers.SGD(0.5)},
                        trains={"optimizer": ("number",)})  # fmt: skip
    rows = np.zeros((1, 1, 1), np.int64)
    update = Update((Step(loss, "optimizer", ("number",)),))
    learner.run(update, window(1), rows, {}, max_grad_norm=100.0, rng=np.random.default_rng(0))
    assert weights(learner) == {"number.value": pytest.approx(3.0)}


# -- compiled once ---------------------------------------------------------------------------------------------------


def test_nothing_is_traced_anew_when_numbers_change():
    learner = ppo_learner(compilation=XLA)
    for index, n_epochs in enumerate((3, 1, 7, 12)):
        scalars = {**SCALARS, "clip_ratio": 0.1 + 0.01 * index}
        if index == 2:
            scalars["vf_coef"] = np.linspace(0.1, 1.0, 21).reshape(7, 3)
        learner.learning_rate = 1e-3 / (1 + index)
        run(learner, n_epochs=n_epochs, scalars=scalars, stop=EpochStop("approx_kl", 10.0 + index), seed=index)
        learner.evaluate(ppo_estimates, window(50 + index))
        learner.forward("actor", np.zeros((1 + index, 4), np.float32))
    assert learner.n_traces == 1
    assert len(learner._forwards) == 2


def test_a_new_learning_rate_is_used_by_the_next_run():
    moved = []
    learner = ppo_learner(optimizer=keras.optimizers.SGD(1e-3), compilation=XLA)
    for rate in (1e-3, 1e-1):
        run(learner)
        before = weights(learner)
        learner.learning_rate = rate
        run(learner)
        moved.append(max(float(np.abs(weights(learner)[name] - before[name]).max()) for name in before))
        assert learner.learning_rate == pytest.approx(rate)
    assert moved[1] > 30 * moved[0]


def test_the_learning_rate_keeps_the_ratio_of_optimizers():
    learner = two_step_learner()
    learner.optimizers["actor_optimizer"].learning_rate = 0.3
    learner = TFLearner(learner.networks, learner.optimizers,
                        trains=TWO_TRAIN)  # fmt: skip
    learner.learning_rate = 1e-8
    learner.learning_rate = 0.2
    rates = [float(optimizer.learning_rate) for optimizer in learner.optimizers.values()]
    assert rates == pytest.approx([0.2, 0.6])


def test_a_schedule_of_the_users_stays_and_that_is_said_once(caplog):
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-3, 1, 0.5)
    learner = ppo_learner(optimizer=keras.optimizers.Adam(schedule))
    with caplog.at_level(logging.WARNING):
        learner.learning_rate = 5.0
        learner.learning_rate = 6.0
    assert learner.learning_rate == pytest.approx(1e-3)
    assert len([record for record in caplog.records if "schedule" in record.message]) == 1
    run(learner, n_epochs=1)
    assert learner.learning_rate == pytest.approx(1e-3 * 0.5**3)


@keras.saving.register_keras_serializable("test")
class NoXLA(layers.Layer):
    """Something that XLA cannot compile: strings."""

    def call(self, x):
        length = tf.strings.length(tf.strings.as_string(tf.shape(x)[0]))
        return x + 0.0 * tf.cast(length, x.dtype)


def test_what_xla_cannot_compile_runs_as_a_plain_graph_said_once(caplog):
    networks, plain = actor_critic(), actor_critic()
    inputs = keras.Input((4,))
    actor = keras.Model(inputs, NoXLA()(plain["actor"](inputs)))
    learner = ppo_learner({**plain, "actor": actor}, compilation=XLA)
    with caplog.at_level(logging.WARNING):
        found = [run(learner), run(learner)]
    assert len([record for record in caplog.records if "XLA cannot compile" in record.message]) == 1
    reference = ppo_learner(networks)
    expected = [run(reference), run(reference)]
    for own, other in zip(found, expected, strict=True):
        assert own == pytest.approx(other, rel=1e-3, abs=1e-5)


# -- what is not finite ----------------------------------------------------------------------------------------------


def with_batch_norm():
    actor = keras.Sequential([layers.Input((4,)), layers.Dense(8), layers.BatchNormalization(), layers.Dense(2)])
    return {"actor": actor, "critic": mlp(1, 2)}


@pytest.mark.parametrize("poisoned", ["return", "observation"])
def test_an_update_that_is_not_finite_leaves_every_bit_as_it_is(poisoned):
    learner = ppo_learner(with_batch_norm(), compilation=XLA if poisoned == "return" else GRAPH)
    run(learner)
    before = everything(learner)
    data = window()
    data[poisoned][5] = np.inf if poisoned == "return" else np.nan
    rows = np.arange(32).reshape(1, 1, 32)
    found = learner.run(PPO, data, rows, SCALARS, max_grad_norm=0.5, rng=np.random.default_rng(0))
    assert found == {"n_updates": 0, "skipped_updates": 1}
    after = everything(learner)
    assert after.pop("/skipped_in_a_row") == 1
    assert before.pop("/skipped_in_a_row") == 0
    assert_same_bits(before, after)


def test_one_step_that_is_not_finite_undoes_the_others_and_the_targets():
    learner = two_step_learner(compilation=GRAPH)
    data = window()
    data["return"][5] = np.nan  # both losses see it
    before = everything(learner)
    rows = np.arange(32).reshape(1, 1, 32)
    learner.run(TWO_STEPS, data, rows, {"tau": 0.5}, max_grad_norm=0.5, rng=np.random.default_rng(0))
    after = everything(learner)
    assert after.pop("/skipped_in_a_row") + before.pop("/skipped_in_a_row") == 1
    assert_same_bits(before, after)


def test_only_finite_updates_are_made_and_averaged():
    learner, clean = ppo_learner(), ppo_learner()
    data = window()
    data["return"][40] = np.nan
    rows = np.arange(96).reshape(1, 3, 32)
    kept = {"rng": np.random.default_rng(0), "max_grad_norm": 0.5}
    found = learner.run(PPO, data, rows, SCALARS, **kept)
    expected = clean.run(PPO, data, rows[:, [0, 2]], SCALARS, **kept)
    assert (found.pop("n_updates"), found.pop("skipped_updates")) == (2, 1)
    assert found == pytest.approx({name: expected[name] for name in found}, rel=1e-6)
    for name, array in weights(learner).items():
        np.testing.assert_allclose(array, weights(clean)[name], atol=1e-7)


def test_the_fifth_in_a_row_is_an_error_counted_across_calls():
    learner = ppo_learner(compilation=GRAPH)
    poisoned = {**window(), "return": np.full(96, np.nan, np.float32)}
    run(learner, poisoned, n_epochs=1)
    before = {name: array for name, array in everything(learner).items() if name != "/skipped_in_a_row"}
    with pytest.raises(NonFiniteError, match="5 updates in a row"):
        run(learner, poisoned, n_epochs=1)
    after = everything(learner)
    assert after.pop("/skipped_in_a_row") == 0
    assert_same_bits(before, after)
    run(learner, poisoned, n_epochs=1)
    assert run(learner, n_epochs=1)["n_updates"] == 3
    assert learner.state_dict()["skipped_in_a_row"] == 0


# -- modes and randomness --------------------------------------------------------------------------------------------


def with_dropout():
    actor = keras.Sequential([layers.Input((4,)), layers.Dense(16), layers.Dropout(0.5), layers.Dense(2)])
    for index, layer in enumerate(actor.layers[::2]):
        layer.kernel.assign(np.random.default_rng(index).standard_normal(layer.kernel.shape))
    return {"actor": actor, "critic": mlp(1, 2)}


def test_dropout_is_active_in_updates_only_and_draws_from_the_given_stream():
    x = window()["observation"]
    learner = ppo_learner(with_dropout(), compilation=XLA)
    np.testing.assert_array_equal(learner.forward("actor", x), learner.forward("actor", x))
    start, outputs = copy.deepcopy(learner.state_dict()), []
    for seed in (0, 0, 1):
        learner.load_state_dict(start)
        rows = minibatch_rows(96, 32, 2, np.random.default_rng(0))
        learner.run(PPO, window(), rows, SCALARS, max_grad_norm=0.5, rng=np.random.default_rng(seed))
        outputs.append(learner.forward("actor", x))
    first, again, other = outputs
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_batch_norm_learns_its_averages_in_updates_only():
    learner = ppo_learner(with_batch_norm())
    before = everything(learner)
    learner.evaluate(ppo_estimates, window())
    learner.loss_and_gradients(PPO.steps[0], window(), SCALARS)
    assert_same_bits(before, everything(learner))
    run(learner)
    name = "/networks/actor/batch_normalization.moving_mean"
    assert not np.array_equal(before[name], everything(learner)[name])


def test_regularisers_of_the_users_layers_count():
    def penalised(strength):
        dense = layers.Dense(2, kernel_regularizer=keras.regularizers.L2(strength), kernel_initializer="ones")
        return {"actor": keras.Sequential([layers.Input((4,)), dense]), "critic": mlp(1, 2)}

    losses = [
        ppo_learner(penalised(strength)).loss_and_gradients(PPO.steps[0], window(), SCALARS)[0]
        for strength in (0.0, 0.5)
    ]
    assert losses[1] - losses[0] == pytest.approx(0.5 * 8, rel=1e-5)


# -- acting ----------------------------------------------------------------------------------------------------------


def dense_stacks():
    for activation in ("tanh", "relu", "linear", "sigmoid", "elu", "leaky_relu"):
        yield activation, keras.Sequential(
            [layers.Input((4,)), layers.Dense(8, activation), layers.Dense(3, "tanh", use_bias=False)]
        )
    yield "activation layer", keras.Sequential(
        [layers.Input((4,)), layers.Dense(8), layers.Activation("tanh"), layers.Dense(3)]
    )
    yield "flatten", keras.Sequential([layers.Input((2, 2)), layers.Flatten(), layers.Dense(3, "relu")])
    inputs = keras.Input((4,))
    yield "functional", keras.Model(inputs, layers.Dense(3)(layers.Dense(8, "relu")(inputs)))


@pytest.mark.parametrize(("name", "stack"), list(dense_stacks()), ids=lambda value: value if str(value) else "")
def test_a_dense_stack_acts_on_the_host_with_the_weights_as_they_are_now(name, stack):
    learner = TFLearner({"actor": stack}, {"optimizer": adam()}, trains={"optimizer": ("actor",)})
    x = np.random.default_rng(0).standard_normal((5, *stack.input_shape[1:])).astype(np.float32)
    for _ in range(2):
        host = learner.acting_forward("actor")
        assert isinstance(host, HostMLP)
        np.testing.assert_allclose(host(x), learner.forward("actor", x), rtol=1e-4, atol=1e-6)
        stack.set_weights([array + 0.1 for array in stack.get_weights()])


def joined():
    inputs = keras.Input((4,))
    first = layers.Dense(4, "relu")
    return keras.Model(inputs, first(first(inputs)))  # one layer twice: as a list of layers it looks like a stack


@pytest.mark.parametrize(
    "model",
    [
        keras.Sequential([layers.Input((4,)), layers.Dense(8), layers.LayerNormalization(), layers.Dense(2)]),
        keras.Sequential([layers.Input((4,)), layers.Dense(8, "gelu"), layers.Dense(2)]),
        keras.Sequential([layers.Input((4,)), layers.Dense(8, dtype="float64"), layers.Dense(2, dtype="float64")]),
        joined(),
    ],
    ids=["layer norm", "gelu", "float64", "a layer used twice"],
)
def test_anything_else_acts_through_one_compiled_call(model):
    learner = TFLearner({"actor": model}, {"optimizer": adam()}, trains={"optimizer": ("actor",)})
    act = learner.acting_forward("actor")
    assert not isinstance(act, HostMLP)
    for n in (1, 3, 8):
        x = np.ones((n, 4), np.float32)
        np.testing.assert_allclose(act(x), model(x, training=False).numpy(), rtol=1e-5, atol=1e-6)
    assert len(learner._forwards) == 1


# -- state -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make_optimizer",
    [
        adam, lambda: keras.optimizers.SGD(1e-2, momentum=0.9), lambda: keras.optimizers.Nadam(1e-3),
        lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-2, 4, 0.5)),
    ],
    ids=["Adam", "SGD", "Nadam", "schedule"],
)  # fmt: skip
def test_saved_and_loaded_the_run_goes_on_bit_for_bit(make_optimizer):
    learner = ppo_learner(None, make_optimizer())
    run(learner)
    other = ppo_learner(actor_critic(seed=7), make_optimizer())
    other.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert run(learner, seed=1) == run(other, seed=1)
    assert_same_bits(everything(learner), everything(other))


def test_networks_alone_can_be_loaded():
    learner, other = ppo_learner(), ppo_learner(actor_critic(seed=7))
    run(other)
    moments = {name: array for name, array in everything(learner).items() if name.startswith("/optimizers")}
    learner.load_state_dict({"networks": other.state_dict()["networks"]})
    np.testing.assert_array_equal(weights(learner)["actor.dense.kernel"], weights(other)["actor.dense.kernel"])
    now = {name: array for name, array in everything(learner).items() if name.startswith("/optimizers")}
    assert_same_bits(moments, now)


def test_other_architectures_are_refused_whole_and_named():
    learner = ppo_learner()
    before = everything(learner)
    wider = ppo_learner({"actor": mlp(2, 5), "critic": mlp(1, 5, hidden=32)})
    with pytest.raises(ArchitectureMismatch) as caught:
        learner.load_state_dict(wider.state_dict(), source="there.zip")
    assert "there.zip: weights of other networks: " in str(caught.value)
    assert "critic.dense.kernel is (4, 32) there and (4, 16) here" in str(caught.value)
    assert_same_bits(before, everything(learner))


def test_moments_of_another_optimizer_are_refused_before_anything_is_loaded():
    learner = ppo_learner()
    before = everything(learner)
    other = ppo_learner(actor_critic(seed=7), keras.optimizers.SGD(1e-2, momentum=0.9))
    with pytest.raises(ArchitectureMismatch, match="moments of SGD, but here is Adam"):
        learner.load_state_dict(other.state_dict())
    assert_same_bits(before, everything(learner))


def test_perturbation_multiplies_every_trained_weight_once():
    learner = TFLearner(shared_trunk(), {"optimizer": adam()}, trains=TRAINS)
    before = weights(learner)
    learner.perturb(0.1, np.random.default_rng(0))
    after = weights(learner)
    kernels = [name for name in before if name.endswith("kernel")]
    factors = np.concatenate([(after[name] / before[name]).ravel() for name in kernels])
    assert np.std(factors) == pytest.approx(0.1, rel=0.25)


def test_after_release_everything_still_works():
    learner = ppo_learner()
    run(learner)
    learner.release()
    assert learner.n_traces == 0
    assert run(learner)["n_updates"] == 9


# -- what is refused -------------------------------------------------------------------------------------------------


def test_a_recurrent_network_is_refused():
    networks = {"actor": keras.Sequential([layers.Input((3, 4)), layers.LSTM(2)]), "critic": mlp(1)}
    with pytest.raises(ConfigError, match=r"actor contains a recurrent layer \(LSTM\)"):
        ppo_learner(networks)


def test_mixed_types_of_weights_are_refused():
    double = keras.Sequential([layers.Input((4,)), layers.Dense(2, dtype="float64")])
    with pytest.raises(ConfigError, match="float32, float64"):
        ppo_learner({"actor": double, "critic": mlp(1)})


def test_an_optimizer_that_was_built_for_other_weights_is_refused():
    used = adam()
    run(ppo_learner(optimizer=used))
    with pytest.raises(ConfigError, match="optimizer was already built for other weights"):
        ppo_learner(actor_critic(3), used)


def test_what_is_no_keras_model_is_refused():
    with pytest.raises(ConfigError, match="actor must be a Keras 3 model or layer, got function"):
        ppo_learner({"actor": mlp, "critic": mlp(1)})


def test_a_loss_that_does_not_reach_what_it_trains_is_refused():
    update = Update((Step(value_loss, "optimizer", ("actor",)),))
    with pytest.raises(ConfigError, match="does not depend on any weight of actor"):
        run(ppo_learner(), update=update, scalars={})
