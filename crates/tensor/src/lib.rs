//! Element types, symbolic shapes, host tensors, .npy files and comparison classes.
