"""Built-in workloads, one a file: `gradstep.examples.NAME.workload()` builds one. This list imports no torch."""

EXAMPLES: dict[str, str] = {
    "mlp": "the notebook's network, two linear layers and a ReLU: what backward does to .grad",
    "linear": "regression with a known answer: watch the weights become 2, -3, 0.5 and the bias 1",
    "xor": "the smallest problem that needs a hidden layer, solved in a few hundred iterations",
    "cnn": "convolution, batch norm and dropout on small made images, in several batches",
    "rnn": "one cell unrolled over time: gradients of every time step meet in the same weights",
    "gpt": "a tiny transformer reads a few lines of text; AdamW, its lr warmed up, then a cosine",
    "deep": "20 sigmoid layers: the gradient vanishes on its way to the first",
    "hot": "a learning rate far too high: the loss grows to inf, the weights turn to NaN",
}
"""Name and one line about each example, in the order in which they teach."""
