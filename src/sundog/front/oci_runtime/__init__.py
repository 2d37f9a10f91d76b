"""``ch-run-oci``: an OCI runtime of Type III, for callers that start containers by a bundle."""
