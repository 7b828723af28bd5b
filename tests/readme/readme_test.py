#!/usr/bin/env python3
"""Runs the examples of documents, in order, as a reader would.

    readme_test.py REPOSITORY FOLDER_OF_GRAPHRUN DOCUMENT...

An example is each `graphrun ...` line of a block that opens with ```sh; a line that ends in a backslash goes on. All
run in one empty folder that holds a link to models/ and a small folder mnist/ of random digits in MNIST's form, with
the built command first on the PATH and $PLUGINS the folder of the built plugins; each must succeed.
"""

import gzip
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import time


def examples(text):
    """(line, command) of each example of a document."""
    found, block, pending = [], False, None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            block = not block and line.strip() == "```sh"
        elif block and pending:
            pending = (pending[0], pending[1] + "\n" + line)
        elif block and line.startswith("graphrun "):
            pending = (number, line)
        if pending and not pending[1].endswith("\\"):
            found.append(pending)
            pending = None
    return found


def write_mnist(folder):
    """Four IDX files of 40 and 20 images, 28 by 28."""
    folder.mkdir()
    numbers = random.Random(1)
    for name, count in (("train", 40), ("t10k", 20)):
        pixels = bytes(numbers.randrange(256) for _ in range(count * 28 * 28))
        labels = bytes(i % 10 for i in range(count))
        for kind, header, data in (("images-idx3", struct.pack(">4i", 0x803, count, 28, 28), pixels),
                                   ("labels-idx1", struct.pack(">2i", 0x801, count), labels)):
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + data))


def run(command, folder, path):
    # One thread: the examples' networks are too small for more, and the machine may be busy with other tests.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{path}{os.pathsep}{os.environ['PATH']}",
                   "PLUGINS": str(path.parent / "plugins")}
    return subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environment, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    repository, path = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    failures = count = 0
    for document in sys.argv[3:]:
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "models").symlink_to(repository / "models")
            write_mnist(pathlib.Path(folder, "mnist"))
            for line, command in examples((repository / document).read_text(encoding="utf-8")):
                began = time.monotonic()
                done = run(command, folder, path)
                count += 1
                print(f"{document}:{line}: {time.monotonic() - began:.1f} s, exit code {done.returncode}: {command}")
                if done.returncode != 0:
                    failures += 1
                    print(re.sub("^", "    ", done.stdout, flags=re.M))
    if failures or not count:
        sys.exit(f"{failures} of {count} examples failed")


if __name__ == "__main__":
    main()
