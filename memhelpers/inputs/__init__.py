"""Raw bytes to checked arrays: what stands before a `Dataset`."""
