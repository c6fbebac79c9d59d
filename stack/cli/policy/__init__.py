"""Data policies: what one allows, and why not."""
