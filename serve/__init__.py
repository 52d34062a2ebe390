"""How the modules are served: run log, store, one deployment per model, the graph, and the HTTP ingress."""
