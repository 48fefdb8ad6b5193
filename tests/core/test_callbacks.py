"""Hooks and their errors."""

import pytest

from tensor_optix.core.callbacks import CallbackList, LoopCallback


def test_an_error_names_the_callback_and_the_hook():
    class Broken(LoopCallback):
        def on_dormant(self, window_id):  # callers pass it by position: any name will do
            raise ZeroDivisionError("on purpose")

    with pytest.raises(ZeroDivisionError) as caught:
        CallbackList([Broken()]).call("on_dormant", 3)
    assert caught.value.__notes__ == ["raised by the callback Broken.on_dormant"]


def test_a_callback_may_be_added_from_within_a_hook():
    calls = []

    class Adding(LoopCallback):
        def on_loop_start(self):
            calls.append("start")
            callbacks.add(self)

    callbacks = CallbackList([Adding()])
    callbacks.call("on_loop_start")
    assert calls == ["start"]
    callbacks.call("on_loop_start")
    assert calls == ["start"] * 3
