#!/usr/bin/env python3
"""Each style check on small trees: it accepts what is right and names what is wrong."""

import hashlib
import importlib
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "checks"))
tree = importlib.import_module("tree")


def complaints(check, files):
    """What the named check says about a tree of {name: text or bytes}."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(importlib.import_module(check).check(tree.Tree(folder)))


class LayeringTest(unittest.TestCase):
    def one(self, name, include):
        return complaints("layering", {name: f"// About.\n#include {include}\n"})

    def test_a_room_may_include_itself_and_what_it_stands_on(self):
        for name, include in [
                ("runtime/base/a.h", '"runtime/base/b.h"'), ("runtime/op/a.h", '"runtime/base/b.h"'),
                ("runtime/train/a.h", '"runtime/ir/b.h"'), ("ops/a.cc", '"runtime/op/b.h"'),
                ("tools/a.cc", '"ops/b.h"'), ("runtime/plugin/a.cc", '"plugins/graphrun_plugin.h"'),
                ("runtime/train/a.cc", '"proto/recipe.pb.h"'), ("tests/ir/a.cc", '"runtime/train/b.h"')]:
            self.assertEqual(self.one(name, include), [], (name, include))

    def test_an_arrow_that_the_table_lacks_is_refused(self):
        for name, include in [
                ("runtime/base/a.h", '"runtime/ir/b.h"'), ("runtime/data/a.h", '"runtime/ir/b.h"'),
                ("runtime/exec/a.h", '"runtime/train/b.h"'), ("runtime/op/a.cc", '"ops/b.h"'),
                ("plugins/a/a.cc", '"runtime/base/b.h"'), ("runtime/train/a.cc", "<runtime/plugin/b.h>")]:
            self.assertEqual(len(self.one(name, include)), 1, (name, include))

    def test_the_line_is_named(self):
        found = complaints("layering", {"ops/a.cc": '// A.\n\n#include "tools/b.h"\n'})
        self.assertTrue(found[0].startswith("ops/a.cc:3: "), found)

    def test_onednn_is_for_ops_and_exec(self):
        for name in ("ops/a.cc", "runtime/exec/a.cc", "tests/exec/a.cc"):
            self.assertEqual(self.one(name, "<dnnl.hpp>"), [], name)
        for name in ("runtime/op/a.h", "runtime/train/a.cc", "tools/a.cc", "plugins/a/a.cc"):
            for include in ("<dnnl.hpp>", "<oneapi/dnnl/dnnl.h>", '"dnnl_version.h"'):
                self.assertEqual(len(self.one(name, include)), 1, (name, include))

    def test_only_onnx_knows_the_schema(self):
        self.assertEqual(self.one("runtime/onnx/a.cc", '"proto/onnx.pb.h"'), [])
        self.assertEqual(len(self.one("runtime/train/a.cc", '"proto/onnx.pb.h"')), 1)

    def test_a_file_outside_every_room_is_refused(self):
        self.assertEqual(len(complaints("layering", {"src/a.cc": "// A.\n"})), 1)


class OperatorNamesTest(unittest.TestCase):
    OPS = {"ops/a.cc": 'ops.Add(OpDef("Relu", 14).Input("X", "T"));'}

    def test_a_name_in_the_core_is_refused(self):
        found = complaints("operator_names", {**self.OPS, "runtime/passes/a.cc": 'a();\nif (op == "Relu") b();\n'})
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("runtime/passes/a.cc:2: "), found)

    def test_comments_other_strings_and_the_vocabulary_are_left_alone(self):
        self.assertEqual(complaints("operator_names", {
            **self.OPS,
            "runtime/op/expr.cc": 'Expr Relu(Expr x) { return Call("Relu", {x}); }',
            "runtime/passes/a.cc": '// turns "Relu" round\n/* "Relu" */ f("Relu6", \'"\', R"("Relu")", "\\"Relu\\"");',
            "ops/b.cc": 'f("Relu");'}), [])


class FileSizeTest(unittest.TestCase):
    def test_600_lines_are_enough(self):
        self.assertEqual(complaints("file_size", {"ops/a.cc": "x;\n" * 600, "models/a.onnx": "x\n" * 900}), [])
        self.assertEqual(len(complaints("file_size", {"ops/a.cc": "x;\n" * 601})), 1)

    def test_a_line_over_120_characters_is_refused(self):
        self.assertEqual(complaints("file_size", {"tools/a.py": "#" * 120}), [])
        self.assertEqual(len(complaints("file_size", {"tools/a.py": "#" * 121})), 1)


class HeadersTest(unittest.TestCase):
    def test_a_header_opens_with_a_comment_and_guards_itself(self):
        self.assertEqual(complaints("headers", {"ops/a.h": "// About this.\n#pragma once\n"}), [])
        self.assertEqual(complaints("headers", {"plugins/p.h": "/* About. */\n#ifndef P_H\n#define P_H\n#endif\n"}), [])
        self.assertEqual(len(complaints("headers", {"ops/a.h": "#pragma once\n// About this.\n"})), 1)
        self.assertEqual(len(complaints("headers", {"ops/a.h": "//\n#pragma once\n"})), 1)
        self.assertEqual(len(complaints("headers", {"ops/a.h": "// About this.\n"})), 1)


class ModelSourcesTest(unittest.TestCase):
    def found(self, table, files):
        return complaints("model_sources", {"models/SOURCES.md": table, **files})

    def test_each_binary_file_is_listed_with_its_hash(self):
        digest = hashlib.sha256(b"abc").hexdigest()
        row = f"| a.onnx | made by hand | {digest} |\n"
        self.assertEqual(self.found(row, {"models/a.onnx": b"abc", "models/a.txtpb": "x"}), [])
        self.assertEqual(len(self.found(row, {"models/a.onnx": b"abd"})), 1)
        self.assertEqual(len(self.found("", {"models/a.onnx": b"abc"})), 1)
        self.assertEqual(len(self.found(row, {})), 1)


if __name__ == "__main__":
    unittest.main()
