"""What operators there are, and what they do to quantization."""
