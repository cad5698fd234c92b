"""Checks: a corpus of training programs, and what is found in each."""
