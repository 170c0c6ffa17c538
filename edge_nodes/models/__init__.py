"""What a model is: its manifest, its blocks, and the networks that run them."""
