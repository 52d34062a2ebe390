"""The page: its routes, its elements and its Gradio blocks. It knows the service through the Python client alone."""
