"""Pod networks, each in a module of its own: what it is, and its manifest chosen, checked and patched as data. Pure.

Nothing of the manifests themselves is part of this project; kubeproof.deploy.manifest_source reads and downloads them.
"""
