"""Who runs next, when work that failed is tried again, and whether anything may start: pure."""
