"""An unmodified training script: run as `python` runs it, watched, and stopped at its phases."""
