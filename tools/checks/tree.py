"""The repository's files as the style checks see them."""

import pathlib
import re
import subprocess
import sys

SOURCE_SUFFIXES = (".h", ".hpp", ".cc", ".c", ".cpp", ".proto", ".py", ".sh", ".js")

_COMMENT_OR_STRING = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


class Tree:
    """A folder of files; those that git ignores are left out where it is a git repository."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.files = self._list()

    def _list(self):
        if (self.root / ".git").exists():
            out = subprocess.run(
                ["git", "-c", f"safe.directory={self.root.resolve()}", "-C", self.root, "ls-files", "-z",
                 "--cached", "--others", "--exclude-standard"],
                check=True, capture_output=True, text=True).stdout
            names = out.split("\0")[:-1]
        else:
            names = [p.relative_to(self.root).as_posix() for p in self.root.rglob("*")]
            names = [n for n in names if not n.startswith(("build", "runs/"))]
        return sorted({n for n in names if (self.root / n).is_file()})

    def under(self, folders, suffixes):
        """The files below any of the folders ("" for all) whose names end in one of the suffixes."""
        folders = tuple(f and f + "/" for f in folders)
        return [n for n in self.files if n.startswith(folders) and n.endswith(tuple(suffixes))]

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8", errors="replace")

    def includes(self, name):
        """(line, file included) of each #include."""
        text = self.text(name)
        return [(text.count("\n", 0, m.start(1)) + 1, m.group(1))
                for m in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', text, re.M)]

    def strings(self, name):
        """(line, contents) of each plain string literal of a C or C++ file; those in comments are left out."""
        text = self.text(name)
        return [(text.count("\n", 0, m.start()) + 1, m.group()[1:-1])
                for m in _COMMENT_OR_STRING.finditer(text) if m.group().startswith('"')]


def main(check, about):
    """Runs check(tree), which yields complaints, on the folder of the command line or the one that holds this file."""
    if len(sys.argv) > 2 or (len(sys.argv) == 2 and sys.argv[1].startswith("-")):
        sys.exit(f"usage: {sys.argv[0]} [REPOSITORY]\n\n{about}")
    default = pathlib.Path(__file__).resolve().parents[2]
    complaints = list(check(Tree(sys.argv[1] if len(sys.argv) == 2 else default)))
    for complaint in complaints:
        print(complaint)
    if complaints:
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {len(complaints)} found")
