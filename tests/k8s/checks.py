"""What must hold in every rendered overlay: each check takes its objects and yields findings.

CHECKS at the end is the table of all; checks_test.py runs them over every overlay, and over objects
with planted errors, each of which its check must find.
"""

import functools
import json
import re

import kubernetes_validate
import reach
import schemas
from manifests import (ROOT, bytes_of, default_of, flags_of, name_of, of_kind, selects, version,
                       workloads)

LAST_WORDS_S = 5  # of 60: after the grace, for errors to reach callers and connections to end
MAX_DRAIN_S = 45
OPERATORS_PATHS = {"/livez", "/readyz"}
HEALTH_NAMES = {"", "liveness", "readiness"}
PLAIN_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
                 "persistentVolumeClaim", "projected", "secret"}


def newest_versions(count=2):
    """Of Kubernetes, as kubernetes-validate knows them."""
    known = {tuple(map(int, re.findall(r"\d+", v)[:2]))
             for v in kubernetes_validate.utils.all_versions()}
    return [f"{major}.{minor}" for major, minor in sorted(known)[-count:]]


def schema(objects):
    for o in objects:
        if schemas.is_custom(o):
            yield from schemas.findings(o)
        else:
            yield from _misfits(json.dumps(o))
    for p in workloads(objects):
        if schemas.is_custom(p.owner):  # its pods are Kubernetes' own
            yield from _misfits(json.dumps({
                "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "template"},
                "template": p.template}))


@functools.cache  # most objects are in many overlays
def _misfits(text):
    obj, found = json.loads(text), []
    for v in newest_versions():
        try:
            kubernetes_validate.validate(obj, v, strict=True)
        except kubernetes_validate.ValidationError as e:
            where = "/".join(map(str, e.path))
            found.append(f"{name_of(obj)}: {where}: {e.message} (Kubernetes {v})")
        except kubernetes_validate.utils.SchemaNotFoundError as e:
            found.append(f"{name_of(obj)}: {e.message}")
    return found


def _pod_selectors(o):
    spec = o.get("spec", {})
    if o["kind"] in ("PodDisruptionBudget", "PodMonitor"):
        yield spec["selector"]
    elif o["kind"] == "Service":
        yield spec["selector"]
    elif o["kind"] == "NetworkPolicy":
        yield spec["podSelector"]
        for rule in spec.get("ingress", []) + spec.get("egress", []):
            for peer in rule.get("from", []) + rule.get("to", []):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    yield peer["podSelector"]


def selectors(objects):
    pods = list(workloads(objects))
    for o in of_kind(objects, "Deployment"):
        template = o["spec"]["template"]
        wanted = [o["spec"]["selector"]]
        wanted += [c["labelSelector"]
                   for c in template["spec"].get("topologySpreadConstraints", [])]
        for selector in wanted:
            if not selects(selector, template["metadata"]["labels"]):
                yield f"{name_of(o)}: its pods have not the labels {selector}"
    for o in objects:
        for selector in _pod_selectors(o):
            if not any(selects(selector, p.labels) for p in pods):
                yield f"{name_of(o)}: {selector} selects no pod"
    deployments = of_kind(objects, "Deployment")
    for a in deployments:
        for b in deployments:
            if a is not b and selects(a["spec"]["selector"],
                                      b["spec"]["template"]["metadata"]["labels"]):
                yield f"{name_of(a)}: it selects the pods of {name_of(b)} too"


def ports(objects):
    pods = list(workloads(objects))
    for service in of_kind(objects, "Service"):
        for p in pods:
            if not selects(service["spec"]["selector"], p.labels):
                continue
            for port in service["spec"]["ports"]:
                number = p.port(port["targetPort"])
                if number is None:
                    yield f"{name_of(service)}: {p.name} has no port {port['targetPort']}"
                elif number != port["port"] and service["spec"].get("clusterIP") == "None":
                    yield f"{name_of(service)}: headless, so its port must be {number}"
    for p in pods:
        for flag, port in (("--listen", "grpc"), ("--http", "http")):
            told = p.flags.get(flag)
            if p.role and told != (p.port(port) and f"0.0.0.0:{p.port(port)}"):
                yield f"{p.name}: {flag}={told}, but its port {port} is {p.port(port)}"
    for target in (t for p in pods for t in reach.targets(p)):
        if reach.service_of(objects, target) is None:
            yield f"{target}: no Service has that name and port"


