"""Why the digits settings are what they are: how well variants of them separate the cells, and at what cost."""
