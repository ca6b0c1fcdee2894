"""Deep features through ONNX Runtime."""
