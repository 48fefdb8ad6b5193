"""Callbacks that raise, add others, stop the run or delete its files."""

import logging
import shutil

import pytest

from tensor_optix import LoopCallback, RLOptimizer, StopReason
from tensor_optix.core.callbacks import CallbackList, ToleratedErrors
from tests.core.scripted import FirstReward, HookLog, ScriptedAgent, ScriptedPipeline

HOOKS = [name for name in vars(LoopCallback) if name.startswith("on_") or name == "after_dormant"]


class Raising(LoopCallback):
    """Raises in one hook, in the calls (from 1) that ``when`` is true for."""

    def __init__(self, hook, error=ZeroDivisionError, when=lambda call: True):
        self.calls = 0

        def fail(*arguments):
            self.calls += 1
            if when(self.calls):
                raise error("on purpose")

        setattr(self, hook, fail)


def tolerant(*callbacks):
    return CallbackList(callbacks, errors=ToleratedErrors())


def optimizer(tmp_path, callbacks, script=(1, 2, 3), **settings):
    settings = {"evaluator": FirstReward(), "checkpoint_dir": tmp_path, "seed": 1, "max_episodes": 3, **settings}
    return RLOptimizer(ScriptedAgent(), ScriptedPipeline(script), callbacks=callbacks, **settings)


@pytest.mark.parametrize("hook", HOOKS)
def test_an_error_surfaces_with_its_hook_after_all_others_have_heard_it(hook):
    callbacks = [Raising(hook), Raising(hook, when=lambda call: False), Raising(hook, OSError)]
    with pytest.raises(ZeroDivisionError) as caught:
        CallbackList(callbacks).call(hook)
    name = f"raised by the callback Raising.{hook}"
    assert caught.value.__notes__ == [name, f"and OSError: on purpose, {name}"]
    assert [callback.calls for callback in callbacks] == [1, 1, 1]


@pytest.mark.parametrize(
    "hook", ["on_loop_start", "on_checkpoint", "on_episode_end", "on_hyperparam_update", "on_stop"]
)
def test_on_loop_stop_reaches_every_callback_whichever_hook_raised(hook, tmp_path):
    log = HookLog()
    opt = optimizer(tmp_path, [Raising("on_loop_stop", OSError), Raising(hook), log])
    with pytest.raises((OSError, ZeroDivisionError)):
        opt.run()
    assert log.log[-1] == "on_loop_stop"


def test_the_errors_of_on_loop_stop_are_grouped_and_the_first_is_raised(tmp_path):
    callbacks = [Raising("on_loop_stop", OSError), Raising("on_loop_stop", ValueError)]
    with pytest.raises(OSError, match="on purpose") as caught:
        optimizer(tmp_path, callbacks).run()
    assert caught.value.__notes__[-1].startswith("and ValueError: on purpose, raised by the callback Raising.on_loop")


def test_tolerated_errors_are_counted_told_once_with_a_traceback_and_end_after_three(caplog):
    broken, log = Raising("on_episode_end"), HookLog()
    callbacks = tolerant(broken, log)
    with caplog.at_level(logging.ERROR):
        returned = [callbacks.call("on_episode_end", window, None) for window in range(5)]
    assert returned == [[None, None]] * 5
    assert broken.calls == 3
    assert len(log.log) == 5
    assert callbacks.health == {"callback_errors": 3, "callback_hooks_disabled": 1}
    assert [record.exc_info is not None for record in caplog.records] == [True, False]
    assert "Raising.on_episode_end failed, the run goes on" in caplog.text
    assert "ZeroDivisionError: on purpose" in caplog.text


def test_only_failures_in_a_row_disable_a_hook_and_only_that_hook():
    callbacks = tolerant(Raising("on_dormant", when=lambda call: call % 3))
    for _ in range(9):
        callbacks.call("on_dormant", 0)
    assert callbacks.health == {"callback_errors": 6}
    always = Raising("on_dormant")
    always.on_episode_end = lambda *_: "still called"
    callbacks = tolerant(always)
    for _ in range(5):
        callbacks.call("on_dormant", 0)
        assert callbacks.call("on_episode_end", 0, None) == ["still called"]
    assert always.calls == 3


def test_on_loop_stop_is_never_disabled():
    broken = Raising("on_loop_stop")
    callbacks = tolerant(broken)
    for _ in range(5):
        callbacks.call("on_loop_stop")
    assert broken.calls == 5
    assert callbacks.health == {"callback_errors": 5}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("make", [tolerant, lambda *callbacks: CallbackList(callbacks)])
def test_interrupts_always_pass(error, make):
    with pytest.raises(error):
        make(Raising("on_episode_end", error)).call("on_episode_end", 0, None)


def test_a_state_that_a_callback_cannot_give_is_tolerated_or_named():
    broken, sound = Raising("state_dict"), LoopCallback()
    sound.state_dict = lambda: {"n": 1}
    assert tolerant(broken, sound).state_dict() == {"callbacks": [{}, {"n": 1}]}
    with pytest.raises(ZeroDivisionError) as caught:
        CallbackList([broken, sound]).state_dict()
    assert caught.value.__notes__ == ["raised by the callback Raising.state_dict"]


@pytest.mark.parametrize("hook", ["on_loop_start", "on_checkpoint", "on_episode_end", "on_hyperparam_update"])
def test_stop_may_be_called_within_any_hook(hook, tmp_path):
    stopper = LoopCallback()
    opt = optimizer(tmp_path, [stopper], max_episodes=9)
    setattr(stopper, hook, lambda *_: opt.stop())
    opt.run()
    assert opt.result.reason is StopReason.STOPPED
    assert opt.result.windows == {"on_loop_start": 0, "on_hyperparam_update": 2}.get(hook, 1)


def test_stop_within_the_last_hooks_does_not_end_the_next_run(tmp_path):
    stopper = LoopCallback()
    opt = optimizer(tmp_path, [stopper], max_episodes=2)
    stopper.on_stop = stopper.on_loop_stop = lambda *_: opt.stop()
    opt.run()
    opt.run()
    assert opt.result.windows == 4


def test_a_callback_added_within_a_hook_is_called_from_the_next_hook_on(tmp_path):
    log = HookLog()

    class Adding(LoopCallback):
        def on_checkpoint(self, snapshot):
            if not log.log:
                opt.add_callback(log)
                log.log.append("added")

    opt = optimizer(tmp_path, [Adding()], max_episodes=1)
    opt.run()
    assert log.log == ["added", "on_episode_end 0 1", "on_stop max_episodes", "on_loop_stop"]


def test_a_callback_that_deletes_the_run_is_no_silent_loss(tmp_path):
    class Deleting(LoopCallback):
        def on_episode_end(self, episode_id, eval_metrics):
            if episode_id == 1:
                shutil.rmtree(opt.run_dir)

    opt = optimizer(tmp_path, [Deleting()], max_episodes=6, script=(1, 2, 3, 4, 5, 6))
    try:
        opt.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, it must be ours
        assert type(error).__module__ == "tensor_optix.errors"  # noqa: PT017
    else:
        assert opt.registry.best.eval_metrics.primary_score == 6
