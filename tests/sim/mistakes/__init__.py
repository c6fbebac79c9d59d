"""Mistakes for `tests.sim.planted`, by the layer that makes them."""

from tests.sim.test_planted_hostile import repeats_sequence_numbers as begin_anew

__all__ = ["begin_anew"]
