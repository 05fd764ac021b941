"""The rules of tidy: each a small function that yields Finding(path, line, rule, what to do).

RULES at the end is the table of all. A rule sees the whole tree; `each(...)` makes one of a check
that looks at one file. Where a file has a reason to differ, that is a row of ALLOWED.
"""

import ast
import json
import posixpath
import re
import shutil
import subprocess
from typing import NamedTuple

import cpp

MAX_LINE = 100
MAX_FUNCTION_LINES = 70
WARN_FILE_LINES = 500
MAX_FILE_LINES = 600

# The libraries, left to right: a file includes from its own folder and those before it.
LAYERS = ["kernels", "model", "runtime", "services"]
LIBRARIES = {"kernels", "model", "runtime"}
# Folders of a library that nothing else of it includes from: what uses them is to their right.
TOP_ROOMS = ("runtime/actor/", "runtime/local/")
TESTS = {"tests", "bench"}
OURS = set(LAYERS) | TESTS

# Where the process's flags and environment may be read.
COMMAND_LINE = re.compile(r"^services/(?:cli/|main\.cc$)|^(?:tests|bench)/")
PROTOBUF = re.compile(r"^(?:google/protobuf|grpc|grpcpp)/|\.pb\.h$")
CUDA = re.compile(r"^(?:cuda|cublas|curand|cub/|thrust/|cooperative_groups|mma\.h|nvtx|nccl|nv/)")
CUDA_HOME = re.compile(r"^kernels/cuda/|^tests/(?:gpu|kernels/cuda)/|^services/.*nccl[^/]*$")

# What only a machine with the right compiler builds: named in a CMakeLists.txt instead of the
# compile_commands.json of an ordinary build.
BUILT_ELSEWHERE = re.compile(r"^tests/(?:fuzz|gpu)/|^bench/|^kernels/cuda/|\.cu$")

# People and CI start these; everything else is called from somewhere.
ENTRY_POINTS = {"deploy/demo.sh", "tests/run.sh", ".ci/run"}

# (path, rule): the reason. One that is no longer needed is a finding.
ALLOWED = {
    ("kernels/base/status.h", "abort"): "CATENA_CHECK ends the process",
    ("kernels/base/status.h", "output"): "CATENA_CHECK says where",
    ("kernels/cuda/check.cc", "abort"): "a GPU that failed cannot be used again",
    ("kernels/cuda/check.cc", "output"): "the process ends with the reason",
    ("tests/gpu/emulate/include/cuda_runtime.h", "unused-header"): "stands for CUDA's own",
    ("services/up/spawn.cc", "abort"): "the child of a fork that cannot go on to exec",
}


class Finding(NamedTuple):
    path: str
    line: int
    rule: str
    todo: str
    warning: bool = False

    def __str__(self):
        warning = "warning: " if self.warning else ""
        return f"{self.path}:{self.line}: {self.rule}: {warning}{self.todo}"


def each(check, of=lambda source: True):
    """The rule that yields what `check` yields, (line, what to do), of each matching file."""
    def rule(tree):
        for source in filter(of, tree.sources):
            for line, todo in check(source):
                yield source.path, line, todo
    return rule


def matches(pattern, todo, text=lambda source: source.code):
    """A check: one finding a match of `pattern`; group 1 of the match fills {} of `todo`."""
    pattern = re.compile(pattern, re.MULTILINE)

    def check(source):
        for match in pattern.finditer(text(source)):
            yield source.line_of(match.start()), todo.format(*match.groups())
    return check


def whole_text(source):
    return source.text


# --- C++: what includes what ---

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)


def includes(source):
    """(line, path as written, quoted) of each include that is not in a comment."""
    for match in _INCLUDE.finditer(source.text):
        if "#" in source.code[match.start():match.start(1)]:
            yield source.line_of(match.start()), match.group(2), match.group(1) == '"'


def include_direction(source):
    own = LAYERS.index(source.folder) if source.folder in LAYERS else len(LAYERS)
    for line, path, quoted in includes(source):
        top = path.split("/")[0]
        if quoted and ("/" not in path and not path.endswith(".pb.h") or top.startswith(".")):
            yield line, f'name "{path}" by its path from the top folder'
        if path.endswith((".cc", ".cu")):
            yield line, f'do not include the source file "{path}": build it, or make it a header'
        if top in TESTS and source.folder in LAYERS:
            yield line, f'{source.folder}/ must not include from {top}/: move "{path}"'
        if top in LAYERS and LAYERS.index(top) > own:
            yield line, f'{source.folder}/ must not include from {top}/: turn the dependency round'
        for room in TOP_ROOMS:
            if (path.startswith(room) and source.folder == top
                    and not source.path.startswith(room)):
                yield line, f"only {room} and what is to the right of {top}/ may include {path}"


def include_home(source):
    for line, path, _ in includes(source):
        if PROTOBUF.search(path) and source.folder not in TESTS | {"services"}:
            yield line, f"keep protobuf and gRPC ({path}) in services/"
        if CUDA.search(path) and not CUDA_HOME.search(source.path):
            yield line, f"keep CUDA headers ({path}) in kernels/cuda/ and the NCCL transport"
        if path.startswith("CLI/") and not COMMAND_LINE.search(source.path):
            yield line, "parse flags in services/cli/; a library takes an options struct"