def probes(objects):
    for p in workloads(objects):
        if p.role is None:
            continue
        container = p.spec["containers"][0]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind)
            if probe is None:
                yield f"{p.name}: it has no {kind}"
                continue
            how = probe.get("httpGet") or probe.get("grpc") or {}
            if p.port(how.get("port")) is None:
                yield f"{p.name}: {kind}: there is no port {how.get('port')}"
            if "httpGet" in probe:
                if how["port"] != "http" or how["path"] not in OPERATORS_PATHS:
                    yield f"{p.name}: {kind}: nothing answers {how['path']} at {how['port']}"
            elif how.get("service", "") not in HEALTH_NAMES or "--tls-ca" in p.flags:
                yield f"{p.name}: {kind}: no health is told to {how}"
        yield from _probe_meanings(p, container)


def _probe_meanings(p, container):
    def says(kind):
        probe = container.get(kind, {})
        return probe.get("httpGet", {}).get("path") or probe.get("grpc", {}).get("service")
    if says("livenessProbe") not in (None, "/livez", "liveness"):
        yield f"{p.name}: a restart does not help where others are missing: liveness is /livez"
    if says("readinessProbe") not in (None, "/readyz", "readiness"):
        yield f"{p.name}: readiness is /readyz"
    if p.role == "gateway" and says("startupProbe") == "/readyz":
        yield f"{p.name}: a gateway that waits for stages must not be started anew"


def grace(objects):
    for p in workloads(objects):
        if p.role is None:
            continue
        hook = p.spec["containers"][0].get("lifecycle", {}).get("preStop", {})
        pre_stop = hook.get("sleep", {}).get("seconds", 0)
        drain = int(p.flags.get("--grace", default_of(p.role, "--grace"))) + LAST_WORDS_S
        allowed = p.spec.get("terminationGracePeriodSeconds", 30)
        if pre_stop == 0:
            yield f"{p.name}: without preStop it takes nothing new before others know"
        if drain > MAX_DRAIN_S:
            yield f"{p.name}: it drains for {drain} s, over {MAX_DRAIN_S}"
        if pre_stop + drain > allowed:
            yield f"{p.name}: preStop {pre_stop} s and {drain} s of drain are over {allowed} s"
        if p.owner["kind"] == "Deployment" and p.owner["spec"]["strategy"]["type"] != "Recreate" \
                and p.owner["spec"].get("minReadySeconds", 0) < pre_stop:
            yield f"{p.name}: minReadySeconds is under preStop: nobody knows the new pod yet"


def edges(objects):
    """A policy for every edge that the code opens, and none more."""
    opened, allowed = reach.opened(objects), reach.allowed(objects)
    for edge in sorted(opened - allowed):
        yield f"{edge}: a flag opens it and no policy lets it through"
    for edge in sorted(allowed - opened):
        yield f"{edge}: a policy lets it through and nothing opens it"


def flags(objects):
    for p in workloads(objects):
        if p.role is None:
            continue
        for flag in p.flags:
            if flag not in flags_of(p.role):
                yield f"{p.name}: `catena {p.role}` has no {flag}"


def images(objects):
    tags = {version(), f"{version()}-cuda"}
    for p in workloads(objects):
        for container in p.containers:
            name, _, tag = container["image"].partition(":")
            if name.rpartition("/")[2] == "catena" and tag not in tags:
                yield f"{p.name}: {container['image']} is not of this release, {version()}"
            if tag in ("", "latest"):
                yield f"{p.name}: {container['image']} is another image tomorrow"
            gpus = "nvidia.com/gpu" in container.get("resources", {}).get("limits", {})
            if name.rpartition("/")[2] == "catena" and gpus and not tag.endswith("-cuda"):
                yield f"{p.name}: {container['image']} cannot use its GPU"
            if gpus and "--backend=cuda" not in container.get("args", ()):
                yield f"{p.name}: it computes on the CPU, beside its GPU: --backend=cuda"


