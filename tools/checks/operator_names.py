#!/usr/bin/env python3
"""The core does not know what a convolution is: fails on an operator's name as a string below runtime/.

The names are those that ops/*.cc declare by OpDef("..."). runtime/op/expr.* spells the vocabulary by which gradients,
losses and optimizers emit nodes, and runtime/ir/names.cc the copying node that a nested graph needs which returns a
value from outside; both are left out, and so is what a file only emits, through Builder's Op and Ops.
"""

import re

import tree

VOCABULARY = ("runtime/op/expr", "runtime/ir/names")


def check(files):
    names = set()
    for name in files.under(["ops"], (".cc",)):
        names.update(re.findall(r'\bOpDef\(\s*"(\w+)"', files.text(name)))
    for name in files.under(["runtime"], (".h", ".cc")):
        if name.startswith(VOCABULARY):
            continue
        emitted = set(re.findall(r'\bOps?\(\s*"(\w+)"', files.text(name)))
        for line, string in files.strings(name):
            if string in names - emitted:
                yield f'{name}:{line}: names the operator "{string}": say by OpDef what is special about it'


if __name__ == "__main__":
    tree.main(check, __doc__)
