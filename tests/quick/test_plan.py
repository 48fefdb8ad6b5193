"""What is planned, why, and that a plan is the run that it says."""

import json

import pytest

pytest.importorskip("torch")

import tensor_optix as tx
from tensor_optix.core.rng import fresh_seed
from tensor_optix.errors import CheckpointError, ConfigError, MissingDependency
from tensor_optix.quick import backends
from tensor_optix.quick.defaults import defaults_for
from tensor_optix.quick.experiment import Summary

TINY = {
    "evaluation_episodes": 3, "n_envs": 2, "window_size": 64, "hidden": "8", "n_epochs": 1, "max_steps": 256,
    "val_episodes": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("env_id", "algorithm", "why"),
    [("CartPole-v1", "ppo", "discrete actions"), ("Pendulum-v1", "sac", "continuous actions")],
)
def test_the_algorithm_follows_from_the_actions(env_id, algorithm, why):
    plan = tx.plan(env_id)
    assert plan.recipe.build.algorithm == algorithm
    assert plan.reasons["algorithm"] == why


def test_a_plan_says_what_it_will_do_and_why():
    text = str(tx.plan("CartPole-v1", seed=5, backend="torch", max_steps=100_000))
    flowing = " ".join(text.split())
    for claim in (
        "Box(4) -> Discrete(2), 500-step limit, solved at 475 seed 5", "PPO (discrete actions) on PyTorch (asked for)",
        "CPU (small dense networks are fastest there)", "dense 64-64 tanh; observations normalised",
        "8 environments, windows of 2,048 steps",
        "policies are chosen by 5 held-out episodes each time, acting as in training, on seeds used for nothing else; "
        "at most 10 % of all env steps", "no env steps of its own", "spawning none",
        "the learning rate follows the KL divergence; SPSA tunes gamma, clip_ratio, entropy_coef while it trains",
        "at the latest at max_steps 100,000; then 20 episodes on fresh seeds",
    ):  # fmt: skip
        assert claim in flowing
    assert max(map(len, text.splitlines())) <= 98


def test_a_plan_validates_on_an_environment_of_its_own_unless_it_is_told_not_to(tmp_path):
    opt = tx.plan("CartPole-v1", out=tmp_path, seed=1, **{**TINY, "val_episodes": 3, "val_share": 0.2}).build()
    assert opt._parts.val_pipeline.description == "CartPole-v1"
    opt.run()
    assert "val_score" in opt.best_snapshot.eval_metrics.metrics
    without = tx.plan("CartPole-v1", out=tmp_path, seed=1, **TINY).build()
    assert without._parts.val_pipeline is None


@pytest.mark.parametrize("frames", ["abc", "0", "-1", "2.5", "true", 0, 65])
def test_impossible_numbers_of_frames_are_refused_in_our_words(frames):
    with pytest.raises(ConfigError, match="frame_stack must be a whole number from 1 to 64"):
        tx.plan("CartPole-v1", frame_stack=frames)


def test_off_policy_agents_take_short_windows_and_warm_up():
    for algorithm, is_discrete in (("dqn", True), ("sac", False)):
        defaults = defaults_for(algorithm, is_image=False, is_discrete=is_discrete)
        assert 32 <= defaults.window_size <= 64
        assert defaults.n_envs == 1
        assert defaults.hyperparams["learning_starts"] == 1000
    strong = defaults_for("dqn", is_image=False, is_discrete=True).hyperparams
    assert strong["double"]
    assert strong["n_step"] > 1
    assert {"target_tau", "epsilon_decay_steps"} <= set(strong)


def test_a_missing_backend_is_told_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(backends, "is_installed", lambda name: name == "torch")
    with pytest.raises(MissingDependency, match=r'needs TensorFlow, .*pip install -e "\.\[tf\]" \(found here: torch'):
        backends.choose_backend("tensorflow")
    monkeypatch.setattr(backends, "is_installed", lambda name: False)
    with pytest.raises(MissingDependency, match="none of PyTorch, JAX and TensorFlow is installed"):
        backends.choose_backend("auto")


def test_the_backend_is_the_first_one_installed(monkeypatch):
    monkeypatch.setattr(backends, "is_installed", lambda name: name != "torch")
    assert backends.choose_backend("auto").value == "jax"


def test_the_same_plan_gives_the_same_run(tmp_path):
    first, again = (tx.train("CartPole-v1", seed=3, out=tmp_path, verbose=False, **TINY) for _ in range(2))
    assert first.history["score"].tolist() == again.history["score"].tolist()
    assert first.result.final == again.result.final


def test_a_run_is_the_same_from_its_directory(tmp_path):
    run = tx.train("CartPole-v1", seed=3, out=tmp_path, verbose=False, **TINY)
    loaded = tx.load(run.run_dir)
    assert (loaded.best_score, loaded.interval) == (run.best_score, run.interval)
    assert loaded.best_score == run.result.final.mean
    low, high = run.interval
    assert low <= run.best_score <= high
    observation, _ = run.make_env().reset(seed=1)
    assert loaded.policy(observation) == run.policy(observation)
    assert loaded.seed == 3


