"""Checks: each names a fault of a training loop, shows the evidence, and says what to write instead.

To add one, write a file in one of the folders with one subclass of `Check`; nothing else names it. Another package
adds its own by an entry point of the group `gradstep.checks` that names such a class.
"""
