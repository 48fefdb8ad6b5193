"""Short trials choose the hyperparameters, then one long run uses them.

    python examples/search_then_run.py

Needs PyTorch and Optuna: pip install -e ".[torch,search]". The study is kept in ./checkpoints/search/study.db: a
second call continues it.
"""

from typing import Any

from tensor_optix import BaseAgent, RLOptimizer, TrialOrchestrator, VectorBatchPipeline, make_agent

ENV_ID = "CartPole-v1"


def make_pipeline() -> VectorBatchPipeline:
    return VectorBatchPipeline(env_id=ENV_ID, n_envs=8, window_size=256)


def agent_with(params: dict[str, Any]) -> BaseAgent:
    return make_agent(make_pipeline(), "ppo", "torch", seed=0, **params)


def main() -> None:
    orchestrator = TrialOrchestrator(
        agent_factory=agent_with,
        pipeline_factory=make_pipeline,
        param_space={
            "learning_rate": ("log_float", 1e-4, 3e-3),
            "clip_ratio": ("float", 0.1, 0.3),
            "entropy_coef": ("float", 0.001, 0.05),
        },
        n_trials=10,
        trial_steps=20_000,
        seed=0,
    )
    best_params, best_score = orchestrator.run()
    print(f"best of the trials: {best_score:.1f} with {best_params}")

    opt = RLOptimizer(agent=agent_with(best_params), pipeline=make_pipeline(), seed=1, verbose=True)
    opt.run()
    assert opt.result is not None
    print(f"{opt.result.reason.value}: {opt.result.explanation}")


if __name__ == "__main__":
    main()
