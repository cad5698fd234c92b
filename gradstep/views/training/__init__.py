"""Views of a run as a whole: model, layers, loss, optimizer, batch, timeline."""
