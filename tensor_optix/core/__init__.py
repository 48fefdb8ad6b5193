"""The loop and its judgement: NumPy and the standard library only."""
