"""Neural tangent kernels of untrained cells, and what they say about accuracy after training."""
