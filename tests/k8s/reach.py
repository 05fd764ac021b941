"""Who calls whom: the edges that flags open, and those that NetworkPolicies let through.

An edge is (from, to, port), both ends names of workloads, or "dns", "anywhere" (outside the
namespace, towards us or from us) and "prometheus".
"""

from manifests import of_kind, selects, workloads

# The flags that name whom a role calls. Nothing else of the code opens a connection: the rehearsal
# (tests/e2e/rehearsal_test.py) runs with what these need let through, and nothing more.
DIALLING_FLAGS = ("--tokenizer", "--shard", "--head", "--next")
DNS, ANYWHERE, PROMETHEUS = "dns", "anywhere", "prometheus"


def targets(pods):
    """The addresses, name:port, that a workload's flags name."""
    return [t for flag in DIALLING_FLAGS for t in pods.flags.get(flag, "").split(",") if t]


def service_of(objects, target):
    name, _, port = target.partition(":")
    return next((s for s in of_kind(objects, "Service") if s["metadata"]["name"] == name and
                 any(str(p["port"]) == port for p in s["spec"]["ports"])), None)


def opened(objects):
    pods = list(workloads(objects))
    edges = set()
    for p in pods:
        for target in targets(p):
            service = service_of(objects, target)
            selector = service["spec"]["selector"] if service else {"nobody": ""}
            port = int(target.partition(":")[2])
            edges |= {(p.name, q.name, port) for q in pods if selects(selector, q.labels)}
            edges |= {(p.name, DNS, 53)}
        if p.role in ("gateway", "up"):
            edges.add((ANYWHERE, p.name, p.port("grpc")))
        if p.owner["kind"] == "Job":  # it fetches the weights
            edges |= {(p.name, ANYWHERE, 443), (p.name, DNS, 53)}
    for monitor in of_kind(objects, "PodMonitor"):
        edges |= {(PROMETHEUS, p.name, p.port(e["port"])) for p in pods
                  for e in monitor["spec"]["podMetricsEndpoints"]
                  if selects(monitor["spec"]["selector"], p.labels)}
    return edges


def _peers(rule, key, pods):
    """Names of whom a rule is about; None stands for everybody."""
    if key not in rule:
        return None
    names = set()
    for peer in rule[key]:
        space = peer.get("namespaceSelector", {}).get("matchLabels", {})
        if space.get("kubernetes.io/metadata.name") == "kube-system":
            names.add(DNS)
        elif space:
            names.add(PROMETHEUS if peer.get("podSelector") else ANYWHERE)
        else:
            names |= {p.name for p in pods if selects(peer["podSelector"], p.labels)}
    return names


def _one_way(objects, pods, direction, key):
    """{(workload, peer or None, port)} that policies of a direction let through; a workload of
    which no policy speaks may do anything: (workload, None, None)."""
    through = set()
    for p in pods:
        policies = [o["spec"] for o in of_kind(objects, "NetworkPolicy")
                    if direction in o["spec"]["policyTypes"] and
                    selects(o["spec"]["podSelector"], p.labels)]
        if not policies:
            through.add((p.name, None, None))
        for rule in (r for spec in policies for r in spec.get(direction.lower(), [])):
            for peer in _peers(rule, key, pods) or {None}:
                through |= {(p.name, peer, port["port"]) for port in rule.get("ports", [])}
    return through


def allowed(objects):
    """What both ends let through."""
    pods = list(workloads(objects))
    egress = _one_way(objects, pods, "Egress", "to")
    ingress = _one_way(objects, pods, "Ingress", "from")
    inside = {p.name for p in pods}
    edges = set()
    for source, peer, port in egress:
        if peer is None:
            edges.add((source, ANYWHERE, port))
        elif peer not in inside:
            edges.add((source, peer, port))
    for target, peer, port in ingress:
        if peer is None:
            edges.add((ANYWHERE, target, port))
        elif peer not in inside:
            edges.add((peer, target, port))
    for source, peer, port in egress:
        for target, caller, ingress_port in ingress:
            if peer in (None, target) and caller in (None, source) and source != target and \
                    (None in (port, ingress_port) or port == ingress_port) and \
                    (peer is not None or caller is not None):
                edges.add((source, target, port or ingress_port))
    return edges
