"""The search over independent runs: what is searched, how one trial runs, and who runs it."""
