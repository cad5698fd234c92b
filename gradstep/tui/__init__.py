"""SHOW: draws views and sends commands."""
