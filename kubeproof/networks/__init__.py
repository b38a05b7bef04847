"""Pod networks that their own projects publish, flannel and Canal: their manifests chosen, checked and patched as data.

Everything here is pure but :mod:`kubeproof.networks.source`, which reads and downloads manifests. Nothing of the
manifests themselves is part of this project.
"""
