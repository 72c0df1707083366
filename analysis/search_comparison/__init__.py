"""What search methods find in a table of adversarially trained cells, for how many queries."""
