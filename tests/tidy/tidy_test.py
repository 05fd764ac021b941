#!/usr/bin/env python3
"""Each rule of tidy has a sample that it accepts and one that it reports, at the right line."""

import json
import pathlib
import shutil
import tempfile
import unittest

import cpp
import rules
import source

HEADER = "// What it is.\n#pragma once\n"
LONG_BODY = "  x();\n" * rules.MAX_FUNCTION_LINES

# rule: (files it accepts, files it reports, where the first finding is)
SAMPLES = {
    "include-direction": (
        {"runtime/a.cc": '#include "model/x.h"\n#include "absl/status/status.h"\n',
         "kernels/b.cc": '// #include "runtime/x.h"\n#include <vector>\n',
         "tests/c.cc": '#include "services/x.h"\n'},
        {"kernels/a.cc": '#include <vector>\n#include "model/x.h"\n'}, "kernels/a.cc:2"),
    "include-home": (
        {"services/a.cc": "#include <grpcpp/server.h>\n", "kernels/cuda/b.cu": "#include <mma.h>\n",
         "services/cli/flags.cc": "#include <CLI/CLI.hpp>\n"},
        {"runtime/a.cc": "#include <grpcpp/server.h>\n"}, "runtime/a.cc:1"),
    "unused-header": (
        {"model/a.h": HEADER, "model/a.cc": '#include "model/a.h"\n'},
        {"model/a.h": HEADER, "model/a.cc": '// #include "model/a.h"\n'}, "model/a.h:1"),
    "unbuilt-source": (
        {"built.cc": "\n", "runtime/c.cc": "\n",
         "build/Unity/unity_0_cxx.cxx": '#include "../../runtime/c.cc"\n',
         "tests/fuzz/CMakeLists.txt": "f(a.cc) g(b)\n", "tests/fuzz/a.cc": "\n",
         "tests/fuzz/b.cc": "\n"},
        {"built.cc": "\n", "model/a.cc": "\n"}, "model/a.cc:1"),
    "header-form": (
        {"a.h": HEADER, "a-inl.h": "//\n#if defined(A) == defined(HWY_TARGET_TOGGLE)\n"},
        {"a.h": "// What it is.\n#ifndef A_H\n#endif\n"}, "a.h:1"),
    "cpp-function-length": (
        {"a.cc": "void F() {\n" + LONG_BODY[:-14] + "}\n"},
        {"a.cc": "\nvoid F() {\n" + LONG_BODY + "}\n"}, "a.cc:2"),
    "python-function-length": (
        {"a.py": "def f():\n" + LONG_BODY[:-14]},
        {"a.py": "\ndef f():\n" + LONG_BODY.replace("  x();", "    f()")}, "a.py:2"),
    "clang-format": (
        {".clang-format": "BasedOnStyle: Google\n", "a.cc": "int a = 1;\n"},
        {".clang-format": "BasedOnStyle: Google\n", "a.cc": "int b;\nint a=1;\n"}, "a.cc:2"),
    "line-length": (
        {"a.cc": "// " + "é" * 97 + "\n", "b.py": "# https://" + "a" * 100 + "\n"},
        {"a.cc": "\n// " + "a" * 98 + "\n"}, "a.cc:2"),
    "file-length": (
        {"a.cc": "\n" * rules.WARN_FILE_LINES},
        {"a.cc": "\n" * (rules.MAX_FILE_LINES + 1)}, "a.cc:1"),
    "whitespace": (
        {"a.cc": "int a;\n"},
        {"a.cc": "int a;\n\tint b;\n"}, "a.cc:2"),
    "left-undone": (
        {"a.cc": "// todo lists are data here\n"},
        {"a.cc": "\n// TO" "DO: more\n"}, "a.cc:2"),
    "machine-path": (
        {"a.sh": "ls ~/work/ model/tmp/\n"},
        {"README.md": "run\n`ls /tmp/x`\n"}, "README.md:2"),
    "native-build": (
        {"CMakeLists.txt": "add_compile_options(-mavx2)\n"},
        {"CMakeLists.txt": "\nadd_compile_options(-march=native)\n"}, "CMakeLists.txt:2"),
    "environment": (
        {"services/cli/flags.cc": 'auto* h = std::getenv("HOME");\n',
         "model/b.cc": "// not getenv()\n"},
        {"model/a.cc": '\nauto* h = std::getenv("HOME");\n'}, "model/a.cc:2"),
    "sleep": (
        {"a.cc": 'auto a = "sleep(1)";\nvoid f() { oversleep(2); }\n'},
        {"a.cc": "\nvoid f() { std::this_thread::sleep_for(1s); }\n"}, "a.cc:2"),
    "output": (
        {"model/a.cc": 'std::snprintf(b, 9, "x");\nout.puts("x");\n',
         "services/a.cc": "std::cout << 1;\n"},
        {"model/a.cc": '\nstd::printf("x");\n'}, "model/a.cc:2"),
    "abort": (
        {"model/a.cc": "static_assert(true);\napp.exit(e);\n", "tests/a.cc": "std::abort();\n"},
        {"model/a.cc": "\nassert(x);\n"}, "model/a.cc:2"),
    "unused-script": (
        {"a.sh": "python3 b.py\n", "b.py": "import c\n", "c.py": "\n", "README.md": "a.sh\n"},
        {"a.py": "\n"}, "a.py:1"),
    "shell-parses": (
        {"a.sh": "if true; then ls; fi\n"},
        {"a.sh": "ls\nif true; then )\n"}, "a.sh:2"),
    "shellcheck": (
        {"a.sh": '#!/usr/bin/env bash\nls "$1"\n'},
        {"a.sh": "#!/usr/bin/env bash\nls $1\n"}, "a.sh:2"),
    "python-compiles": (
        {"a.py": "a = 1\n"},
        {"a.py": "a = 1\na = = 2\n"}, "a.py:2"),
}


