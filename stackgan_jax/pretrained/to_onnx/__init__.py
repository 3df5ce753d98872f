"""A model as one ONNX file, converted from the program that JAX traces (https://onnx.ai)."""
