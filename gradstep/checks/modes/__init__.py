"""Checks of train and eval mode: dropout, batch norm, and what is evaluated in which mode."""
