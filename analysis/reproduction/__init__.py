"""Whether rows of the published table come out again."""
