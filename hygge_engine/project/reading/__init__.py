"""From files to models: YAML, variables, inheritance, and what has to fit together."""
