"""What a bridge hands in and is handed: messages, prompts, answers."""
