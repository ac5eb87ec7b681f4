"""What a container may see, and how it is made so on the disk."""
