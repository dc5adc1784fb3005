"""Commands that ask a saved forecaster, or the data, a question."""
