"""The configuration: from the user's YAML to checked sections and bound components."""
