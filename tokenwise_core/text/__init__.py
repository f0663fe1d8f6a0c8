"""Plain text: sentences, extractive summaries."""