def test_train_tells_plan_progress_and_end(tmp_path, capsys):
    run = tx.train("CartPole-v1", seed=3, out=tmp_path, **TINY)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("plan   CartPole-v1")
    assert any(line.startswith("[loop] ep=") for line in lines)
    assert lines[-1].endswith(str(run.run_dir))


@pytest.mark.parametrize(
    ("env_id", "algorithm", "fixed"),
    [("CartPole-v1", "dqn", {"replay_capacity": 500}), ("Pendulum-v1", "sac", {"log_alpha_init": -1.0})],
)
def test_a_run_with_another_fixed_hyperparameter_is_loaded_and_started_from(env_id, algorithm, fixed, tmp_path):
    sizes = {"hidden": "8", "n_envs": 1, "window_size": 64, "learning_starts": 0}
    settings = {**sizes, "max_steps": 1_100, "updates_per_step": 0.01, "val_episodes": 0, "evaluation_episodes": 0}
    first = tx.train(env_id, algorithm, "torch", seed=3, out=tmp_path, verbose=False, **settings, **fixed)
    stored = first.agent.policy_state()["networks"]["log_alpha" if algorithm == "sac" else "q"]
    agent, _ = tx.plan(env_id, algorithm, "torch", out=tmp_path, init_from=first.run_dir, **sizes).parts()
    for name, value in fixed.items():
        assert tx.load(first.run_dir).agent.get_hyperparams().params[name] == value
        assert agent.get_hyperparams().params[name] != value
    for name, array in agent.policy_state()["networks"]["log_alpha" if algorithm == "sac" else "q"].items():
        assert (array == stored[name]).all()


def test_training_can_start_from_the_policy_of_another_run(tmp_path):
    first = tx.train("CartPole-v1", seed=3, out=tmp_path, verbose=False, **TINY)
    limits = {"max_steps": 128, "n_envs": 2, "window_size": 64, "learning_rate": 1e-5}
    plan = tx.plan("CartPole-v1", seed=9, out=tmp_path, init_from=first.run_dir, **limits)
    assert plan.recipe.build.hidden == (8,)
    assert plan.reasons["algorithm"] == "as in the run that it starts from"
    agent, _ = plan.parts()
    stored = first.agent.policy_state()["networks"]["actor"]["0.weight"]
    assert (agent.policy_state()["networks"]["actor"]["0.weight"] == stored).all()
    assert agent.get_hyperparams().params["learning_rate"] == 1e-5
    with pytest.raises(CheckpointError, match="shape"):
        tx.plan("Acrobot-v1", out=tmp_path, init_from=first.run_dir).build()
    with pytest.raises(CheckpointError, match="does not exist"):
        tx.plan("CartPole-v1", init_from=tmp_path / "absent")


def test_several_seeds_are_one_experiment(tmp_path):
    experiment = tx.train("CartPole-v1", seed=3, seeds=2, out=tmp_path, verbose=False, **TINY)
    assert len({run.seed for run in experiment.runs}) == 2
    assert experiment.summary.scores == tuple(run.best_score for run in experiment.runs)
    assert experiment.best.best_score == max(experiment.summary.scores)
    with pytest.raises(ConfigError, match="seeds must be a whole number of at least 1, got 0"):
        tx.train("CartPole-v1", seeds=0)


def test_a_summary_is_the_interquartile_mean_with_an_interval_around_it():
    summary = Summary.of([0.0, 10.0, 10.0, 100.0])
    assert summary.iqm == 10.0
    assert summary.low <= 10.0 <= summary.high
    with pytest.raises(ConfigError, match="none of the runs has a score"):
        Summary.of([])


def test_what_is_planned_is_recorded_with_its_reasons(tmp_path):
    run = tx.train("CartPole-v1", seed=fresh_seed(), out=tmp_path, verbose=False, **TINY)
    details = json.loads((run.run_dir / "run.json").read_text())["identity"]["details"]
    assert details["reasons"]["backend"]
    assert details["facts"]["reward_threshold"] == 475.0


def test_networks_of_ones_own_are_loaded_through_a_factory(tmp_path):
    pipeline = tx.BatchPipeline(env_id="CartPole-v1", window_size=64)

    def factory():
        return tx.make_agent(pipeline, "ppo", "torch", seed=8, hidden=(5,))

    opt = tx.RLOptimizer(factory(), pipeline, seed=2, checkpoint_dir=tmp_path, max_episodes=2, evaluation_episodes=1)
    opt.run()
    with pytest.raises(CheckpointError, match="give agent_factory and pipeline"):
        tx.load(opt.run_dir)
    loaded = tx.load(opt.run_dir, agent_factory=factory, pipeline=pipeline)
    assert loaded.best_score == opt.result.final.mean
