"""Root's side of the API: a module for each group of acts, each with its table `ACTS`."""
