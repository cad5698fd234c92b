"""What is installed in torch, by what it watches; `observer.py` says when."""
