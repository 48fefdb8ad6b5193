"""How does a plan read as a file that people edit: as settings (TOML), and as the Python of the same run?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tensor_optix.core.hyperparams import Space
from tensor_optix.quick.agents import OF_THE_AGENT
from tensor_optix.quick.assembly import Recipe
from tensor_optix.quick.build import CHANGEABLE, Build, sizes_text
from tensor_optix.quick.plan import Plan


def as_toml(plan: Plan) -> str:
    """A commented run.toml: ``tensor-optix train ENV_ID --config run.toml``."""
    build = plan.recipe.build
    parts = {name: getattr(build, name) for name in CHANGEABLE} | {"hidden": sizes_text(build.hidden)}
    hyperparams = {**build.default_hyperparams, **plan.recipe.hyperparams}
    lines = [
        f"# tensor-optix train {build.env_id} --config run.toml",
        "", "[run]", f"env = {_toml(build.env_id)}", f"algo = {_toml(build.algorithm)}",
        f"backend = {_toml(build.backend)}", f"seed = {plan.seed}",
        "", "[settings]", "# what the run is made of", *(f"{name} = {_toml(value)}" for name, value in parts.items()),
        "", "# hyperparameters", *(_documented(name, value, build.space) for name, value in hyperparams.items()),
        *(f"# {name} =    # {param.doc}" for name, param in build.space.items() if name not in hyperparams),
        "", "# the loop", *(f"{name} = {_toml(value)}" for name, value in plan.recipe.settings.items()),
        *([] if "max_steps" in plan.recipe.settings else ["# max_steps = 1000000"]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def as_python(plan: Plan) -> str:
    """The same run, bit for bit, through RLOptimizer."""
    build, recipe = plan.recipe.build, plan.recipe
    agent = {name: getattr(build, name) for name in OF_THE_AGENT} | build.default_hyperparams | recipe.hyperparams
    loop = {"seed": "SEED", "checkpoint_dir": repr(str(plan.out)), "verbose": "True",
            **{name: repr(value) for name, value in recipe.settings.items()}}  # fmt: skip
    return _SCRIPT.format(
        env_id=build.env_id, seed=plan.seed, pipeline=_pipeline(build), threads=_THREADS[build.backend],
        algorithm=build.algorithm, backend=build.backend, torch="import torch\n\n" if build.backend == "torch" else "",
        agent="".join(f"    {name}={value!r},\n" for name, value in agent.items()),
        validation=_validation(recipe),
        loop="".join(f"    {name}={text},\n" for name, text in loop.items()),
    )  # fmt: skip


def _pipeline(build: Build) -> str:
    stack = f", {build.frame_stack}" if build.frame_stack > 1 else ""
    source = f"env_factory({build.env_id!r}{stack})"
    if build.n_envs == 1:
        return f"tx.BatchPipeline({source}, window_size={build.window_size})"
    return f"tx.VectorBatchPipeline({source}, n_envs={build.n_envs}, window_size={build.window_size})"


def _validation(recipe: Recipe) -> str:
    if not recipe.settings.get("val_episodes"):
        return ""
    return f"    val_pipeline={_pipeline(replace(recipe.build, n_envs=1))},\n"


def _documented(name: str, value: Any, space: Space) -> str:
    return f"{name} = {_toml(value)}    # {space[name].doc}"


def _toml(value: Any) -> str:
    """TOML writes texts, numbers and truth values as JSON does."""
    return json.dumps(value)


_THREADS = {
    "torch": "torch.set_num_threads(1)    # small networks: more threads only slow them down\n",
    "tf": "",
    "jax": "",
}

_SCRIPT = '''"""Train on {env_id}; what tensor-optix train does, to be changed at will."""

{torch}import tensor_optix as tx
from tensor_optix.quick.environments import env_factory

SEED = {seed}

{threads}pipeline = {pipeline}
agent = tx.make_agent(
    pipeline,
    "{algorithm}",
    "{backend}",
    seed=SEED,
{agent})
optimizer = tx.RLOptimizer(
    agent=agent,
    pipeline=pipeline,
{validation}{loop})

if __name__ == "__main__":
    optimizer.run()
    print(optimizer.result.explanation)
    print("best policy on fresh seeds:", optimizer.result.final)
'''
