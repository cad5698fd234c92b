"""RUN: runs the debuggee and stops it."""
