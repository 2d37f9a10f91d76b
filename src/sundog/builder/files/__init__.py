"""What copies files into an image: COPY and ADD, contexts, and where files come from."""
