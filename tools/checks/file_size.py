#!/usr/bin/env python3
"""No source file over 600 lines (but where one must be longer), and no line in one over 120 characters."""

import tree

MOST_LINES = 600
WIDEST = 120

# What must be one file: the header that a plugin includes stands alone.
LONGER = {"plugins/graphrun_plugin.h": 800}


def check(files):
    for name in files.under([""], tree.SOURCE_SUFFIXES):
        lines = files.text(name).splitlines()
        most = LONGER.get(name, MOST_LINES)
        if len(lines) > most:
            yield f"{name}: {len(lines)} lines; at most {most}: look for the seam"
        for number, line in enumerate(lines, 1):
            if len(line) > WIDEST:
                yield f"{name}:{number}: {len(line)} characters; at most {WIDEST}"


if __name__ == "__main__":
    tree.main(check, __doc__)
