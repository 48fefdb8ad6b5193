"""Where windows of experience come from."""

from tensor_optix.pipeline.batch_pipeline import BatchPipeline

__all__ = ["BatchPipeline"]
