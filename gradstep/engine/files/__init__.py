"""Checkpoint files: write, read and compare them."""
