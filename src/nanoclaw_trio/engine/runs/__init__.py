"""One run of a group: what it takes, what it writes down, and what comes after it."""
