"""A small sound run on disk, and the means to damage it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from tensor_optix import make_agent
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.types import EpisodeData, EvalMetrics, HyperparamSet
from tensor_optix.storage import FileSystem, RunDirectory
from tensor_optix.storage.array_format import describe_arrays, pack_arrays, unpack_arrays
from tensor_optix.storage.strict_json import FormatError, dumps, loads

ARRAYS, STATE, MANIFEST = "arrays.safetensors", "state.json", "MANIFEST.json"
RUN, METRICS, EVENTS = "run.json", "metrics.jsonl", "events.jsonl"
GENERATION = "snapshots/000000000001"
DETAILS = {
    "env_id": "CartPole-v1", "algorithm": "ppo", "backend": "torch", "is_discrete": True, "is_image": False,
    "hidden": [64, 64], "activation": "tanh", "n_envs": 8, "window_size": 256, "frame_stack": 1,
    "normalize_observations": True, "normalize_rewards": False,
}  # fmt: skip


class ToyAgent(BaseAgent):
    """Takes the first layer of whatever policy it is given, as carelessly as a user might write it."""

    def __init__(self) -> None:
        self.weight = np.zeros(2)
        self.params: dict[str, Any] = {"learning_rate": 0.5}

    def act(self, observation: Any) -> Any:
        return 0

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        return {}

    def get_hyperparams(self) -> HyperparamSet:
        return HyperparamSet(dict(self.params))

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        self.params = dict(hyperparams.params)

    def policy_state(self) -> dict[str, Any] | None:
        return {"networks": {"actor": {"0.weight": self.weight}}}

    def load_policy_state(self, state: dict[str, Any]) -> None:
        self.weight = state["networks"]["actor"]["0.weight"] + 0.0

    def save_weights(self, path: str) -> None:
        raise NotImplementedError

    load_weights = save_weights


class OpaqueAgent(ToyAgent):
    """Writes its weights itself, in two files."""

    def policy_state(self) -> dict[str, Any] | None:
        return None

    def save_weights(self, path: str) -> None:
        Path(path).mkdir()
        (Path(path) / "model.bin").write_bytes(self.weight.tobytes())
        (Path(path) / "deep").mkdir()
        (Path(path) / "deep" / "more.bin").write_bytes(b"more")

    def load_weights(self, path: str) -> None:
        self.weight = np.frombuffer((Path(path) / "model.bin").read_bytes())


def ppo_agent(seed: int) -> BaseAgent:
    """The agent of ``quick.prepare("CartPole-v1")``."""
    with gym.make("CartPole-v1") as env:
        return make_agent(env, seed=seed)


def trained_agent(seed: int) -> BaseAgent:
    """The same after an update on noise, so that its optimizer has moments."""
    agent, rng, length = ppo_agent(seed), np.random.default_rng(seed), 64
    flags = [False] * length
    observations = rng.standard_normal((length, 4), dtype=np.float32)
    agent.learn(EpisodeData(observations, rng.integers(2, size=length), [1.0] * length, flags, flags, [], 0))
    return agent


def make_run(parent: Path, agents: list[BaseAgent]) -> Path:
    """A run with one snapshot an agent, each better than the one before, and two rows in each log."""
    run = RunDirectory.create(FileSystem(), parent, "sound", {"seed": 1, "details": DETAILS})
    registry = CheckpointRegistry(run.path, run_id=run.run_id)
    for score, agent in enumerate(agents, start=1):
        registry.save(agent, EvalMetrics(float(score), {"std": 0.5}, score), agent.get_hyperparams())
        run.append_metrics({"tick": score, "score": float(score)})
        run.append_event({"what": "best", "tick": score})
    run.release()
    return run.path


def sign(manifest: dict[str, Any]) -> None:
    """Make a manifest's own hash right, where its content can be hashed at all."""
    if "sha256" in manifest:
        fields = {name: value for name, value in manifest.items() if name != "sha256"}
        with suppress(FormatError):
            manifest["sha256"] = hashlib.sha256(dumps(loads(json.dumps(fields).encode(), 1 << 30))).hexdigest()


@dataclass(frozen=True)
class Files:
    """A run that is about to be damaged; ``outside`` is a directory beside it that no reader has any business in."""

    run: Path
    outside: Path

    def path(self, name: str) -> Path:
        """Where the file (or directory) ``name`` of the first snapshot or of the run is."""
        in_snapshot = name in (ARRAYS, STATE, MANIFEST) or name.startswith("weights")
        return self.run / GENERATION / name if in_snapshot else self.run / name

    @property
    def canary(self) -> Path:
        """What a payload would make if it were run."""
        return self.outside / "CANARY"

    def put(self, name: str, data: bytes) -> None:
        """Replace a file, whatever the manifest says."""
        self.path(name).write_bytes(data)

    def seal(self, name: str, data: bytes) -> None:
        """Replace a file of the snapshot and give the manifest its size and its hash: the attacker can, too."""
        self.put(name, data)
        record = {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.edit(MANIFEST, lambda m: m["files"].__setitem__(slice(None), [
            record if file["name"] == name else file for file in m["files"]
        ]))  # fmt: skip

    def edit(self, name: str, change: Callable[[Any], Any]) -> None:
        """Change a JSON file in place (``change`` works on its value)."""
        value = json.loads(self.path(name).read_bytes())
        change(value)
        if name == MANIFEST:
            sign(value)
        data = json.dumps(value).encode()
        self.seal(name, data) if name == STATE else self.put(name, data)

    def edit_arrays(self, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
        """Change the arrays, so that everything agrees again."""
        described = json.loads(self.path(MANIFEST).read_bytes())["arrays"]
        arrays = unpack_arrays(described, [self.path(ARRAYS).read_bytes()])
        change(arrays)
        self.seal(ARRAYS, b"".join(pack_arrays(arrays)))
        self.edit(MANIFEST, lambda manifest: manifest.update(arrays=describe_arrays(arrays)))
