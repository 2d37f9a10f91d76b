"""The wing that makes, keeps and moves images."""
