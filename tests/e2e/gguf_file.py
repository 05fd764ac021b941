"""A GGUF file whose metadata a test changes; tensors stay as they are.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"""

import pathlib
import struct

U32, STRING, ARRAY = 4, 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
           12: "d"}
ALIGNMENT = 32


class GgufFile:
    """`values`: by key; strings are bytes, arrays lists. `types`: GGUF's numbers, of an array
    (ARRAY, that of its elements)."""

    def __init__(self, path):
        self._bytes = pathlib.Path(path).read_bytes()
        self._at = 8
        self.values, self.types = {}, {}
        self._tensors = self._scalar("Q")
        for _ in range(self._scalar("Q")):
            key = self._string().decode()
            kind = self._scalar("I")
            if kind == ARRAY:
                element, count = self._scalar("I"), self._scalar("Q")
                self.values[key] = [self._value(element) for _ in range(count)]
                self.types[key] = (ARRAY, element)
            else:
                self.values[key], self.types[key] = self._value(kind), kind
        start = self._at
        for _ in range(self._tensors):
            self._string()
            dims = self._scalar("I")
            self._at += 8 * dims + 12
        self._infos = self._bytes[start:self._at]
        self._data = self._bytes[-(-self._at // ALIGNMENT) * ALIGNMENT:]

    def set_u32(self, key, value):
        self.values[key], self.types[key] = value, U32

    def write(self, path):
        out = bytearray(struct.pack("<4sIQQ", b"GGUF", 3, self._tensors, len(self.values)))
        for key, value in self.values.items():
            out += self._packed(STRING, key.encode())
            kind = self.types[key]
            if isinstance(kind, tuple):
                out += struct.pack("<IIQ", *kind, len(value))
                out += b"".join(self._packed(kind[1], v) for v in value)
            else:
                out += struct.pack("<I", kind) + self._packed(kind, value)
        out += self._infos
        out += b"\0" * (-len(out) % ALIGNMENT)
        pathlib.Path(path).write_bytes(out + self._data)
        return path

    @staticmethod
    def _packed(kind, value):
        if kind == STRING:
            return struct.pack("<Q", len(value)) + value
        return struct.pack("<" + SCALARS[kind], value)

    def _scalar(self, letter):
        (value,) = struct.unpack_from("<" + letter, self._bytes, self._at)
        self._at += struct.calcsize("<" + letter)
        return value

    def _string(self):
        size = self._scalar("Q")
        self._at += size
        return self._bytes[self._at - size:self._at]

    def _value(self, kind):
        return self._string() if kind == STRING else self._scalar(SCALARS[kind])
