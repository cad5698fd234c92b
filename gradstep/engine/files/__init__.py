"""What is written to and read from files: checkpoints, their comparison, and the exported program."""
