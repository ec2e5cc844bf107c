"""What a configuration asks for, one family of keys a module: pure functions."""
