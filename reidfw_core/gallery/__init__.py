"""A gallery of known identities, embedded once and searched many times."""
