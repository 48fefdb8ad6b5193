"""The mathematics of the algorithms, once, and the agents made of it."""
