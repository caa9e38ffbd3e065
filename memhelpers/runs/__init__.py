"""What survives a crash, and what a run ran on."""
