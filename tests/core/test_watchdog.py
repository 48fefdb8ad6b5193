"""A stream whose policy has converged: it acts on without learning, and learns again when it has become worse."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tensor_optix import LoopCallback, LoopState, RLOptimizer, StopReason
from tensor_optix.core.watchdog import Watchdog
from tensor_optix.storage import FileSystem, RunDirectory
from tests.core.scripted import FirstReward, HookLog, ScriptedAgent, ScriptedPipeline

NOISE = np.random.default_rng(0).normal(0, 1, 1000)
LEARNED = [100 * min(k, 20) / 20 + NOISE[k] for k in range(100)]


def watching(out: Path, script: list[float], **settings) -> tuple[RLOptimizer, ScriptedAgent, list[LoopState]]:
    agent, states = ScriptedAgent(), []

    class States(LoopCallback):
        def on_episode_end(self, episode_id, eval_metrics):
            states.append(opt.state)

    opt = RLOptimizer(agent, ScriptedPipeline(script), FirstReward(), checkpoint_dir=out, seed=1,
                      callbacks=[States(), HookLog(agent.log)], evaluation_episodes=0,
                      **{"on_dormant": "watch", **settings})  # fmt: skip
    opt.run()
    return opt, agent, states


def test_after_dormant_the_best_policy_acts_on_and_nothing_is_learned(tmp_path):
    opt, agent, states = watching(tmp_path, [*LEARNED, *(100 + NOISE[100:400])], max_episodes=300)
    assert opt.result.reason is StopReason.MAX_EPISODES
    assert states[-1] is LoopState.WATCHDOG
    assert opt.state is LoopState.WATCHDOG
    first = states.index(LoopState.WATCHDOG)
    assert not [entry for entry in agent.log if entry.startswith("learn ") and int(entry.split()[1]) > first]


def test_it_learns_again_when_the_scores_have_fallen_for_good(tmp_path):
    script = [*(100 * min(k, 20) / 20 + NOISE[k] for k in range(200)), *(40 + NOISE[200:300])]
    opt, agent, states = watching(tmp_path, script, max_episodes=230)
    assert states[198] is LoopState.WATCHDOG
    assert states[-1] is LoopState.ACTIVE
    assert any(entry.startswith("learn 22") for entry in agent.log)
    assert len([entry for entry in agent.log if entry.startswith("on_degradation")]) == 1
    kinds = [event["kind"] for event in RunDirectory.open(FileSystem(), opt.run_dir).read_events()]
    assert kinds.index("watching") < kinds.index("degraded")


def test_by_default_the_run_ends_there(tmp_path):
    opt, _, states = watching(tmp_path, LEARNED, on_dormant="stop", max_episodes=300)
    assert opt.result.reason is StopReason.CONVERGED
    assert LoopState.WATCHDOG not in states


def test_one_wild_score_wakes_nobody():
    watchdog = Watchdog()
    watchdog.start()
    assert all(watchdog.heard(value) is None for value in [*(100 + NOISE[:50]), -500.0, *(100 + NOISE[50:90])])


def test_the_watchdog_goes_on_from_its_state():
    one = Watchdog()
    one.start()
    for value in 100 + NOISE[:30]:
        one.heard(value)
    other = Watchdog()
    other.load_state_dict(one.state_dict())
    falling = [float(v) for v in 50 + NOISE[:20]]
    assert [one.heard(v) for v in falling] == [other.heard(v) for v in falling]
    assert other.is_on
