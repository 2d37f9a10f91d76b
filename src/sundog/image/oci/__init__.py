"""Values of the OCI image and distribution specifications, and readers that check them."""
