"""BuildKit beside Sundog, which needs a Docker daemon: `make buildkit`."""
