"""The claims by topic; importing a module registers what it claims."""
