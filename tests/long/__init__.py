"""The proofs of the test suite with larger counts, for a night rather than for every change."""
