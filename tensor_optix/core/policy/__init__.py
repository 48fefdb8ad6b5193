"""Policy evolution: members and their weights, noise, mutation, trials of variants, the proof, the report."""
