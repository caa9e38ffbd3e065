"""The book's build: execute the notebooks, stage the sources, render the pages."""
