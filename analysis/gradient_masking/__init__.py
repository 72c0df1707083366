"""Whether attacks see what adversarially trained cells do, and what certified bounds say of them."""
