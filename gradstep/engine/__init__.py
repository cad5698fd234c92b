"""The engine: runs the debuggee, stops it, and restores its state."""
