"""The command queue, its jobs, and the input lines."""
