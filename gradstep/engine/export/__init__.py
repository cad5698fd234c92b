"""The session as plain PyTorch: a program that reproduces it bit for bit without gradstep."""
