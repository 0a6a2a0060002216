"""Networks, one file each: images in, logits out."""
