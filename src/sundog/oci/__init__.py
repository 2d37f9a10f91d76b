"""Pure values of the OCI image and distribution specifications."""
