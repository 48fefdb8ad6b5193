"""The torch learner against plain torch, and its loss and gradients against NumPy."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tensor_optix.algorithms.losses import ppo_loss  # noqa: E402
from tensor_optix.backends import torch_steps  # noqa: E402
from tensor_optix.backends.base import Step, Update  # noqa: E402
from tensor_optix.backends.numpy_backend import HostMLP  # noqa: E402
from tensor_optix.backends.torch_backend import TorchLearner, TorchOps  # noqa: E402
from tensor_optix.core.trajectory_buffer import minibatch_rows  # noqa: E402
from tensor_optix.errors import ArchitectureMismatch, ConfigError  # noqa: E402

torch.set_num_threads(1)  # threads cost more than they give at these sizes
SCALARS = {"clip_ratio": 0.2, "vf_coef": 0.5, "entropy_coef": 0.01}


def mlp(n_outputs, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, n_outputs))


def actor_critic():
    return {"actor": mlp(2, 0), "critic": mlp(1, 1)}


def shared_trunk():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(4, 16), nn.Tanh())
    return {"actor": nn.Sequential(trunk, nn.Linear(16, 2)), "critic": nn.Sequential(trunk, nn.Linear(16, 1))}


def unique_parameters(networks):
    return list(dict.fromkeys(p for module in networks.values() for p in module.parameters()))


def adam(networks):
    return torch.optim.Adam(unique_parameters(networks), lr=1e-3)


def adamw(networks):
    return torch.optim.AdamW(unique_parameters(networks), lr=1e-3, weight_decay=0.1)


def two_groups(networks):
    actor, critic = (list(networks[name].parameters()) for name in ("actor", "critic"))
    groups = [{"params": actor, "lr": 1e-3}, {"params": critic, "lr": 3e-3, "weight_decay": 0.05}]
    return torch.optim.Adam(groups, betas=(0.8, 0.99), eps=1e-6)


def sgd(networks):
    return torch.optim.SGD(unique_parameters(networks), lr=1e-2, momentum=0.9)


def window(n_rows=96):
    rng = np.random.default_rng(3)
    return {
        "observation": rng.standard_normal((n_rows, 4)).astype(np.float32),
        "action": rng.integers(0, 2, n_rows),
        "log_prob": np.log(rng.uniform(0.3, 0.7, n_rows)).astype(np.float32),
        "advantage": rng.standard_normal(n_rows).astype(np.float32),
        "return": rng.standard_normal(n_rows).astype(np.float32),
    }


def learner_of(networks, optimizer):
    return TorchLearner(networks, {"optimizer": optimizer})


def ppo_update(loss=ppo_loss):
    return Update((Step(loss, "optimizer", ("actor", "critic")),))


def run(learner, data=None, n_epochs=3, seed=0, loss=ppo_loss):
    data = data or window()
    rows = minibatch_rows(len(data["action"]), 32, n_epochs, np.random.default_rng(seed))
    return learner.run(ppo_update(loss), data, rows, SCALARS, max_grad_norm=0.5, rng=np.random.default_rng(seed))


def reference_run(networks, optimizer):
    """The same updates as ``run``, in plain torch."""
    data = {name: torch.from_numpy(column) for name, column in window().items()}
    for rows in minibatch_rows(96, 32, 3, np.random.default_rng(0)).reshape(-1, 32):
        loss, _ = ppo_loss(TorchOps(), networks, {name: x[rows] for name, x in data.items()}, SCALARS)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(unique_parameters(networks), 0.5)
        optimizer.step()


def max_difference(networks, others):
    pairs = zip(unique_parameters(networks), unique_parameters(others), strict=True)
    return max(float((p - q).detach().abs().max()) for p, q in pairs)


# -- training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "make_optimizer", "is_flat"),
    [
        (actor_critic, adam, True), (actor_critic, adamw, True), (actor_critic, two_groups, True),
        (shared_trunk, adam, True), (actor_critic, sgd, False),
    ],
)  # fmt: skip
def test_a_run_is_what_plain_torch_does(build, make_optimizer, is_flat, monkeypatch):
    bound = []
    original = torch_steps.FlatAdamStep.bound_to
    monkeypatch.setattr(
        torch_steps.FlatAdamStep, "bound_to", lambda optimizer: bound.append(original(optimizer)) or bound[-1]
    )
    networks, reference = build(), build()
    optimizer, reference_optimizer = make_optimizer(networks), make_optimizer(reference)
    learner = learner_of(networks, optimizer)
    run(learner)
    reference_run(reference, reference_optimizer)
    assert (bound[-1] is not None) == is_flat
    assert max_difference(networks, reference) < 2e-6
    for p, q in zip(unique_parameters(networks), unique_parameters(reference), strict=True):
        for kind, moment in reference_optimizer.state[q].items():
            torch.testing.assert_close(optimizer.state[p][kind], moment, rtol=1e-4, atol=1e-6)


def test_between_runs_the_user_may_step_and_copy_what_is_flat():
    networks = actor_critic()
    optimizer = adam(networks)
    learner = learner_of(networks, optimizer)
    run(learner)
    assert all(p.grad is None for p in unique_parameters(networks))

    elsewhere = copy.deepcopy(networks)
    other = adam(elsewhere)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for nets, opt in ((networks, optimizer), (elsewhere, other)):  # the user's own step afterwards
        sum(module(torch.ones(3, 4)).sum() for module in nets.values()).backward()
        opt.step()
    assert max_difference(networks, elsewhere) == 0.0
    assert {float(state["step"]) for state in optimizer.state.values()} == {10.0}

    run(learner)  # and ours goes on from it
    run(learner_of(elsewhere, other))
    assert max_difference(networks, elsewhere) == 0.0
    assert {float(state["step"]) for state in optimizer.state.values()} == {19.0}


@pytest.mark.parametrize("change", ["weights", "moments", "settings"])
def test_whoever_changes_what_is_flat_between_runs_is_heard(change):
    networks, reference = actor_critic(), actor_critic()
    optimizers = [adam(networks), adam(reference)]
    learner = learner_of(networks, optimizers[0])
    run(learner)
    reference_run(reference, optimizers[1])
    for nets, optimizer in zip((networks, reference), optimizers, strict=True):
        if change == "weights":
            nets["actor"][0].weight.data = torch.full((16, 4), 0.1)
        elif change == "moments":
            state = optimizer.state_dict()
            state["state"][0]["exp_avg"] = torch.full((16, 4), 0.1)
            optimizer.load_state_dict(state)
        else:
            optimizer.param_groups[0]["weight_decay"] = 0.5
    run(learner)
    reference_run(reference, optimizers[1])
    assert max_difference(networks, reference) < 1e-5


def test_a_compiled_update_is_the_same_and_new_numbers_compile_nothing_anew():
    learners = []
    for is_compiled in (True, False):
        networks = actor_critic()
        learners.append(TorchLearner(networks, {"optimizer": adamw(networks)}, compile=is_compiled))
    update, graphs = ppo_update(), torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for number in range(3):
        rows = minibatch_rows(96, 32, 2, np.random.default_rng(number))
        scalars = {**SCALARS, "clip_ratio": 0.1 + 0.05 * number}
        metrics = []
        for learner in learners:
            learner.learning_rate = 1e-3 / (1 + number)
            metrics.append(learner.run(update, window(), rows, scalars, max_grad_norm=0.1 + number,
                                       rng=np.random.default_rng(0)))  # fmt: skip
        assert metrics[0] == pytest.approx(metrics[1], rel=1e-3, abs=1e-5)
    assert max_difference(*(learner.networks for learner in learners)) < 2e-6
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs + 1

    before = copy.deepcopy(learners[0].state_dict())
    poisoned = {**window(), "return": np.full(96, np.nan, np.float32)}
    found = learners[0].run(update, poisoned, rows[:1], SCALARS, max_grad_norm=0.5, rng=np.random.default_rng(0))
    assert found == {"n_updates": 0, "skipped_updates": 3}
    after = learners[0].state_dict()
    for key, array in before["networks"]["actor"].items():
        np.testing.assert_array_equal(after["networks"]["actor"][key], array)


def test_without_a_compiler_updates_are_made_as_ever_said_once(monkeypatch, caplog):
    def refuse(function, **_):
        def call(*_):
            raise RuntimeError("no C++ compiler")

        return call

    monkeypatch.setattr(torch, "compile", refuse)
    networks, plain = actor_critic(), actor_critic()
    learner = TorchLearner(networks, {"optimizer": adam(networks)}, compile=True)
    run(learner)
    run(learner_of(plain, adam(plain)))
    assert max_difference(networks, plain) == 0.0
    assert len([record for record in caplog.records if "not compiled (no C++ compiler)" in record.message]) == 1


def test_parameters_that_made_unequal_steps_keep_their_own_count():
    networks, reference = actor_critic(), actor_critic()
    optimizers = [adam(networks), adam(reference)]
    for nets, opt in zip((networks, reference), optimizers, strict=True):
        nets["critic"](torch.ones(1, 4)).sum().backward()
        opt.step()
    run(learner_of(networks, optimizers[0]))
    reference_run(reference, optimizers[1])
    assert max_difference(networks, reference) < 2e-6
    assert {float(state["step"]) for state in optimizers[0].state.values()} == {9.0, 10.0}


@pytest.mark.parametrize("change", ["amsgrad", "hook", "unreached", "subclass"])
def test_an_optimizer_that_is_not_plain_adam_steps_itself(change):
    networks = actor_critic()
    optimizer = adam(networks)
    if change == "amsgrad":
        optimizer = torch.optim.Adam(unique_parameters(networks), amsgrad=True)
    elif change == "hook":
        optimizer.register_step_post_hook(lambda *_: None)
    elif change == "unreached":
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    else:
        optimizer = type("MyAdam", (torch.optim.Adam,), {})(unique_parameters(networks))
    learner = learner_of(networks, optimizer)
    learner.networks["actor"](torch.ones(1, 4)).sum().backward()
    learner.networks["critic"](torch.ones(1, 4)).sum().backward()
    assert torch_steps.FlatAdamStep.bound_to(optimizer) is None
    assert run(learner)["n_updates"] == 9


def test_without_the_fused_kernel_the_plain_path_gives_the_same(monkeypatch):
    networks, plain = actor_critic(), actor_critic()
    run(learner_of(networks, adam(networks)))
    monkeypatch.setattr(torch_steps, "_fused_adam_works", lambda: False)
    run(learner_of(plain, adam(plain)))
    assert max_difference(networks, plain) < 2e-6


@pytest.mark.parametrize("make_optimizer", [adam, adamw, two_groups, sgd])
def test_runs_of_a_single_update_are_what_plain_torch_does(make_optimizer):
    networks, reference = actor_critic(), actor_critic()
    optimizer, reference_optimizer = make_optimizer(networks), make_optimizer(reference)
    learner = learner_of(networks, optimizer)
    for _ in range(6):
        run_once(learner)
        step_once(reference, reference_optimizer)
    assert max_difference(networks, reference) < 2e-6
    for p, q in zip(unique_parameters(networks), unique_parameters(reference), strict=True):
        for kind, moment in reference_optimizer.state[q].items():
            torch.testing.assert_close(optimizer.state[p][kind], moment, rtol=1e-4, atol=1e-6)


def run_once(learner):
    return learner.run(ppo_update(), window(), np.arange(96).reshape(1, 1, 96), SCALARS, max_grad_norm=0.5,
                       rng=np.random.default_rng(0))  # fmt: skip


def step_once(networks, optimizer):
    tensors = {name: torch.from_numpy(column) for name, column in window().items()}
    optimizer.zero_grad()
    ppo_loss(TorchOps(), networks, tensors, SCALARS)[0].backward()
    nn.utils.clip_grad_norm_(unique_parameters(networks), 0.5)
    optimizer.step()


def test_metrics_are_means_over_the_last_epoch():
    networks = actor_critic()
    calls = []

    def loss(ops, nets, batch, scalars):
        calls.append(float(len(calls)))
        value, _ = ppo_loss(ops, nets, batch, scalars)
        return value, {"call": torch.tensor(calls[-1])}

    metrics = run(learner_of(networks, adam(networks)), loss=loss)
    assert metrics["call"] == pytest.approx(7.0)  # updates 6, 7, 8
    assert metrics["n_updates"] == 9
    assert metrics["grad_norm"] > 0


def test_the_learning_rate_keeps_the_ratio_of_groups():
    networks = actor_critic()
    learner = learner_of(networks, two_groups(networks))
    assert learner.learning_rate == 1e-3
    learner.learning_rate = 1e-8
    learner.learning_rate = 2e-3
    assert [group["lr"] for group in learner.optimizers["optimizer"].param_groups] == pytest.approx([2e-3, 6e-3])


# -- modes, randomness ---------------------------------------------------------------------------------------------


def with_dropout():
    torch.manual_seed(0)
    return {"actor": nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 2)), "critic": mlp(1)}


def test_dropout_draws_from_our_stream_and_leaves_the_users_generator_alone():
    results = []
    for user_seed in (1, 2):
        networks = with_dropout()
        torch.manual_seed(user_seed)
        run(learner_of(networks, adam(networks)))
        results.append((networks, torch.rand(1)))
        torch.manual_seed(user_seed)
        assert torch.equal(results[-1][1], torch.rand(1))
    assert max_difference(results[0][0], results[1][0]) == 0.0


def test_acting_is_in_evaluation_mode_and_restores_each_flag():
    networks = with_dropout()
    networks["actor"][0].eval()
    learner = learner_of(networks, adam(networks))
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(learner.forward("actor", x), learner.forward("actor", x))
    assert [module.training for module in networks["actor"].modules()] == [True, False, True, True]
    modes = []

    def loss(ops, nets, batch, scalars):
        modes.append(nets["actor"][1].training)
        return ppo_loss(ops, nets, batch, scalars)

    run(learner, loss=loss)
    assert all(modes)


# -- acting on the host ----------------------------------------------------------------------------------------------


def dense_stacks():
    torch.manual_seed(0)
    for activation in (nn.Tanh(), nn.ReLU(), nn.Sigmoid(), nn.ELU(0.7), nn.LeakyReLU(0.2), nn.Identity()):
        yield nn.Sequential(nn.Linear(4, 8), activation, nn.Linear(8, 3, bias=False), nn.Tanh())
    yield nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize("stack", list(dense_stacks()), ids=str)
def test_a_dense_stack_acts_on_the_host_and_sees_updates(stack):
    learner = learner_of({"actor": stack}, torch.optim.SGD(stack.parameters(), lr=0.1))
    host = learner.acting_forward("actor")
    assert isinstance(host, HostMLP)
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    for _ in range(2):
        np.testing.assert_allclose(host(x), learner.forward("actor", x), rtol=1e-4, atol=1e-6)
        with torch.no_grad():
            for parameter in stack.parameters():
                parameter.add_(0.1)


def hooked(stack):
    stack[0].register_forward_hook(lambda module, args, output: None)  # it only looks, but it wants to see every call
    return stack


@pytest.mark.parametrize(
    "module",
    [
        hooked(mlp(2)),
        nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2)),
        nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)),
        type("Mine", (nn.Sequential,), {})(nn.Linear(4, 2)),
        mlp(2).double(),
    ],
    ids=["hook", "dropout", "layer norm", "subclass", "float64"],
)
def test_anything_else_acts_through_the_module(module):
    learner = learner_of({"actor": module}, torch.optim.SGD(module.parameters(), lr=0.1))
    assert not isinstance(learner.acting_forward("actor"), HostMLP)


def test_rebound_parameters_are_noticed_when_asked_again():
    networks = actor_critic()
    learner = learner_of(networks, adam(networks))
    host = learner.acting_forward("actor")
    assert learner.acting_forward("actor") is host
    networks["actor"].load_state_dict(mlp(2, seed=5).state_dict(), assign=True)
    x = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(learner.acting_forward("actor")(x), learner.forward("actor", x), rtol=1e-5)


# -- state -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_optimizer", [adam, two_groups, sgd])
def test_saved_and_loaded_the_run_goes_on_identically(make_optimizer):
    networks = actor_critic()
    learner = learner_of(networks, make_optimizer(networks))
    run(learner)
    other_networks = {"actor": mlp(2, 7), "critic": mlp(1, 8)}
    other = learner_of(other_networks, make_optimizer(other_networks))
    other.load_state_dict(learner.state_dict())
    assert run(learner, seed=1) == run(other, seed=1)
    assert max_difference(networks, other_networks) == 0.0


def test_other_architectures_are_refused_whole_and_named():
    networks = actor_critic()
    learner = learner_of(networks, adam(networks))
    before = learner.state_dict()["networks"]
    wider = {"actor": mlp(2, 5), "critic": nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))}
    with pytest.raises(ArchitectureMismatch) as caught:
        learner.load_state_dict(learner_of(wider, adam(wider)).state_dict(), source="there.zip")
    assert "there.zip" in str(caught.value)
    assert "critic.0.weight is (32, 4) there and (16, 4) here" in str(caught.value)
    for name, layers in learner.state_dict()["networks"].items():
        for key, array in layers.items():
            np.testing.assert_array_equal(array, before[name][key])


def test_moments_of_another_optimizer_are_refused_before_anything_is_loaded():
    networks, others = actor_critic(), {"actor": mlp(2, 5), "critic": mlp(1, 6)}
    learner, other = learner_of(networks, adam(networks)), learner_of(others, sgd(others))
    with pytest.raises(ArchitectureMismatch, match="SGD"):
        learner.load_state_dict(other.state_dict())
    assert max_difference(networks, actor_critic()) == 0.0


def test_perturbation_multiplies_every_weight_once():
    networks = shared_trunk()
    before = copy.deepcopy(networks)
    learner_of(networks, adam(networks)).perturb(0.1, np.random.default_rng(0))
    factors = [
        (p / q).detach().numpy().ravel()
        for p, q in zip(unique_parameters(networks), unique_parameters(before), strict=True)
    ]
    assert np.std(np.concatenate(factors)) == pytest.approx(0.1, rel=0.15)


# -- what is refused ----------------------------------------------------------------------------------------------


def test_a_network_that_nobody_trains_is_refused():
    networks = actor_critic()
    with pytest.raises(ConfigError, match="no parameter of critic"):
        learner_of(networks, torch.optim.Adam(networks["actor"].parameters()))


def test_a_recurrent_network_is_refused():
    networks = {"actor": nn.Sequential(nn.LSTM(4, 2))}
    with pytest.raises(ConfigError, match=r"recurrent layer \(LSTM\)"):
        learner_of(networks, adam(networks))
