#!/usr/bin/env python3
"""count_ctest.py JUNIT GTEST_DIR: prints `passed failed skipped` of a ctest run.

JUNIT is what ctest --output-junit wrote, one entry a program; where the program is a GoogleTest
that wrote its own XML into GTEST_DIR, its test cases count instead.
"""

import pathlib
import sys
import xml.etree.ElementTree


def outcome(case):
    if case.find("failure") is not None or case.get("status") == "fail":
        return "failed"
    if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
        return "skipped"
    return "passed"


def cases(path):
    return list(xml.etree.ElementTree.parse(path).getroot().iter("testcase"))


def main():
    junit, gtest_dir = sys.argv[1:]
    # Program: outcomes of its cases. One that runs in parts is two, name_1 and name_2.
    gtests = {path.stem: [outcome(c) for c in cases(path)]
              for path in pathlib.Path(gtest_dir).glob("*.xml")}
    outcomes = []
    for program in cases(junit):
        inner = gtests.get(program.get("name"), [])
        outcomes += inner
        # A program may fail though its cases passed: it crashed on the way out, or leaked.
        if not inner or outcome(program) == "failed" and "failed" not in inner:
            outcomes.append(outcome(program))
    print(*(outcomes.count(kind) for kind in ("passed", "failed", "skipped")))


if __name__ == "__main__":
    main()
