"""Checks on request: they run the loop on a copy, so that nothing of what is stepped changes.

To add one, write a file here with one subclass of `Request`; nothing else names it.
"""
