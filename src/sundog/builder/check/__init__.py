"""``ch-image build --check``: what is legal in a Dockerfile and yet no good idea."""
