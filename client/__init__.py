"""How people use the service: Python client, command line and page. Knows HTTP and the record's schema only."""
