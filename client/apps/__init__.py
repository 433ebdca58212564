"""Applications of several calls each: they take a client and show their progress."""
