//! The compiled model as plain data: plan, kernels, packed weights, predictions.
