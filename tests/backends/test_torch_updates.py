"""One update of several steps: at the same weights, whole or not at all, and targets after it."""

import copy

import numpy as np
import pytest
from loss_cases import batch_of

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tensor_optix.algorithms.losses import sac_actor_loss, sac_alpha_loss, sac_critic_loss  # noqa: E402
from tensor_optix.algorithms.sac import SAC_UPDATE  # noqa: E402
from tensor_optix.backends.base import EpochStop, InOrder, Step, Update  # noqa: E402
from tensor_optix.backends.torch_backend import TorchLearner, TorchOps  # noqa: E402
from tensor_optix.backends.torch_modules import ScalarParameter, target_of  # noqa: E402
from tensor_optix.backends.torch_steps import optimizer_like  # noqa: E402
from tensor_optix.errors import ArchitectureMismatch, ConfigError, NonFiniteError  # noqa: E402

torch.set_num_threads(1)
SCALARS = {"target_entropy": -2.0, "tau": 0.25}


def mlp(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 16), nn.ReLU(), nn.Linear(16, n_out))


def sac_networks():
    torch.manual_seed(0)
    networks = {"actor": mlp(4, 4), "critic1": mlp(6, 1), "critic2": mlp(6, 1), "log_alpha": ScalarParameter(-0.5)}
    return {**networks, "target1": target_of(networks["critic1"]), "target2": target_of(networks["critic2"])}


def parameters(*modules):
    return [p for module in modules for p in module.parameters()]


def sac_optimizers(networks, kind=torch.optim.Adam, rate=1e-2):
    critics = parameters(networks["critic1"], networks["critic2"])
    return {
        "actor_optimizer": kind(parameters(networks["actor"]), lr=rate),
        "critic_optimizer": kind(critics, lr=2 * rate),
        "alpha_optimizer": kind(parameters(networks["log_alpha"]), lr=rate),
    }


def sac_learner(**keywords):
    networks = sac_networks()
    return TorchLearner(networks, sac_optimizers(networks, **keywords))


def data(n_rows=96):
    return batch_of(np.random.default_rng(3), continuous=True, n_rows=n_rows)


def run(learner, update=SAC_UPDATE, n_updates=3, scalars=SCALARS, max_grad_norm=10.0, **keywords):
    rows = np.arange(96).reshape(1, 3, 32)[:, :n_updates]
    return learner.run(update, data(), rows, scalars, max_grad_norm=max_grad_norm, rng=np.random.default_rng(0),
                       **keywords)  # fmt: skip


def copies(learner):
    return {name: copy.deepcopy(module) for name, module in learner.networks.items()}


def difference(left, right):
    return max(float((p - q).detach().abs().max()) for p, q in zip(left.parameters(), right.parameters(), strict=True))


# -- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_all_gradients_are_taken_at_the_same_weights(kind):
    learner = sac_learner(kind=kind)
    networks = copies(learner)
    optimizers = sac_optimizers(networks, kind=kind)
    trained = {step.optimizer: parameters(*(networks[name] for name in step.trains)) for step in SAC_UPDATE.steps}
    tensors = {name: torch.from_numpy(column) for name, column in data().items()}
    for rows in np.arange(96).reshape(3, 32):
        batch = {name: column[rows] for name, column in tensors.items()}
        found = {
            step.optimizer: torch.autograd.grad(
                step.loss(TorchOps(), networks, batch, SCALARS)[0], trained[step.optimizer]
            )
            for step in SAC_UPDATE.steps
        }
        for name, gradients in found.items():
            for parameter, gradient in zip(trained[name], gradients, strict=True):
                parameter.grad = gradient.clone()
            nn.utils.clip_grad_norm_(trained[name], 0.1)
            optimizers[name].step()
        with torch.no_grad():
            for target, source in (("target1", "critic1"), ("target2", "critic2")):
                for t, s in zip(networks[target].parameters(), networks[source].parameters(), strict=True):
                    t.copy_(0.25 * s + 0.75 * t)
    run(learner, max_grad_norm=0.1)
    assert {name: difference(learner.networks[name], networks[name]) < 2e-6 for name in networks} == dict.fromkeys(
        networks, True
    )


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_step_changes_what_it_trains_and_nothing_else(number):
    learner = sac_learner()
    before = copies(learner)
    flags = [p.requires_grad for module in learner.networks.values() for p in module.parameters()]
    step = SAC_UPDATE.steps[number]
    run(learner, Update((step,)))
    changed = {name for name in before if difference(before[name], learner.networks[name]) > 0}
    assert changed == set(step.trains)
    assert [p.requires_grad for module in learner.networks.values() for p in module.parameters()] == flags
    assert all(p.grad is None for module in learner.networks.values() for p in module.parameters())


