"""Just enough C++ for tidy: text without comments and literals, and where functions begin and end.

No compiler is asked, so that a rule runs in milliseconds and on code that does not compile yet. The
functions are found by their braces; what stands before a brace says what it opens.
"""

import re

# Order matters: a raw string before an identifier that ends in R, a number (with digit separators)
# before a character literal.
_TOKEN = re.compile(
    r"""//(?:\\\n|[^\n])*
      | /\*.*?\*/
      | (?:u8|[uUL])?R"(?P<delimiter>[^()\\\s]{0,16})\(.*?\)(?P=delimiter)"
      | (?P<keep>[A-Za-z_]\w*|\d[\w.]*(?:'\w+)*)
      | "(?:\\.|[^"\\\n])*"
      | '(?:\\.|[^'\\\n])*'
    """,
    re.VERBOSE | re.DOTALL,
)


def _blank(match):
    """The same length and lines, nothing in them; a literal keeps its quotes."""
    text = match.group()
    if match.group("keep"):
        return text
    blank = re.sub(r"[^\n]", " ", text)
    quote = text[-1]
    if quote in "\"'" and not text.startswith("//"):
        return quote + blank[1:-1] + quote
    return blank


def strip_comments_and_literals(text):
    return _TOKEN.sub(_blank, text)


def _without_preprocessor(code):
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", lambda m: re.sub(r"[^\n]", " ", m.group()), code,
                  flags=re.MULTILINE)


_ACCESS = re.compile(r"^\s*(?:(?:public|private|protected)\s*:(?!:)\s*)*")
# At the end of what stands before a brace: a macro without a semicolon may stand before them.
_SCOPE = re.compile(r"\bnamespace\b[^()]*$|\bextern\s*\"\s*\"\s*$"
                    r"|\b(?:class|struct|union|enum)\b(?:[^()]|alignas\s*\([^()]*\))*$")
_INITIALISERS = re.compile(r"\)[\w\s]*:(?!:)")


def _without_template_parameters(header):
    match = re.match(r"\s*template\s*<", header)
    if not match:
        return header
    depth = 1
    for i in range(match.end(), len(header)):
        depth += (header[i] == "<") - (header[i] == ">")
        if depth == 0:
            return _without_template_parameters(header[i + 1:])
    return header


def _top_level(header):
    """`header` without what stands in parentheses and brackets."""
    previous = None
    while previous != header:
        previous, header = header, re.sub(r"\([^()]*\)|\[[^\[\]]*\]", "", header)
    return header


def _opens(header):
    """What a brace after `header` opens: "scope", "function", "member" or "other"."""
    header = _without_template_parameters(header)
    if _SCOPE.search(header):
        return "scope"
    if "operator" not in header and "=" in _top_level(header):
        return "other"
    if _INITIALISERS.search(header) and re.search(r"[\w>]\s*$", header):
        return "member"  # Foo() : member_{…}: the body of the constructor is still to come
    return "function" if "(" in header else "other"


def functions(code):
    """([(first line, last line)], balanced): the functions of stripped code, outermost only."""
    code = _without_preprocessor(code)
    found, stack = [], []  # stack: what each open brace opened
    header_start, function_start = 0, 0
    for match in re.finditer(r"[{};]", code):
        symbol, position, kind = match.group(), match.start(), None
        if symbol == "{":
            header = code[header_start:position]
            header = header[len(_ACCESS.match(header).group()):]
            kind = _opens(header) if not stack or stack[-1] == "scope" else "other"
            stack.append(kind)
            if kind == "function":
                function_start = position - len(header.lstrip())
        elif symbol == "}":
            if not stack:
                return found, False
            kind = stack.pop()
            if kind == "function":
                first, last = (code.count("\n", 0, at) + 1 for at in (function_start, position))
                found.append((first, last))
        if kind != "member" and "member" not in stack:
            header_start = position + 1
    return found, not stack
