"""How well cells are ranked without labels, with a few of them, and with many."""
