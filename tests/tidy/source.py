"""The files of a checkout, as tidy's rules see them."""

import functools
import os
import pathlib
import re
import subprocess

import cpp

# Folders that no rule looks into where git does not say what belongs to the project.
_NOT_OURS = re.compile(r"\.git|build.*|B|__pycache__")
_CPP = {".cc", ".h", ".cu", ".cuh", ".inc"}
_TEXT = {".md", ".txt", ".cmake", ".json", ".yaml", ".yml", ".proto", ".toml"}


class Source:
    """One file. `path` is relative to the checkout, with slashes; lines count from 1."""

    def __init__(self, root, path):
        self.path = path
        self.text = (root / path).read_text(encoding="utf-8", errors="replace")
        self.lines = self.text.split("\n")
        self.folder = path.split("/")[0]
        self.suffix = pathlib.PurePosixPath(path).suffix
        self.name = pathlib.PurePosixPath(path).name

    @property
    def is_cpp(self):
        return self.suffix in _CPP

    @property
    def is_header(self):
        return self.suffix in {".h", ".cuh"}

    @property
    def is_python(self):
        return self.suffix == ".py"

    @property
    def is_shell(self):
        return self.suffix == ".sh" or self.lines[0].startswith(("#!/usr/bin/env bash", "#!/bin/"))

    @property
    def is_build(self):
        return self.name == "CMakeLists.txt" or self.suffix == ".cmake"

    @property
    def is_code(self):
        return self.is_cpp or self.is_python or self.is_shell or self.suffix == ".proto"

    @functools.cached_property
    def code(self):
        """The text without comments and literals (C++ only), offsets and lines unchanged."""
        return cpp.strip_comments_and_literals(self.text) if self.is_cpp else self.text

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1


def _is_text(path):
    name = pathlib.PurePosixPath(path).name
    suffix = pathlib.PurePosixPath(path).suffix
    return (suffix in _CPP | _TEXT | {".py", ".sh"} or name.startswith(("Dockerfile", ".clang"))
            or path.startswith(".ci/"))


def _paths(root):
    """Every file of the project: what git tracks or would add, or without git, what is there."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"],
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return sorted(set(filter(None, listed.stdout.split("\0"))))
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [f for f in subfolders if not _NOT_OURS.fullmatch(f)]
        found += [pathlib.Path(folder, n).relative_to(root).as_posix() for n in names]
    return sorted(found)


class Tree:
    """The checkout at `root`, and the build folders whose compile_commands.json tell what is built.
    """

    def __init__(self, root, build_dirs=()):
        self.root = pathlib.Path(root).resolve()
        self.build_dirs = [pathlib.Path(b) for b in build_dirs]
        self.sources = [Source(self.root, p) for p in _paths(self.root)
                        if _is_text(p) and (self.root / p).is_file()]
        self.by_path = {s.path: s for s in self.sources}
