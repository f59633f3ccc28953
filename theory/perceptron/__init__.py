"""The certified hard-margin perceptron and its steps."""
