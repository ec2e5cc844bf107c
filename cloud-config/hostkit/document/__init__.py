"""Documents that people write: YAML with places, typed by one declarative schema."""
