"""Whole nodes under a sky: the world, its work, what is observed, and the result."""
