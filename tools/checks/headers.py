#!/usr/bin/env python3
"""Every header opens with a comment that says what it is for, then guards itself."""

import re

import tree


def check(files):
    for name in files.under(["runtime", "ops", "plugins", "tools"], (".h", ".hpp")):
        text = files.text(name)
        opening = re.match(r"\s*(//[^\n]*\w{3}|/\*.*?\w{3})", text, re.S)
        if not opening:
            yield f"{name}:1: no comment at its top that says what it is for"
        if not re.search(r"^#(pragma once|ifndef \w+_H\w*$)", text, re.M):
            yield f"{name}:1: neither #pragma once nor an include guard"


if __name__ == "__main__":
    tree.main(check, __doc__)
