"""The sandbox's half of decision 1: Kubernetes objects rendered for Higress, compiled to stock Envoy's files.

`compiler.compile_objects` is pure and is the one way in; `apply` and `supervise` hold the effects.
"""
