"""Streams that go on for as long as a test looks at them."""

import json
import signal
import subprocess
import threading

from catena import COMMAND, TIMEOUT_S
from errors_test import ErrorCase

# Of the model's context: a stream of so many tokens outlasts every test. The window keeps its
# speed, and what it holds, the same from end to end.
CONTEXT = 1 << 18
WINDOW = 256
OPTIONS = ("--prompt-tokens", "1", "--ignore-eos", "--max-tokens", str(CONTEXT - 8))
MORE = 200  # bytes of text that show that a stream moves
STILL_S = 30  # a guard against one that does not: what it waits for comes sooner


class Stream:
    """`catena generate` through a cluster's gateway. `text` is what it has written so far."""

    def __init__(self, test, cluster, *options):
        self._process = subprocess.Popen(
            [COMMAND, "generate", "--gateway", cluster.gateway, *map(str, cluster.client),
             *OPTIONS, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        test.addCleanup(self._kill)
        self.text = b""
        self._how = None
        self._grew = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while piece := self._process.stdout.read1():
            with self._grew:
                self.text += piece
                self._grew.notify_all()
        error = self._process.stderr.read().decode()
        with self._grew:
            self._how = self._process.wait(), error
            self._grew.notify_all()

    def await_more(self):
        """Until it has written what it had not when this was called."""
        with self._grew:
            enough = len(self.text) + MORE
            self._grew.wait_for(lambda: len(self.text) >= enough or self._how, STILL_S)
            if len(self.text) < enough:
                raise AssertionError(f"it stands still after {len(self.text)} bytes: {self._how}")

    def end(self):
        """Its exit status and what it said on stderr, once it has ended; from any thread."""
        self._reader.join(TIMEOUT_S)
        return self._how

    def interrupt(self):
        self._process.send_signal(signal.SIGINT)
        return self.end()

    def _kill(self):
        self._process.kill()
        self.end()
        self._process.stdout.close()
        self._process.stderr.close()


class StreamCase(ErrorCase):
    """Runs on stories260k-phi3 with a long context; its folder is `model`."""

    def setUp(self):
        folder = self.copy_of("stories260k-phi3")
        self.model = str(folder)
        path = folder / "config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.update(max_position_embeddings=CONTEXT, sliding_window=WINDOW,
                      original_max_position_embeddings=CONTEXT)
        path.write_text(json.dumps(config), encoding="utf-8")

    def assert_moves(self, stream):
        """It goes on, and is interrupted; all that it wrote is what one process writes."""
        stream.await_more()
        self.assertEqual(stream.interrupt(), (130, ""))
        text = stream.text.removesuffix(b"\n")
        alone = subprocess.Popen([COMMAND, "generate", "--model", self.model, *OPTIONS],
                                 stdout=subprocess.PIPE)
        with alone.stdout:
            want = alone.stdout.read(len(text))
        alone.kill()
        alone.wait()
        self.assertTrue(text == want, f"other text within the first {len(text)} bytes")
