#!/usr/bin/env python3
"""Which room may include which: fails on an #include that the table of rooms and doors lacks."""

import re

import tree

# room: (rooms that it stands on, libraries that are for it and few others). What a room stands on brings what that
# stands on. A library that no row names is for everybody.
ROOMS = {
    "proto": ((), ("protobuf",)),
    "runtime/base": ((), ()),
    "runtime/ir": (("runtime/base",), ()),
    "runtime/op": (("runtime/ir",), ()),
    "runtime/onnx": (("runtime/op", "proto"), ("protobuf", "onnx schema")),
    "runtime/passes": (("runtime/op",), ()),
    "runtime/autodiff": (("runtime/op",), ()),
    "runtime/exec": (("runtime/passes", "runtime/autodiff"), ("oneDNN",)),
    "runtime/data": (("runtime/base",), ("images",)),
    "runtime/report": (("runtime/base",), ()),
    "runtime/train": (("runtime/passes", "runtime/autodiff", "runtime/exec", "runtime/data", "runtime/onnx",
                       "runtime/report"), ("protobuf",)),
    "runtime/plugin": (("runtime/op", "runtime/train", "plugins"), ()),
    "ops": (("runtime/passes",), ("oneDNN", "images")),
    "plugins": ((), ()),
    "tools": (("runtime/plugin", "ops"), ("protobuf",)),
}

LIBRARIES = {
    "oneDNN": r"(oneapi/dnnl/|dnnl)",
    "protobuf": r"google/protobuf/",
    "onnx schema": r"(proto/)?onnx\.pb\.h$",
    "images": r"(png|jpeglib|tiff|tiffio|webp/\w+)\.h",
}

# What may look into every room.
FREE = ("tests",)


def stands_on(room):
    rooms = {room}
    for below in ROOMS[room][0]:
        rooms |= stands_on(below)
    return rooms


def room_of(path):
    return next((r for r in ROOMS if path.startswith(r + "/")), None)


def check(files):
    for name in files.under([""], (".h", ".hpp", ".cc", ".cpp", ".c")):
        if name.startswith(tuple(f + "/" for f in FREE)):
            continue
        room = room_of(name)
        if room is None:
            yield f"{name}: in no room of tools/checks/layering.py"
            continue
        allowed, libraries = stands_on(room), ROOMS[room][1]
        for line, include in files.includes(name):
            # A schema's room is proto, wherever its generated header stands.
            target = "proto" if include.endswith(".pb.h") else room_of(include)
            if target is not None and target not in allowed:
                yield (f'{name}:{line}: {room} may not include "{include}": it stands on '
                       f"{', '.join(sorted(allowed - {room})) or 'nothing'}")
            for library, pattern in LIBRARIES.items():
                if re.match(pattern, include) and library not in libraries:
                    owners = ", ".join(r for r, (_, own) in ROOMS.items() if library in own)
                    yield f'{name}:{line}: "{include}" is {library}, which only {owners} may include'


if __name__ == "__main__":
    tree.main(check, __doc__)
