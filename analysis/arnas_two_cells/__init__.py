"""ARNAS's placement on the benchmark's cell: a cell for stages 1 and 2 and another for stage 3, beside each alone."""
