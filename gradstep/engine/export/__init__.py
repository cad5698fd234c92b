"""The session as plain PyTorch: a program that needs no gradstep and gives the same bits."""
