"""How well scores of untrained cells rank cells by the accuracy of trained ones, beside the parameter count."""
