#!/usr/bin/env python3
"""Checks by program what docs and reviews would have to repeat: see RULES in rules.py.

tidy.py [--root CHECKOUT] [--build BUILD_DIR]... [PATH]...

Prints one line a finding, `path:line: rule: what to do`, and ends with 1 where one of them is more
than a warning. A build folder (its compile_commands.json) tells which sources no target builds; the
paths, files or folders of the checkout, narrow what is printed.
"""

import argparse
import os
import pathlib
import sys

import rules
import source


def is_under(path, prefixes):
    return any(p in (".", path) or path.startswith(p.rstrip("/") + "/") for p in prefixes)


def main():
    parser = argparse.ArgumentParser(description="Checks the style rules of the project.")
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--build", action="append", default=[], metavar="BUILD_DIR")
    parser.add_argument("paths", nargs="*", metavar="PATH", type=os.path.normpath,
                        help="report only on these, as the repository's root names them")
    args = parser.parse_args()
    for build_dir in args.build:
        if not pathlib.Path(build_dir, "compile_commands.json").is_file():
            parser.error(f"{build_dir} has no compile_commands.json: configure it with cmake first")

    tree = source.Tree(args.root, args.build)
    found = [f for f in rules.findings(tree) if not args.paths or is_under(f.path, args.paths)]
    for finding in sorted(found):
        print(finding)
    errors = sum(not f.warning for f in found)
    print(f"tidy: {len(tree.sources)} files, {len(rules.RULES)} rules, {errors} findings, "
          f"{len(found) - errors} warnings", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
