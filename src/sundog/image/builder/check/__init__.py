"""``ch-image build --check``: find code in a Dockerfile that is legal but questionable."""
