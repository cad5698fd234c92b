"""The terminal interface: draws views and sends commands."""
