"""A small real use of each extra, run by name in an environment that has it: ``python uses.py report``.

Each raises where the use does not work, and prints one line about what was done. The functions take their name from
the extra; what they need besides is in ``BESIDES``.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

import tensor_optix as tx

BESIDES = {"video": "classic", "onnx": "torch", "mujoco": "torch", "atari": "torch"}
"""Another extra that the use needs: pictures want an environment that draws, an exported policy a network."""

BRIEFLY = {"val_episodes": 0, "evaluation_episodes": 0}
"""Where an env episode takes a thousand steps nothing is evaluated."""


class HillClimber(tx.BaseAgent):
    """A linear policy for CartPole that needs no framework: a change of its weights is kept if it was no worse."""

    def __init__(self, noise: float = 0.5) -> None:
        self._rng, self._noise = np.random.default_rng(0), noise
        self._best, self._best_return = np.zeros((4, 2)), -np.inf
        self._weights = self._best

    def act(self, observation: Any, deterministic: bool = False) -> int:
        return int(np.argmax(observation @ self._weights))

    def learn(self, episode_data: tx.EpisodeData) -> dict[str, float]:
        score = float(np.mean(episode_data.episode_returns or [-np.inf]))
        if score >= self._best_return:
            self._best, self._best_return = self._weights, score
        self._weights = self._best + self._noise * self._rng.normal(size=(4, 2))
        return {"best_return": self._best_return}

    def get_hyperparams(self) -> tx.HyperparamSet:
        return tx.HyperparamSet({"noise": self._noise})

    def set_hyperparams(self, hyperparams: tx.HyperparamSet) -> None:
        self._noise = hyperparams.params["noise"]

    def save_weights(self, path: str) -> None:
        np.save(path, self._weights)

    def load_weights(self, path: str) -> None:
        self._weights = np.load(f"{path}.npy")


def cartpole() -> tx.BatchPipeline:
    return tx.BatchPipeline(env_id="CartPole-v1", window_size=500)


def a_run(*callbacks: Any, agent: Any = None) -> tx.RLOptimizer:
    """Ten windows of the hill climber."""
    opt = tx.RLOptimizer(agent or HillClimber(), cartpole(), seed=0, max_episodes=10, callbacks=callbacks)
    opt.run()
    assert opt.result is not None
    return opt


def trained(backend: str, env_id: str = "CartPole-v1", **settings: Any) -> str:
    run = tx.train(env_id, "auto", backend, seed=0, verbose=False, **{"max_steps": 4_096, **settings})
    observation, _ = run.make_env().reset(seed=1)
    action = run.policy(observation)
    return f"{run.result.reason.value}, score {run.result.score}, acts: {np.asarray(action).shape or action}"


def nothing() -> str:
    result = a_run().result
    assert result is not None
    return f"the six methods, without a framework: {result.reason.value}, {result.score:.1f}"


def torch() -> str:
    return trained("torch")


def tensorflow() -> str:
    return trained("tf")


def jax() -> str:
    return trained("jax")


def report() -> str:
    run_dir = a_run(tx.ReportWriter()).run_dir
    sizes = {name: (run_dir / name).stat().st_size for name in ("report.html", "progress.png")}
    return f"bytes: {sizes}"


def search() -> str:
    orchestrator = tx.TrialOrchestrator(
        lambda given: HillClimber(**given), cartpole, {"noise": ("log_float", 0.01, 2.0)}, n_trials=4,
        trial_steps=3_000, seed=0,
    )  # fmt: skip
    params, score = orchestrator.run()
    return f"best of 4 trials {params}: {score:.1f}"


def live() -> str:
    from websockets.sync.server import serve

    def feed(connection: Any) -> None:
        for number in range(200):
            connection.send(f'{{"observation": [0.1, 0.2, {number}, 0.4], "reward": {number % 5}}}')

    with serve(feed, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = tx.WebSocketSource(f"ws://127.0.0.1:{server.socket.getsockname()[1]}")
        agent = HillClimber()
        every = tx.LivePipeline.every_n_steps(50)
        pipeline = tx.LivePipeline(source, agent=agent, episode_boundary_fn=every, reconnect_on_disconnect=False)
        opt = tx.RLOptimizer(agent, pipeline, max_episodes=3, seed=0)
        opt.run()
        server.shutdown()
    assert opt.result is not None
    return f"records over a WebSocket: {opt.result.env_steps} steps, {dict(pipeline.health)['received']} received"


def video() -> str:
    agent = HillClimber()
    recorder = tx.VideoRecorder(agent, tx.EpisodeFilm("CartPole-v1", max_frames=50))
    a_run(recorder, agent=agent)
    assert recorder.problem is None, recorder.problem
    return f"bytes: {[path.stat().st_size for path in recorder.paths]}"


def tensorboard() -> str:
    logger = tx.TensorBoardLogger()
    a_run(logger)
    assert logger.problem is None, logger.problem
    return f"event files: {len(list(Path().rglob('events.out.tfevents*')))}"


def wandb() -> str:
    logger = tx.WandbLogger(mode="offline")
    a_run(logger)
    assert logger.problem is None, logger.problem
    return f"offline runs: {len(list(Path().rglob('*.wandb')))}"


def mlflow() -> str:
    from mlflow import MlflowClient

    logger = tx.MLflowLogger(tracking_uri="sqlite:///mlflow.db")
    a_run(logger)
    assert logger.problem is None, logger.problem
    client = MlflowClient("sqlite:///mlflow.db")
    experiment = client.get_experiment_by_name("tensor-optix")
    assert experiment is not None
    return f"runs in the store: {len(client.search_runs([experiment.experiment_id]))}"


def onnx() -> str:
    import onnxruntime

    pipeline = cartpole()
    agent = tx.make_agent(pipeline, "ppo", "torch", seed=0)
    path = tx.export_policy(agent, "policy.onnx", format="onnx", env=pipeline)
    seen = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path))
    (actions,) = session.run(["action"], {"observation": seen})
    expected, _ = agent.act_batch(seen, rng=np.random.default_rng(0), deterministic=True)
    assert (actions == expected).all()
    return f"100 of 100 actions equal the agent's; {path.stat().st_size} bytes"


def classic() -> str:
    return f"frames: {len(tx.EpisodeFilm('CartPole-v1')(HillClimber()))}"


def box2d() -> str:
    import gymnasium as gym

    claims = tx.check_env_pipeline(lambda: gym.make("LunarLander-v3"))
    return f"claims checked about LunarLander-v3: {len(claims)}"


def mujoco() -> str:
    return trained("torch", "HalfCheetah-v5", learning_starts=500, **BRIEFLY, max_steps=700)


def atari() -> str:
    return trained("torch", "ALE/Pong-v5", **BRIEFLY, max_steps=1_024)


def docs() -> str:
    import subprocess

    site = Path("site").absolute()
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    subprocess.run(build, cwd=Path(__file__).parents[2], check=True)
    return f"pages: {len(list(site.rglob('*.html')))}"


if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