def test_no_gradients_are_computed_for_networks_that_a_step_does_not_train():
    learner = sac_learner()
    seen = []

    def loss(ops, networks, batch, scalars):
        seen.append({name for name, module in networks.items() if any(p.requires_grad for p in module.parameters())})
        return sac_actor_loss(ops, networks, batch, scalars)

    run(learner, Update((Step(loss, "actor_optimizer", ("actor",)),)), n_updates=1)
    assert seen == [{"actor"}]


def test_what_the_user_froze_stays_frozen():
    networks = sac_networks()
    networks["critic2"].requires_grad_(False)
    learner = TorchLearner(networks, sac_optimizers(networks))
    before = copies(learner)
    run(learner)
    assert difference(before["critic2"], networks["critic2"]) == 0.0
    assert not any(p.requires_grad for p in networks["critic2"].parameters())
    assert difference(before["critic1"], networks["critic1"]) > 0


def test_what_the_user_freezes_between_two_runs_stays_frozen():
    learner = sac_learner()
    run(learner)
    layer = learner.networks["critic1"][0].requires_grad_(False)
    before = layer.weight.clone()
    run(learner)
    assert not layer.weight.requires_grad
    assert torch.equal(layer.weight, before)


def test_a_target_follows_a_layer_that_was_exchanged_between_two_runs():
    learner = sac_learner()
    run(learner)
    for name in ("critic1", "target1"):
        learner.networks[name][2] = nn.Linear(16, 1)
    learner.networks["target1"].requires_grad_(False)
    before = copies(learner)["target1"]
    run(learner)
    assert not torch.equal(learner.networks["target1"][2].weight, before[2].weight)


def test_metrics_and_gradient_norms_of_every_step_are_told():
    metrics = run(sac_learner())
    assert {"critic_loss", "actor_loss", "alpha_loss", "alpha"} <= set(metrics)
    assert {"critic_optimizer_grad_norm", "actor_optimizer_grad_norm", "alpha_optimizer_grad_norm"} <= set(metrics)
    assert "grad_norm" not in metrics
    assert (metrics["n_updates"], metrics["skipped_updates"]) == (3, 0)


def test_an_optimizer_that_does_not_hold_what_its_step_trains_is_refused():
    learner = sac_learner()
    with pytest.raises(ConfigError, match=r"actor_optimizer holds no parameter of critic1.*list\(critic1.parameters"):
        run(learner, Update((Step(sac_critic_loss, "actor_optimizer", ("critic1",)),)))


# -- scalars and epochs ----------------------------------------------------------------------------------------------


def test_scalars_may_differ_from_update_to_update():
    learner, seen = sac_learner(), []

    def loss(ops, networks, batch, scalars):
        seen.append((scalars["each"], scalars["all"]))
        return sac_alpha_loss(ops, networks, batch, {"target_entropy": -2.0})

    rows = np.arange(96).reshape(2, 3, 16)
    learner.run(Update((Step(loss, "alpha_optimizer", ("log_alpha",)),)), data(), rows,
                {"each": np.arange(6.0).reshape(2, 3), "all": np.array(7.0)}, max_grad_norm=1.0,
                rng=np.random.default_rng(0))  # fmt: skip
    assert seen == [(float(number), 7.0) for number in range(6)]


