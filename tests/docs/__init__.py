"""What the pages show: ``make snippets`` copies it there, ``tests/integration/test_docs_code.py`` runs it."""