def report(rule, files):
    """What `rule` finds in a checkout of `files`, a dict of path and text, whose built.cc is built,
    and what build/Unity/unity_0_cxx.cxx includes.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder).resolve()
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        (root / "build").mkdir(exist_ok=True)
        commands = [{"directory": str(root / "build"), "file": str(root / path)}
                    for path in ("built.cc", "build/Unity/unity_0_cxx.cxx")]
        (root / "build/compile_commands.json").write_text(json.dumps(commands))
        return sorted(rules.findings(source.Tree(root, [root / "build"]), [rule], allowed={}))


class Rules(unittest.TestCase):
    def test_every_rule_has_samples(self):
        self.assertEqual(set(SAMPLES), set(rules.RULES))

    def test_each_rule_accepts_its_good_sample_and_reports_its_bad_one(self):
        for rule, (good, bad, where) in SAMPLES.items():
            tool = {"clang-format": "clang-format", "shellcheck": "shellcheck"}.get(rule)
            if tool and not shutil.which(tool):
                continue
            with self.subTest(rule=rule):
                self.assertEqual(report(rule, good), [])
                found = report(rule, bad)
                self.assertTrue(found)
                self.assertEqual(f"{found[0].path}:{found[0].line}", where)
                self.assertEqual(found[0].rule, rule)

    def test_include_direction_knows_every_wrong_way(self):
        for path, include in {"kernels/a.cc": "runtime/x.h", "model/a.cc": "services/x.h",
                              "runtime/a.cc": "tests/x.h", "model/b.cc": "x.h",
                              "model/c.cc": "../kernels/x.h", "tests/d.cc": "model/x.cc",
                              "runtime/chain/e.cc": "runtime/local/x.h"}.items():
            with self.subTest(path=path, include=include):
                self.assertTrue(report("include-direction", {path: f'#include "{include}"\n'}))

    def test_include_home_knows_protobuf_cuda_and_flags(self):
        for path, include in {"model/a.cc": "catena/v1/x.pb.h", "kernels/a.cc": "cuda_runtime.h",
                              "services/a.cc": "nccl.h",
                              "services/head/b.cc": "CLI/CLI.hpp"}.items():
            with self.subTest(path=path, include=include):
                self.assertTrue(report("include-home", {path: f"#include <{include}>\n"}))

    def test_a_file_between_the_two_limits_is_a_warning(self):
        found = report("file-length", {"a.cc": "\n" * rules.MAX_FILE_LINES})
        self.assertEqual([f.warning for f in found], [True])

    def test_an_allowance_that_nothing_needs_is_a_finding(self):
        with tempfile.TemporaryDirectory() as folder:
            found = list(rules.findings(source.Tree(folder), ["abort"], {("a.cc", "abort"): "why"}))
        self.assertEqual([(f.path, f.rule) for f in found], [("a.cc", "abort")])


class Cpp(unittest.TestCase):
    def functions(self, text):
        return cpp.functions(cpp.strip_comments_and_literals(text))

    def test_literals_and_comments_lose_their_content_but_not_their_length(self):
        for text, want in {
            'a = "x//y"; b': 'a = "    "; b',
            "a /* { */ b": "a         b", "a // {\nb": "a     \nb",
            "c = '{';": "c = ' ';", "n = 1'000'000; '}'": "n = 1'000'000; ' '",
            'R"(a"{)" + 1': '"      " + 1', r'"\"{" x': '"   " x',
        }.items():
            with self.subTest(text=text):
                self.assertEqual(cpp.strip_comments_and_literals(text), want)

    def test_functions_of_every_kind_are_measured(self):
        for text in ("int F(int a) {\n}", "TEST(Suite, Name) {\n}", "bool operator==(A a) {\n}",
                     "A::A(int a)\n    : a_(a) {}", "A::A() noexcept : a_{1}, b_{2} {\n}",
                     "template <typename T = int>\nauto F() -> T {}", "void F(int a = 1) {\n}",
                     "struct stat F() {\n}", "void F() {\n  if (x) { y = [] { return 1; }(); } }"):
            for before, after in (("", ""), ("namespace a {\n", "\n}"),
                                  ('MACRO("a")\n\nnamespace {\n', "\n}"),
                                  ("class A : B {\n public:\n", "\n};"), ('extern "C" {\n', "\n}")):
                with self.subTest(text=text, before=before):
                    found, balanced = self.functions(before + text + after)
                    self.assertTrue(balanced)
                    first = before.count("\n") + 1
                    self.assertEqual(found, [(first, first + text.count("\n"))])

    def test_initialisers_and_types_are_no_functions(self):
        for text in ("constexpr Row kRows[] = {{F(1), 2},\n{3}};", "enum class A : int {\n a };",
                     "struct alignas(64) A {\n int a = {1}; };", "auto kF = [](int a) {\n};"):
            with self.subTest(text=text):
                self.assertEqual(self.functions(text), ([], True))

    def test_a_brace_in_each_branch_of_an_if_is_told(self):
        self.assertFalse(self.functions("#if A\nvoid F() {\n#else\nvoid G() {\n#endif\n}")[1])


if __name__ == "__main__":
    unittest.main()
