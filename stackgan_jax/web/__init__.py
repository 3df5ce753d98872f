"""A web page that draws pictures of sentences: `--mode=serve`."""
