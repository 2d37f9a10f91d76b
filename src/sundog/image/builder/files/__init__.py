"""Copy files into an image: COPY and ADD, build contexts, and the sources of files."""