def test_rows_in_order_are_those_of_the_index_matrix():
    learner, other = sac_learner(), sac_learner()
    metrics = [
        made.run(SAC_UPDATE, data(), rows, SCALARS, max_grad_norm=10.0, rng=np.random.default_rng(0))
        for made, rows in ((learner, InOrder(3, 32)), (other, np.arange(96).reshape(1, 3, 32)))
    ]
    assert metrics[0] == metrics[1]
    assert all(difference(learner.networks[name], other.networks[name]) == 0.0 for name in learner.networks)


def test_no_epoch_begins_after_one_whose_metric_is_above_the_limit():
    def stopped_after(limit):
        learner, calls = sac_learner(), []

        def loss(ops, networks, batch, scalars):
            calls.append(len(calls))
            value, _ = sac_alpha_loss(ops, networks, batch, SCALARS)
            return value, {"call": torch.tensor(float(calls[-1]))}

        rows = np.tile(np.arange(96).reshape(1, 3, 32), (4, 1, 1))
        metrics = learner.run(
            Update((Step(loss, "alpha_optimizer", ("log_alpha",)),)), data(), rows, {}, max_grad_norm=1.0,
            rng=np.random.default_rng(0), stop=EpochStop("call", limit),
        )  # fmt: skip
        return metrics["n_updates"], metrics["call"]

    assert stopped_after(0.9) == (3, 1.0)  # the mean of 0, 1, 2 is above 0.9
    assert stopped_after(1.0) == (6, 4.0)  # but not above 1
    assert stopped_after(99.0) == (12, 10.0)


# -- targets ---------------------------------------------------------------------------------------------------------


def test_a_target_follows_by_tau_update_by_update():
    learner = sac_learner(kind=torch.optim.SGD)
    target = target_of(learner.networks["target1"])
    sources = []
    for number, tau in enumerate((0.0, 1.0, 0.25)):
        rows = np.arange(96).reshape(3, 1, 32)[number : number + 1]
        learner.run(SAC_UPDATE, data(), rows, {**SCALARS, "tau": tau}, max_grad_norm=10.0,
                    rng=np.random.default_rng(0))  # fmt: skip
        sources.append(target_of(learner.networks["critic1"]))
        if tau == 0.0:
            assert difference(learner.networks["target1"], target) == 0.0
        if tau == 1.0:
            assert difference(learner.networks["target1"], sources[-1]) == 0.0
    for t, now, before in zip(*(m.parameters() for m in (learner.networks["target1"], *sources[:0:-1])), strict=True):
        torch.testing.assert_close(t, 0.25 * now + 0.75 * before)


def test_taus_of_one_run_are_those_of_its_updates():
    fused, single = sac_learner(), sac_learner()
    taus = np.array([[0.0, 1.0, 0.25]])
    run(fused, scalars={**SCALARS, "tau": taus})
    for number in range(3):
        single.run(SAC_UPDATE, data(), np.arange(96).reshape(3, 1, 32)[number : number + 1],
                   {**SCALARS, "tau": taus[0, number]}, max_grad_norm=10.0, rng=np.random.default_rng(0))  # fmt: skip
    for name in fused.networks:
        assert difference(fused.networks[name], single.networks[name]) < 2e-6


def test_running_statistics_of_a_target_follow_and_are_not_its_own():
    torch.manual_seed(0)
    q = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    learner = TorchLearner({"q": q, "q_target": target_of(q)}, {"optimizer": torch.optim.Adam(q.parameters())})
    modes = []

    def loss(ops, networks, batch, scalars):
        modes.append((networks["q"][1].training, networks["q_target"][1].training))
        values = networks["q"](batch["observation"]) - networks["q_target"](batch["next_observation"]).detach()
        return (values**2).mean(), {}

    learner.networks["q_target"].train()
    run(learner, Update((Step(loss, "optimizer", ("q",)),), {"q_target": "q"}), scalars={"tau": 1.0})
    assert modes == [(True, False)] * 3
    assert torch.equal(q[1].running_mean, learner.networks["q_target"][1].running_mean)
    assert learner.networks["q_target"][1].training