def security(objects):
    """The restricted profile of pod security, a read-only root, and no token."""
    for p in workloads(objects):
        yield from (f"{p.name}: {todo}" for todo in _pod_faults(p.spec))
        for c in p.containers:
            yield from (f"{p.name}: {c['name']}: {todo}" for todo in _container_faults(c))
    for account in of_kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{name_of(account)}: automountServiceAccountToken must be false"
    for space in of_kind(objects, "Namespace"):
        if space["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"{name_of(space)}: pod security is not enforced"


def _pod_faults(spec):
    context = spec.get("securityContext", {})
    if not context.get("runAsNonRoot") or not context.get("runAsUser"):
        yield "it may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "it has no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "it has a token of its account"
    for what in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(what):
            yield f"{what} must not be set"
    for volume in spec.get("volumes", []):
        if not set(volume) - {"name"} <= PLAIN_VOLUMES:
            yield f"the volume {volume['name']} is not of the allowed kinds"


def _container_faults(container):
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation must be false"
    if context.get("capabilities", {}).get("drop") != ["ALL"] or "add" in context["capabilities"]:
        yield "it must drop all capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "its root must be read-only"
    for mount in container.get("volumeMounts", []):
        is_job = container["name"] == "fetch"
        if mount["name"] == "weights" and not is_job and not mount.get("readOnly"):
            yield "it may change the weights"


def budgets(objects):
    found = of_kind(objects, "PodDisruptionBudget")
    for budget in found:
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{name_of(budget)}: a pod that never gets ready would hold up a drain for ever"
        if budget["spec"].get("maxUnavailable") != 1:
            yield f"{name_of(budget)}: maxUnavailable 1 lets a drain go on, whatever replicas"
    for p in workloads(objects):
        one_alone = p.owner["spec"].get("strategy", {}).get("type") == "Recreate"
        covers = [b for b in found if selects(b["spec"]["selector"], p.labels)]
        if p.role and len(covers) != (0 if one_alone else 1):
            yield f"{p.name}: {len(covers)} PodDisruptionBudgets are for it"


def resources(objects):
    for p in workloads(objects):
        for c in p.containers:
            asked, limits = (c.get("resources", {}).get(k, {}) for k in ("requests", "limits"))
            if "cpu" not in asked or "memory" not in asked or "memory" not in limits:
                yield f"{p.name}: {c['name']}: it must ask for cpu and memory, and limit memory"
        if "--kv-memory" in p.flags and "memory" in limits:
            stages = int(p.flags.get("--stages", 1))
            kv = bytes_of(p.flags["--kv-memory"])
            journal = bytes_of(p.flags["--journal-memory"]) if "--journal-memory" in p.flags else kv
            need = stages * (kv + journal)
            if bytes_of(limits["memory"]) <= need:
                yield f"{p.name}: KV cache and journal alone take its memory, {limits['memory']}"


def chain(objects):
    """The shards tile the blocks, and each sends to the next; all read one model."""
    shards = [p for p in workloads(objects) if p.role == "shard"]
    at = 0
    for p in shards:
        begin, end = map(int, p.flags["--layers"].split("-"))
        if begin != at:
            yield f"{p.name}: its blocks begin at {begin}, those before it end at {at}"
        at = end
    behind = shards[1:] + [p for p in workloads(objects) if p.role == "head"]
    for p, after in zip(shards, behind):
        sent_to = reach.service_of(objects, p.flags["--next"])
        if sent_to is None or not selects(sent_to["spec"]["selector"], after.labels):
            yield f"{p.name}: --next={p.flags['--next']} is not {after.name}"
    models = {p.flags["--model"] for p in workloads(objects) if "--model" in p.flags}
    waited = {c["command"][-1] for p in workloads(objects) for c in p.containers
              if c["name"] == "await-weights"}
    if len(models) != 1 or waited != models:
        yield f"the models {sorted(models)} are run, and {sorted(waited)} awaited"


def references(objects):
    there = {name_of(o) for o in objects}
    made = {f"Secret/{o['spec']['secretName']}" for o in of_kind(objects, "Certificate")}
    for p in workloads(objects):
        wanted = [f"ServiceAccount/{p.spec['serviceAccountName']}"]
        for volume in p.spec.get("volumes", []):
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                wanted.append(f"PersistentVolumeClaim/{claim}")
            if "configMap" in volume:
                wanted.append(f"ConfigMap/{volume['configMap']['name']}")
            if "secret" in volume:
                wanted.append(f"Secret/{volume['secret']['secretName']}")
        wanted += [f"ResourceClaimTemplate/{c['resourceClaimTemplateName']}"
                   for c in p.spec.get("resourceClaims", [])]
        for mount in (m for c in p.containers for m in c.get("volumeMounts", [])):
            if mount["name"] not in {v["name"] for v in p.spec.get("volumes", [])}:
                yield f"{p.name}: it has no volume {mount['name']}"
        yield from (f"{p.name}: there is no {w}" for w in wanted if w not in there | made)
    for o in of_kind(objects, "GRPCRoute"):
        for ref in (r for rule in o["spec"]["rules"] for r in rule["backendRefs"]):
            if reach.service_of(objects, f"{ref['name']}:{ref['port']}") is None:
                yield f"{name_of(o)}: there is no Service {ref['name']}:{ref['port']}"


def scaling(objects):
    """What scales a workload is there alone: its manifest must not set the number back."""
    by_name = {name_of(o): o for o in objects}
    for scaler in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        ref = scaler["spec"]["scaleTargetRef"]
        target = by_name.get(f"{ref['kind']}/{ref['name']}")
        if target is None:
            yield f"{name_of(scaler)}: there is no {ref['kind']} {ref['name']}"
        elif "replicas" in target["spec"]:
            yield f"{name_of(target)}: {name_of(scaler)} owns its replicas"
        elif (scaler["spec"].get("minReplicas") or scaler["spec"]["minReplicaCount"]) < 1:
            yield f"{name_of(scaler)}: a chain needs every stage"


def metrics(objects):
    """Metrics that somebody asks for are told of in docs/OBSERVABILITY.md."""
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs/OBSERVABILITY.md").read_text("utf-8")))
    for o in of_kind(objects, "PrometheusRule", "ConfigMap", "HorizontalPodAutoscaler",
                     "ScaledObject"):
        for name in sorted(set(re.findall(r"\b(?:catena|vllm)_[a-z0-9_]+\b", str(o)))):
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            if base not in documented | {"catena_stage_kv_use_ratio"}:
                yield f"{name_of(o)}: no process tells {name}"


def certificates(objects):
    """A certificate is for the names by which its pods are called."""
    pods = list(workloads(objects))
    by_secret = {c["spec"]["secretName"]: c for c in of_kind(objects, "Certificate")}
    for p in pods:
        has_tls = {"--tls-cert", "--tls-key", "--tls-ca"} & set(p.flags)
        if by_secret and p.role and len(has_tls) != 3:
            yield f"{p.name}: others have TLS, and it lacks some of its flags"
        for volume in p.spec.get("volumes", []):
            certificate = by_secret.get(volume.get("secret", {}).get("secretName"))
            if certificate and f"catena-{p.role}" not in certificate["spec"]["dnsNames"]:
                yield f"{p.name}: {name_of(certificate)} is not for catena-{p.role}"


CHECKS = (schema, selectors, ports, probes, grace, edges, flags, images, security, budgets,
          resources, chain, references, scaling, metrics, certificates)
