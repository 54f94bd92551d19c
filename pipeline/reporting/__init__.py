"""What a week's report is made of: queries, tables, charts, sentences, and the rendering of all pages."""
