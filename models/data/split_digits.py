#!/usr/bin/env python3
"""Makes digits_train.csv.gz and digits_test.csv.gz from scikit-learn's digits.csv.gz.

    split_digits.py digits.csv.gz OUTPUT_FOLDER

Rows keep their order. Of each digit every fifth row (the fifth, tenth, ...) is held out: the same rows every time, and
each digit in proportion. The output is the same to the byte on every machine with the same zlib.
"""

import collections
import gzip
import pathlib
import sys


def split(rows):
    """Returns (train, test); a row is a list of 64 pixels and the digit, all strings."""
    seen = collections.Counter()
    train, test = [], []
    for row in rows:
        seen[row[-1]] += 1
        (test if seen[row[-1]] % 5 == 0 else train).append(row)
    return train, test


def write(path, rows):
    header = [f"p{y}{x}" for y in range(8) for x in range(8)] + ["digit"]
    text = "".join(",".join(row) + "\n" for row in [header, *rows])
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(text.encode())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with gzip.open(sys.argv[1], "rt") as file:
        rows = [[str(int(cell)) for cell in line.split(",")] for line in file]
    train, test = split(rows)
    folder = pathlib.Path(sys.argv[2])
    write(folder / "digits_train.csv.gz", train)
    write(folder / "digits_test.csv.gz", test)
    print(f"{len(train)} rows to train on, {len(test)} held out")


if __name__ == "__main__":
    main()
