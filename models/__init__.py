"""What each module of the pipeline computes. Knows neither Ray nor HTTP nor the store; importing it does nothing."""
