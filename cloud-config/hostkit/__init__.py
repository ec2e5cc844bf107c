"""What Bedplate's agents share on a host."""
