"""What knows notebooks: build, check, record and plan; no part of the package."""
