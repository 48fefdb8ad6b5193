"""What draws an agent to where it has not been yet."""

from tensor_optix.exploration.rnd import RNDPipeline

__all__ = ["RNDPipeline"]
