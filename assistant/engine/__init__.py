"""Text generation with an exported GPT-NeoX decoder on ONNX Runtime.

The package itself imports nothing: `assistant.engine.engine.Engine` is the way in.
"""
