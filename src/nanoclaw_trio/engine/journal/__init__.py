"""What happened, line by line, and whether it was as promised."""
