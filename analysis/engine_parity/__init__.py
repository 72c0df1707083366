"""Whether two engines train alike: the same cells by both, with the digits settings, and the difference."""
