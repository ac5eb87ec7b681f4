"""What agents ask of the host by files in their mailboxes."""
