"""What is done for many groups."""
