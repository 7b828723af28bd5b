#!/usr/bin/env python3
"""tools/setup.sh on pretended systems: which commands it gives, and what it says where it can't."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
NEEDED = ("bash", "env", "dirname")  # all of coreutils and others that the script may call besides the pretended ones


class System:
    """A PATH with pretended programs, whose calls of apt-get and sudo are kept in `calls`."""

    def __init__(self, folder, installed="*", root=True, apt=True, sudo=False, apt_works=True):
        self._bin = pathlib.Path(folder)
        self._log = self._bin / "log"
        for name in NEEDED:
            (self._bin / name).symlink_to(shutil.which(name))
        self._program("id", f"echo {0 if root else 1000}")
        if apt:
            known = "true" if installed == "*" else f'[[ " {installed} " == *" ${{!#}} "* ]]'
            self._program("dpkg-query", f"{known} && echo installed")
            self._program("apt-get", f'echo "apt-get $*" >>{self._log}; {"exit 0" if apt_works else "exit 100"}')
        if sudo:
            self._program("sudo", f'echo "sudo" >>{self._log}; [[ $1 != -n ]] || shift; exec "$@"')

    def _program(self, name, body):
        path = self._bin / name
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        path.chmod(0o755)

    def setup(self, **environment):
        """Runs the set-up; returns (exit code, messages, calls)."""
        done = subprocess.run([REPOSITORY / "tools" / "setup.sh"], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, env={"PATH": str(self._bin), **environment})
        calls = self._log.read_text().splitlines() if self._log.exists() else []
        return done.returncode, done.stderr, calls


class SetupTest(unittest.TestCase):
    def system(self, **kind):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return System(folder.name, **kind)

    def test_nothing_is_called_where_nothing_is_missing(self):
        self.assertEqual(self.system(root=False).setup(), (0, "", []))

    def test_root_installs_just_what_is_missing(self):
        code, _, calls = self.system(installed="g++ cmake ninja-build git python3 ca-certificates").setup()
        self.assertEqual(code, 0)
        self.assertEqual(len(calls), 2)
        self.assertTrue(calls[0].endswith("update"), calls)
        self.assertIn(" libdnnl-dev ", calls[1])
        self.assertNotIn("ninja-build", calls[1])

    def test_others_install_by_sudo(self):
        code, _, calls = self.system(installed="", root=False, sudo=True).setup()
        self.assertEqual(code, 0)
        self.assertEqual([c.split()[0] for c in calls], ["sudo", "apt-get"] * 2)

    def test_without_root_and_sudo_the_command_to_give_is_named(self):
        code, message, calls = self.system(installed="", root=False).setup()
        self.assertEqual((code, calls), (1, []))
        self.assertIn("As root, run: apt-get install ", message)

    def test_without_apt_the_packages_are_named(self):
        code, message, _ = self.system(apt=False).setup()
        self.assertEqual(code, 1)
        self.assertIn("no apt-get", message)
        self.assertIn("libdnnl-dev", message)
        self.assertEqual(self.system(apt=False).setup(GRAPHRUN_SKIP_SETUP="1")[0], 0)

    def test_a_failure_of_apt_is_reported(self):
        code, message, _ = self.system(installed="", apt_works=False).setup()
        self.assertEqual(code, 1)
        self.assertIn("apt-get could not install: ", message)


if __name__ == "__main__":
    unittest.main()
