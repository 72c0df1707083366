"""The figures and tables of the benchmark's paper, made from its published files."""
