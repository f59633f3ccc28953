"""Selection by difficulty on real images, on the perceptron and on a linear student, beside the theory."""
