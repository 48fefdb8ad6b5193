"""Where windows of experience come from."""
