"""Tuners: what proposes hyperparameters during a run."""
