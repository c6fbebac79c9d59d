"""The report of a contact plan: passes, gaps, volumes."""
