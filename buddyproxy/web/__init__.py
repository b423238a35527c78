"""HTTP in and out: the resource tree, and what it delivers."""
