"""aichat."""
