"""How TensorFlow comes into the process: quietly, with Keras 3 over it, and with a clear word where it is missing.

The number of threads stays as the user set it: it cannot be changed after the first operation, so it belongs to
whoever owns the process (``tf_networks.use_one_thread``).
"""

from __future__ import annotations

import os

from tensor_optix._lazy import missing

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, by the import

try:
    import keras
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise missing("tensorflow") from error

__all__ = ["keras", "tf"]
