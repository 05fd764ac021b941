"""Whether objects of kinds that Kubernetes itself has not are well formed (schemas.yaml)."""

import functools
import pathlib

import jsonschema
import yaml
from manifests import name_of

BUILT_IN = ("admissionregistration.k8s.io", "apps", "autoscaling", "batch", "policy", "v1",
            "networking.k8s.io", "resource.k8s.io", "rbac.authorization.k8s.io")


def is_custom(obj):
    return obj["apiVersion"].split("/")[0] not in BUILT_IN


@functools.cache
def _schemas():
    path = pathlib.Path(__file__).with_name("schemas.yaml")
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def findings(obj):
    key = f"{obj['apiVersion']} {obj['kind']}"
    spec = _schemas()["kinds"].get(key)
    if spec is None:
        yield f"{name_of(obj)}: schemas.yaml says nothing of {key}"
        return
    whole = {"type": "object", "additionalProperties": False,
             "required": ["apiVersion", "kind", "metadata", "spec"],
             "properties": {"apiVersion": {}, "kind": {},
                            "metadata": {"$ref": "#/definitions/metadata"},
                            "spec": {"type": "object", **spec}},
             "definitions": _schemas()["definitions"]}
    for error in jsonschema.Draft7Validator(whole).iter_errors(obj):
        yield f"{name_of(obj)}: {'/'.join(map(str, error.path))}: {error.message}"
