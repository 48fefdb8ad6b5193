"""Two PPO agents with different networks act together on CartPole-v1, and both learn from what they do.

    python examples/ensemble.py

Needs PyTorch: pip install -e ".[torch]"
"""

from tensor_optix import BatchPipeline, EnsembleAgent, PolicyManager, RLOptimizer, VectorBatchPipeline, make_agent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry


def main() -> None:
    env = BatchPipeline(env_id="CartPole-v1")
    agent_a = make_agent(env, "ppo", "torch", seed=0, hidden=(64, 64))
    agent_b = make_agent(env, "ppo", "torch", seed=1, hidden=(32,))
    manager = PolicyManager(CheckpointRegistry("checkpoints/ensemble"))
    manager.add_agent(agent_a, weight=1.0)
    manager.add_agent(agent_b, weight=1.0)
    ensemble = EnsembleAgent(manager, primary_agent=agent_a)

    pipeline = VectorBatchPipeline(env_id="CartPole-v1", n_envs=8, window_size=256)
    opt = RLOptimizer(agent=ensemble, pipeline=pipeline, seed=0, verbose=True)
    opt.run()

    assert opt.result is not None
    print(f"{opt.result.reason.value}: {opt.result.explanation}")
    for name, agent in (("ensemble", ensemble), ("first", agent_a), ("second", agent_b)):
        window = pipeline.evaluate(agent, seeds=range(10))
        assert window is not None
        print(f"{name}: mean return {sum(window.episode_returns) / 10:.1f}")
    pipeline.teardown()


if __name__ == "__main__":
    main()
