"""Training runs as commands: `python -m recipes.train`."""
