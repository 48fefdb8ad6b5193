"""PPO on eight copies of CartPole-v1 at once, with normalised observations.

    python examples/vector_environments.py

Needs PyTorch: pip install -e ".[torch]". ``async_envs=True`` would give every environment a process of its own.
"""

from tensor_optix import RLOptimizer, VectorBatchPipeline, make_agent


def main() -> None:
    pipeline = VectorBatchPipeline(env_id="CartPole-v1", n_envs=8, window_size=256)
    agent = make_agent(pipeline, "ppo", "torch", seed=0)
    opt = RLOptimizer(agent=agent, pipeline=pipeline, seed=0, verbose=True)
    opt.run()

    assert opt.result is not None
    print(f"{opt.result.reason.value}: {opt.result.explanation}")
    print(f"{opt.result.env_steps:,} steps in {opt.result.seconds:.0f} s")


if __name__ == "__main__":
    main()
