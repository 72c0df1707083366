"""Files: written whole or not at all, kept in one cache, fetched from where they are published."""
