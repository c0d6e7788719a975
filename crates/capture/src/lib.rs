//! Model files (ONNX, safetensors) to graph and weights.