# -- whole or not at all ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_update_with_one_bad_step_changes_nothing(number):
    learner = sac_learner()
    run(learner)
    before, moments = copies(learner), copy.deepcopy(learner.state_dict()["optimizers"])

    def bad(ops, networks, batch, scalars):
        value, metrics = SAC_UPDATE.steps[number].loss(ops, networks, batch, scalars)
        return value * float("nan"), metrics

    steps = list(SAC_UPDATE.steps)
    steps[number] = Step(bad, steps[number].optimizer, steps[number].trains)
    metrics = run(learner, Update(tuple(steps), SAC_UPDATE.targets))
    assert metrics == {"n_updates": 0, "skipped_updates": 3}
    assert all(difference(before[name], learner.networks[name]) == 0.0 for name in before)
    after = learner.state_dict()["optimizers"]
    for name, optimizer in moments.items():
        for key, state in optimizer["moments"].items():
            for kind, array in state.items():
                np.testing.assert_array_equal(after[name]["moments"][key][kind], array)
    with pytest.raises(NonFiniteError, match="5 updates in a row"):
        run(learner, Update(tuple(steps), SAC_UPDATE.targets))


# -- several optimizers ----------------------------------------------------------------------------------------------


def test_the_learning_rate_is_the_first_optimizers_and_the_others_keep_their_ratio():
    learner = sac_learner(rate=1e-2)
    assert learner.learning_rate == 1e-2
    learner.learning_rate = 1e-3
    rates = [optimizer.param_groups[0]["lr"] for optimizer in learner.optimizers.values()]
    assert rates == pytest.approx([1e-3, 2e-3, 1e-3])


def test_saved_and_loaded_with_several_optimizers_the_run_goes_on_identically():
    learner, other = sac_learner(), sac_learner()
    run(learner)
    other.load_state_dict(learner.state_dict())
    assert run(learner) == run(other)
    assert all(difference(learner.networks[name], other.networks[name]) == 0.0 for name in learner.networks)


def test_the_moments_of_other_optimizers_are_refused_by_name():
    learner = sac_learner()
    run(learner)
    networks = sac_networks()
    everything = parameters(*(networks[name] for name in ("actor", "critic1", "critic2", "log_alpha")))
    other = TorchLearner(networks, {"optimizer": torch.optim.Adam(everything)})
    with pytest.raises(ArchitectureMismatch, match="alpha_optimizer, critic_optimizer, but here are optimizer"):
        other.load_state_dict(learner.state_dict())
    assert difference(networks["actor"], sac_networks()["actor"]) == 0.0


def test_perturbation_leaves_targets_alone():
    learner = sac_learner()
    before = copies(learner)
    learner.perturb(0.1, np.random.default_rng(0))
    changed = {name for name in before if difference(before[name], learner.networks[name]) > 0}
    assert changed == {"actor", "critic1", "critic2", "log_alpha"}


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.Adam(p, lr=2e-3, betas=(0.8, 0.9), amsgrad=True),
        lambda p: torch.optim.AdamW(p, lr=2e-3, weight_decay=0.3),
        lambda p: torch.optim.SGD(p, lr=2e-3, momentum=0.9, nesterov=True),
        lambda p: torch.optim.RMSprop(p, lr=2e-3, alpha=0.5),
        lambda p: type("Mine", (torch.optim.Adam,), {})(p, lr=2e-3),
        lambda p: torch.optim.NAdam(p, lr=2e-3, decoupled_weight_decay=True),
    ],
)
def test_an_optimizer_like_another_has_its_class_and_settings(make):
    original = make([nn.Parameter(torch.ones(3))])
    original.param_groups[0]["lr"] = 5e-3
    mine = nn.Parameter(torch.zeros(()))
    made = optimizer_like(original, [mine])
    assert type(made) is type(original)
    assert made.param_groups[0]["params"] == [mine]
    expected = {name: value for name, value in original.param_groups[0].items() if name != "params"}
    assert {name: value for name, value in made.param_groups[0].items() if name != "params"} == expected
