"""Data modules, one file each. They tell `channels` and `num_classes`."""
