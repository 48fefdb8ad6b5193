"""What is the mean of the networks over a cool-down? Often better, and never worse to look at, than each of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.convergence import Judgement
from tensor_optix.core.state import join_state, split_state

NETWORKS = "networks"
MIN_POLICIES = 5  # below, the mean is not worth evaluating


class WeightAverage:
    """The running mean of an agent's networks, policy by policy, while a cool-down is on.

    Statistics and everything else of the averaged policy are the last one's. Agents that give no networks are left
    out.
    """

    def __init__(self) -> None:
        self._mean: dict[str, np.ndarray] = {}
        self.n_policies = 0

    def restart(self) -> None:
        """Forget what was averaged."""
        self._mean, self.n_policies = {}, 0

    def after(self, agent: BaseAgent, judgement: Judgement | None) -> None:
        """One more learn call has been made."""
        if judgement is None or judgement.cooldown is None:
            self.restart()
            return
        networks = _networks(agent)
        self.n_policies += 1
        for name, array in networks.items():
            mean = self._mean.get(name, np.zeros(array.shape))
            self._mean[name] = mean + (array - mean) / self.n_policies

    @property
    def is_ready(self) -> bool:
        """True when there is a mean worth evaluating."""
        return bool(self._mean) and self.n_policies >= MIN_POLICIES

    def put_into(self, agent: BaseAgent) -> None:
        """The averaged networks act from now on."""
        json, arrays = split_state(agent.policy_state())
        averaged = {name: mean.astype(arrays[name].dtype) for name, mean in self._mean.items()}
        agent.load_policy_state(join_state(json, {**arrays, **averaged}))

    def state_dict(self) -> dict[str, Any]:
        """The mean so far."""
        return {"n_policies": self.n_policies, "names": list(self._mean),
                "mean": [np.array(mean) for mean in self._mean.values()]}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self.n_policies = state["n_policies"]
        self._mean = {str(name): np.asarray(mean) for name, mean in zip(state["names"], state["mean"], strict=True)}


def _networks(agent: BaseAgent) -> dict[str, np.ndarray]:
    """The floating-point arrays of its networks, by their names in the policy's state."""
    arrays = split_state(agent.policy_state() or {})[1]
    return {n: a for n, a in arrays.items() if n.startswith(f"{NETWORKS}/") and np.issubdtype(a.dtype, np.floating)}
