"""How answers look: JSON, CSV or a table, page by page."""
