"""What robust differentiable searches find on digits, beside random search that costs as much."""
