"""The course on a projector: a question in large type and the picture that answers it, for each notebook."""
