#!/usr/bin/env python3
"""A second verifier of an evidence folder, of FORMAT.md alone and of none of our code: records, their chain, the Merkle root,
the signed heads and the seals. It needs openssl and nothing else. Exit codes: 0 all holds, 1 something does not."""
import base64, hashlib, json, os, subprocess, sys, tempfile

SEGMENT = 4096


def refuse(text):
    sys.exit("refused: " + text)


def read(*names):
    with open(os.path.join(folder, *names), "rb") as f:
        return f.read()


def digest(raw):
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def signed(message, signature, what):
    with tempfile.TemporaryDirectory() as scratch:
        names = [os.path.join(scratch, n) for n in ("message", "signature")]
        for name, raw in zip(names, (message, signature)):
            with open(name, "wb") as f:
                f.write(raw)
        done = subprocess.run(["openssl", "dgst", "-sha256", "-verify", os.path.join(folder, "cosign.pub"), "-signature", names[1], names[0]], capture_output=True)
    if done.returncode != 0:
        refuse(what + ": openssl does not take the signature")


def root_of(leaves):
    """The Merkle tree hash of RFC 6962, 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return hashlib.sha256(b"\x01" + root_of(leaves[:half]) + root_of(leaves[half:])).digest()


def head(raw, origin, what):
    """The size and root of a checkpoint that the key signed."""
    text, mark, note = raw.partition(b"\n\n")
    text += b"\n"
    lines = text.decode().split("\n")
    words = note.decode().rstrip("\n").split(" ")
    if not mark or len(lines) != 4 or lines[0] != origin or words[:2] != ["\u2014", origin] or len(words) != 3:
        refuse(what + ": it is no checkpoint of this log")
    signature = base64.b64decode(words[2], validate=True)
    if signature[:4] != hashlib.sha256(spki).digest()[:4]:
        refuse(what + ": it names another key")
    signed(text, signature[4:], what)
    return int(lines[1]), base64.b64decode(lines[2], validate=True)


folder = sys.argv[1]
pem = read("cosign.pub").decode().split("-----")
spki = base64.b64decode(pem[2])
producer = json.loads(read("producer.json"))

leaves, previous, values, seen, wanted, counts, items = [], None, set(), {}, set(), {}, {}
for n, name in enumerate(sorted(os.listdir(os.path.join(folder, "inputs")))):
    for line in read("inputs", name).splitlines():
        value = json.loads(line)
        raw = line[len(b'{"digest":"') + len(value["digest"]) + len(b'","value":'):-1]
        if digest(raw) != value["digest"]:
            refuse("inputs/%s: a value has another digest" % name)
        values.add(value["digest"])
for n, name in enumerate(sorted(os.listdir(os.path.join(folder, "records")))):
    if name != "%010d.jsonl" % n:
        refuse("records/%s is not in its place" % name)
    for line in read("records", name).splitlines():
        record = json.loads(line)
        if record["seq"] != len(leaves) or len(leaves) // SEGMENT != n or record["producer"] != producer["id"]:
            refuse("record %d is not in its place" % len(leaves))
        if record.get("previous") != previous:
            refuse("record %d does not follow the one before it" % len(leaves))
        if "open" in record:
            counts, items = {"decisions": 0}, {}
        if "population" in record:
            listed = read("objects", record["population"]["list"][7:]).split(b"\n")[:-1]
            if base64.b64encode(root_of(listed)).decode() != record["population"]["root"] or len(listed) != record["population"]["items"]:
                refuse("record %d: the population is another" % len(leaves))
            items = {str(i): json.loads(one).get("input") for i, one in enumerate(listed) if b'"hole":' not in one[:40]}
        if "decision" in record:
            one = record["decision"]
            if items.pop(one["event"], None) != one["input"]:
                refuse("record %d judges what the population does not list" % len(leaves))
            wanted.add(one["input"])
            wanted.update(f["value"] for f in one.get("facts", []) if "value" in f)
            for result in one["results"]:
                counts[result["verdict"]] = counts.get(result["verdict"], 0) + 1
            counts["decisions"] += 1
        if "close" in record:
            said = record["close"]["counts"]
            if items or any(said[k] != n for k, n in counts.items()):
                refuse("record %d: the run is not what its close says" % len(leaves))
        leaves.append(hashlib.sha256(line).digest())
        previous = digest(line)
if not wanted <= values:
    refuse("something that was judged is not there")

size, root = head(read("log", "checkpoint"), producer["origin"], "log/checkpoint")
if size != len(leaves) or root != root_of(leaves):
    refuse("the records give another root than the head of the log")
entries = b"".join(b"\x00\x20" + leaf for leaf in leaves)
if size < 256 and entries != read("log", "tile", "entries", "000.p", str(size)):
    refuse("the entries of the log are not the records")

seals = sorted(os.listdir(os.path.join(folder, "seals")))
for n, name in enumerate(seals, 1):
    bundle = json.loads(read("seals", name, "statement.sigstore.json"))
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True)
    kind = bundle["dsseEnvelope"]["payloadType"].encode()
    signature = base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"], validate=True)
    signed(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload), signature, "seals/" + name)
    statement = json.loads(payload)
    files = read("seals", name, "files.json")
    if statement["subject"][0]["digest"]["sha256"] != hashlib.sha256(files).hexdigest() or statement["predicate"]["number"] != n:
        refuse("seals/%s: it is of another list" % name)
    at, root = head(read("seals", name, "checkpoint"), producer["origin"], "seals/%s/checkpoint" % name)
    if at > size or root != root_of(leaves[:at]) or base64.b64encode(root).decode() != statement["predicate"]["root"]:
        refuse("seals/%s: it is of another log" % name)
there = {}
for path, _, names in os.walk(folder):
    for name in names:
        there[os.path.relpath(os.path.join(path, name), folder)] = os.path.join(path, name)
last = "seals/%s/" % seals[-1]
listed = {f["path"]: f["digest"] for f in json.loads(files)["files"]}
if set(listed) != {name for name in there if not name.startswith(last)}:
    refuse("the newest seal lists other files")
for name, want in listed.items():
    if digest(read(name)) != want:
        refuse(name + " is not what it was when it was sealed")
print("%d %s" % (size, base64.b64encode(root_of(leaves)).decode()))
