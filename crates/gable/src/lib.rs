//! Ahead-of-time tensor-graph compiler for NVIDIA GPUs: library face and command.
