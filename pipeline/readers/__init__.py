"""One module for each format of a source; all yield `pipeline.readers.texts.Texts`. `pipeline.sources` chooses."""
