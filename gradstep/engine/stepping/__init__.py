"""Stops inside a phase: the stepper, the thread of the phase, breakpoints, watchpoints, gradients edited in flight."""