def unused_header(tree):
    included = {path for s in tree.sources if s.is_cpp for _, path, _ in includes(s)}
    for source in tree.sources:
        if source.is_header and source.path not in included:
            yield source.path, 1, "nothing includes this header: use it or remove it"


def unbuilt_source(tree):
    built = compiled_files(tree)
    if built is None:
        return
    for source in tree.sources:
        if source.suffix not in {".cc", ".cu"} or source.path in built:
            continue
        if not (BUILT_ELSEWHERE.search(source.path) and named_in_cmake(tree, source.path)):
            yield source.path, 1, "no target builds this file: build it or remove it"


def compiled_files(tree):
    """The files that the build folders compile; None where no build folder was given."""
    if not tree.build_dirs:
        return None
    files = set()
    for build_dir in tree.build_dirs:
        commands = json.loads((build_dir / "compile_commands.json").read_text())
        for command in commands:
            path = posixpath.join(command["directory"], command["file"])
            for each_path in unity_sources(path) or [path]:
                files.add(posixpath.relpath(posixpath.realpath(each_path), tree.root))
    return files


def unity_sources(path):
    """The sources that a file of CMake's unity build includes; none where it is no such file."""
    if "/Unity/unity_" not in path or not posixpath.isfile(path):
        return []
    with open(path) as unity:
        return [posixpath.join(posixpath.dirname(path), m.group(2))
                for m in _INCLUDE.finditer(unity.read())]


def named_in_cmake(tree, path):
    """Whether a CMakeLists.txt beside or above names the file; x_fuzz.cc may be named x_fuzz."""
    folder, name = posixpath.split(path)
    name = name.removesuffix(".cc")
    while True:
        lists = tree.by_path.get(posixpath.join(folder, "CMakeLists.txt"))
        if lists and re.search(rf"(?<![\w/.]){re.escape(name)}(?:\.cc)?(?![\w.])", lists.text):
            return True
        if not folder:
            return False
        folder, last = posixpath.split(folder)
        name = posixpath.join(last, name)


# --- C++: form ---


def header_form(source):
    if not re.match(r"//|/\*", source.text):
        yield 1, "open the header with a comment: what it is, who may call it from which thread"
    # Highway includes an -inl.h once a target, which it switches by HWY_TARGET_TOGGLE.
    toggled = source.name.endswith("-inl.h") and "HWY_TARGET_TOGGLE" in source.code
    if not toggled and not re.search(r"^#pragma once$", source.code, re.MULTILINE):
        yield 1, "add #pragma once"


def cpp_function_length(source):
    spans, balanced = cpp.functions(source.code)
    if not balanced:
        yield 1, "braces do not balance: write each branch of an #if whole"
    yield from too_long(spans)


def python_function_length(source):
    try:
        tree = ast.parse(source.text)
    except SyntaxError:
        return  # python-compiles says so
    yield from too_long((node.lineno, node.end_lineno) for node in ast.walk(tree)
                        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def too_long(spans):
    for first, last in spans:
        if last - first + 1 > MAX_FUNCTION_LINES:
            yield first, (f"the function has {last - first + 1} lines, over {MAX_FUNCTION_LINES}: "
                          "divide it")


def clang_format(tree):
    files = [s.path for s in tree.sources if s.is_cpp and s.suffix != ".inc"]
    tool = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not files:
        return
    if not tool:
        yield files[0], 1, "clang-format is missing: run deploy/install_deps.sh --with-tests"
        return
    done = subprocess.run([tool, "--dry-run", "-Werror", "--ferror-limit=1", *files], cwd=tree.root,
                          capture_output=True, text=True, check=False)
    for match in re.finditer(r"^(.+?):(\d+):\d+: error: (.*)$", done.stderr, re.MULTILINE):
        yield match[1], int(match[2]), f"format it: clang-format -i {match[1]}"


# --- every file ---


def line_length(source):
    for number, line in enumerate(source.lines, 1):
        if len(line) > MAX_LINE and not re.search(r"https?://\S{40}", line):
            yield number, f"the line has {len(line)} characters, over {MAX_LINE}: break it"


def file_length(tree):
    for source in tree.sources:
        count = len(source.lines) - 1
        if source.is_code and count > WARN_FILE_LINES:
            limit = MAX_FILE_LINES if count > MAX_FILE_LINES else WARN_FILE_LINES
            yield Finding(source.path, 1, "file-length", f"{count} lines, over {limit}: divide it",
                          warning=count <= MAX_FILE_LINES)


def whitespace(source):
    for number, line in enumerate(source.lines, 1):
        if "\t" in line:
            yield number, "replace the tab by spaces"
        if line != line.rstrip():
            yield number, "remove the white space at the end of the line"
    if source.text and not source.text.endswith("\n"):
        yield len(source.lines), "end the file with a newline"


# --- scripts ---


def unused_script(tree):
    for source in tree.sources:
        if not is_script(source) or source.path in ENTRY_POINTS:
            continue
        if source.name.endswith("_test.py"):
            continue  # found by its name
        stem = source.name.rsplit(".", 1)[0]
        named = re.compile(rf"\b{re.escape(source.name)}\b|^\s*(?:import|from)\s+{stem}\b",
                           re.MULTILINE)
        if not any(named.search(s.text) for s in tree.sources if s is not source):
            yield source.path, 1, "nothing calls or names this script: use it or remove it"


def shell_parses(source):
    done = subprocess.run(["bash", "-n"], input=source.text, capture_output=True, text=True,
                          check=False)
    for match in re.finditer(r"line (\d+): (.*)", done.stderr):
        yield int(match[1]), f"bash cannot read it: {match[2]}"


def shellcheck(tree):
    files = [s.path for s in tree.sources if s.is_shell]
    if not files or not shutil.which("shellcheck"):
        return
    done = subprocess.run(["shellcheck", "--format=gcc", "--external-sources", *files],
                          cwd=tree.root, capture_output=True, text=True, check=False)
    for match in re.finditer(r"^(.+?):(\d+):\d+: \w+: (.*)$", done.stdout, re.MULTILINE):
        yield match[1], int(match[2]), match[3]


def python_compiles(source):
    try:
        compile(source.text, source.path, "exec", dont_inherit=True)
    except SyntaxError as error:
        yield error.lineno or 1, f"Python cannot read it: {error.msg}"


# --- the table ---


def is_cpp(source):
    return source.is_cpp


def is_script(source):
    return source.is_python or source.is_shell


def in_libraries(source):
    return source.is_cpp and source.folder in LIBRARIES


def outside_tests(source):
    return source.is_cpp and source.folder not in TESTS


def outside_tidy(source):
    return not source.path.startswith("tests/tidy/")


LEFT_UNDONE = matches(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "XX" "X")) + r")\b",
                      "do what {} says, or file it as an issue", whole_text)

