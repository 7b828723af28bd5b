#!/usr/bin/env python3
"""No source file over 600 lines, and no line in one over 120 characters."""

import tree

MOST_LINES = 600
WIDEST = 120


def check(files):
    for name in files.under([""], tree.SOURCE_SUFFIXES):
        lines = files.text(name).splitlines()
        if len(lines) > MOST_LINES:
            yield f"{name}: {len(lines)} lines; at most {MOST_LINES}: look for the seam"
        for number, line in enumerate(lines, 1):
            if len(line) > WIDEST:
                yield f"{name}:{number}: {len(line)} characters; at most {WIDEST}"


if __name__ == "__main__":
    tree.main(check, __doc__)
