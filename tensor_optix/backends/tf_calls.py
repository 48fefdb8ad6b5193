"""How is a traced function called without TensorFlow's own look at its arguments, which takes ten times as long?"""

from __future__ import annotations

from typing import Any

from tensor_optix.backends.tf_import import tf


class DirectCall:
    """A ``tf.function`` for one signature, as a single operation.

    It is called with nested tensors that fit the signature, which nobody checks.
    """

    def __init__(self, function: Any, *signature: Any) -> None:
        self._function = function.get_concrete_function(*signature)
        self._captured = list(self._function.captured_inputs)
        self._types = [output.dtype for output in self._function.outputs]
        returned = self._function.structured_outputs
        self._names = sorted(returned) if isinstance(returned, dict) else None
        self._is_one = not isinstance(returned, dict | list | tuple)

    def __call__(self, *arguments: Any) -> Any:
        """The outputs: one, a list, or a dict, as the function returns them."""
        outputs = tf.raw_ops.StatefulPartitionedCall(
            args=[*tf.nest.flatten(arguments), *self._captured], Tout=self._types, f=self._function
        )
        if self._names is not None:
            return dict(zip(self._names, outputs, strict=True))
        return outputs[0] if self._is_one else outputs
