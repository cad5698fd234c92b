"""Built-in workloads, one a file."""
