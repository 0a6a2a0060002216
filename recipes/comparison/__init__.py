"""What runs of `recipes.train` say beside each other; see `recipes.compare`."""
