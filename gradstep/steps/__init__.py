"""SAY: the .steps language."""
