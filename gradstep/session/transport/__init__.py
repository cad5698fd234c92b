"""The session across processes: the wire format, the engine process with its request loop, and the screen's side."""
