#!/usr/bin/env python3
"""Every binary file of models/ stands in models/SOURCES.md with its SHA-256."""

import hashlib
import re

import tree

SOURCES = "models/SOURCES.md"
BINARY = (".onnx", ".gz", ".npy", ".npz", ".png", ".jpg", ".bin")


def check(files):
    rows = re.findall(r"^\| (\S+) \|.*\b([0-9a-f]{64}) \|$", files.text(SOURCES), re.M)
    listed = {f"models/{name}": digest for name, digest in rows}
    present = files.under(["models"], BINARY)
    for name in present:
        digest = hashlib.sha256((files.root / name).read_bytes()).hexdigest()
        if name not in listed:
            yield f"{name}: not in {SOURCES}; say where it comes from, its licence, and SHA-256 {digest}"
        elif listed[name] != digest:
            yield f"{name}: its SHA-256 is {digest}, but {SOURCES} says {listed[name]}"
    for name in sorted(set(listed) - set(present)):
        yield f"{SOURCES}: {name} is not there"


if __name__ == "__main__":
    tree.main(check, __doc__)