MACHINE_PATH = matches(r"(?<![\w.~-])(/(?:tmp|home|root|work)/)",
                       "{} is a path of one machine: take it from a flag or from the test's own "
                       "temporary folder", whole_text)

NATIVE_BUILD = matches(r"(-m(?:arch|tune)=native)",
                       "{} builds what other machines cannot run: dispatch at run time", whole_text)

ENVIRONMENT = matches(r"\b((?:secure_)?getenv|setenv)\s*\(",
                      "read the environment in services/cli/, not by {}: take an option")

SLEEP = matches(r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\(",
                "{} waits for no event: wait for one, or take the time by interface")

OUTPUT = matches(r"(\bstd::(?:cout|cerr|clog)\b|\b(?:fmt|std)::print(?:ln)?(?=\s*\()"
                 r"|(?<![.\w>])(?:v?f?printf|f?puts|f?putc|putchar)(?=\s*\())",
                 "a library does not write: return it, or log it with spdlog instead of {}")

ABORT = matches(r"(?<![.\w>])(abort|assert|_?exit|_Exit|quick_exit|terminate)\s*\(",
                "{} ends the process: return a Status, or CATENA_CHECK a bug of ours")

RULES = {
    "include-direction": each(include_direction, is_cpp),
    "include-home": each(include_home, is_cpp),
    "unused-header": unused_header,
    "unbuilt-source": unbuilt_source,
    "header-form": each(header_form, lambda s: s.is_header),
    "cpp-function-length": each(cpp_function_length, is_cpp),
    "python-function-length": each(python_function_length, lambda s: s.is_python),
    "clang-format": clang_format,
    "line-length": each(line_length, lambda s: s.is_code or s.is_build),
    "file-length": file_length,
    "whitespace": each(whitespace),
    "left-undone": each(LEFT_UNDONE),
    "machine-path": each(MACHINE_PATH, outside_tidy),
    "native-build": each(NATIVE_BUILD, lambda s: outside_tidy(s) and s.suffix != ".md"),
    "environment": each(ENVIRONMENT, lambda s: s.is_cpp and not COMMAND_LINE.search(s.path)),
    "sleep": each(SLEEP, lambda s: s.is_cpp or s.is_python and outside_tidy(s)),
    "output": each(OUTPUT, in_libraries),
    "abort": each(ABORT, outside_tests),
    "unused-script": unused_script,
    "shell-parses": each(shell_parses, lambda s: s.is_shell),
    "shellcheck": shellcheck,
    "python-compiles": each(python_compiles, lambda s: s.is_python),
}


def findings(tree, rules=None, allowed=None):
    """All findings of the tree, less what is allowed; a row of ALLOWED without use is one too."""
    allowed = ALLOWED if allowed is None else allowed
    used = set()
    for name in rules or RULES:
        for found in RULES[name](tree):
            if not isinstance(found, Finding):
                path, line, todo = found
                found = Finding(path, line, name, todo)
            if (found.path, name) in allowed:
                used.add((found.path, name))
            else:
                yield found
    for path, name in allowed:
        if (path, name) not in used and name in (rules or RULES):
            yield Finding(path, 1, name, "no longer needs its row in ALLOWED: remove the row")
