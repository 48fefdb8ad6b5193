"""Where windows of experience come from."""

from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.live_pipeline import LivePipeline
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline

__all__ = ["BatchPipeline", "LivePipeline", "VectorBatchPipeline"]
