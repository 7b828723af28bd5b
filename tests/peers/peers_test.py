#!/usr/bin/env python3
"""What graphrun trains and exports, in other consumers of ONNX: peers_test.py REPOSITORY GRAPHRUN.

ONNX's own checker (python3-onnx), ONNX Runtime (npm's onnxruntime-node, found by NODE_PATH) and OpenCV
(python3-opencv). Those that are not installed are skipped; .ci/run installs them.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

REPOSITORY, GRAPHRUN = (pathlib.Path(p).resolve() for p in (sys.argv[1:3] if len(sys.argv) > 2 else ("", "")))
NETWORKS = {
    "mlp": (["mlp", "--in", "64", "--layers", "32,32", "--activation", "gelu,leakyrelu", "--dropout", "0.2"], [5, 64]),
    "cnn": (["cnn", "--in", "1,8,8", "--channels", "8,16", "--layers", "32", "--batchnorm"], [5, 1, 8, 8]),
    "lstm": (["lstm", "--in", "8,8", "--hidden", "16", "--bidirectional"], [5, 8, 8]),
}


def run(*command, text=None):
    done = subprocess.run([str(c) for c in command], input=text, capture_output=True, text=True, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def pixels(shape):
    count = 1
    for size in shape:
        count *= size
    return [float((i * 7) % 17) for i in range(count)]


def write_npy(path, values, shape):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": tuple(shape)})
    header = header.ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
                     + struct.pack(f"<{len(values)}f", *values))


def has_onnxruntime():
    node = shutil.which("node")
    return node is not None and subprocess.run([node, "-e", "require('onnxruntime-node')"], check=False,
                                               capture_output=True).returncode == 0


class PeersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.expected = {}
        for name, (form, shape) in NETWORKS.items():
            fresh, trained = cls.folder / f"fresh_{name}.onnx", cls.folder / f"{name}.onnx"
            run(GRAPHRUN, "new", *form, "--out", "10", "-o", fresh)
            run(GRAPHRUN, "train", fresh, "--data", REPOSITORY / "models/data/digits_train.csv.gz", "--target", "digit",
                "--normalize", "minmax", "--epochs", "1", "--out", cls.folder / name, "--no-plots")
            run(GRAPHRUN, "export", cls.folder / name, "--inference", "--standard", "-o", trained)
            write_npy(cls.folder / f"{name}.npy", pixels(shape), shape)
            outputs = json.loads(run(GRAPHRUN, "run", trained, "--input", f"x={cls.folder / name}.npy", "--json"))
            cls.expected[name] = next(iter(outputs.values()))["values"]

    def assert_same(self, name, got):
        self.assertEqual(len(got), len(self.expected[name]))
        for a, b in zip(got, self.expected[name]):
            self.assertLessEqual(abs(a - b), 1e-5 * max(1.0, abs(b)), name)

    # libonnx-testdata alone makes a folder "onnx" that Python takes for a package.
    @unittest.skipUnless(importlib.util.find_spec("onnx") and importlib.util.find_spec("onnx.checker"),
                         "no python3-onnx here")
    def test_onnx_own_checker_accepts_them(self):
        checker = importlib.import_module("onnx.checker")
        for name in NETWORKS:
            for path in (self.folder / f"{name}.onnx", self.folder / name / "best.onnx"):
                checker.check_model(str(path), full_check=True)

    @unittest.skipUnless(has_onnxruntime(), "no onnxruntime-node here")
    def test_onnx_runtime_gives_the_same_outputs(self):
        for name, (_, shape) in NETWORKS.items():
            got = run("node", pathlib.Path(__file__).with_name("ort.js"), self.folder / f"{name}.onnx",
                      ",".join(map(str, shape)), text=json.dumps(pixels(shape)))
            self.assert_same(name, json.loads(got))

    @unittest.skipUnless(importlib.util.find_spec("cv2"), "no python3-opencv here")
    def test_opencv_gives_the_same_outputs(self):
        cv2, numpy = importlib.import_module("cv2"), importlib.import_module("numpy")
        for name in ("mlp", "cnn"):
            shape = NETWORKS[name][1]
            net = cv2.dnn.readNetFromONNX(str(self.folder / f"{name}.onnx"))
            net.setInput(numpy.array(pixels(shape), numpy.float32).reshape(shape))
            self.assert_same(name, net.forward().flatten().tolist())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
