"""Built-in workloads, one a file: `gradstep.examples.NAME.workload()` builds one. This list imports no torch."""

EXAMPLES: dict[str, str] = {
    "mlp": "two linear layers and a ReLU: what backward does to .grad",
    "linear": "regression with a known answer: the weights converge to 2, -3, 0.5 and the bias to 1",
    "xor": "the smallest problem that needs a hidden layer, solved in a few hundred iterations",
    "cnn": "convolution, batch norm and dropout on small synthetic images, in several batches",
    "rnn": "one cell unrolled over time: the gradients of all time steps are summed in the same weights",
    "gpt": "a tiny transformer on a few lines of text; AdamW with warmup and cosine decay",
    "deep": "20 sigmoid layers: the gradient vanishes before it reaches the first",
    "hot": "a learning rate far too high: the loss grows to inf, the weights become NaN",
}
"""The name of each example and a line about it, in teaching order."""
