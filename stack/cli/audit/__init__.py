"""Logs of what happened to data: export, verification, stories, proofs."""
