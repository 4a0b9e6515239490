"""What tasks tell OpenLineage of their jobs."""
