"""The credential proxy: agents call the model's API through the host, which adds the key."""
