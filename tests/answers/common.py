"""What the readers of the three kinds of answer files share. Each case is a line of cases.json: the file, what reads it, and the
variables that it was rendered with."""

import base64
import json
import multiprocessing
import pathlib
import re
import subprocess
import sys


def run(check):
    """Checks every case of a folder; says on stdout, in JSON, how many there were and what was wrong with which."""
    folder = pathlib.Path(sys.argv[1])
    scripts = folder / "scripts"
    scripts.mkdir(exist_ok=True)
    cases = [(check, folder, case) for case in json.loads((folder / "cases.json").read_text())]
    # A process for each: pykickstart's state can neither be emptied nor made quickly, but it can be forked.
    with multiprocessing.get_context("fork").Pool(maxtasksperchild=1) as pool:
        faults = [fault for fault in pool.imap(one, cases, chunksize=1) if fault]
    names = sorted(str(path) for path in scripts.iterdir())
    syntax = subprocess.run(["sh", "-c", 'for f; do sh -n "$f" || echo "$f"; done', "sh", *names], capture_output=True, text=True)
    faults += (syntax.stdout + syntax.stderr).splitlines()
    json.dump({"count": len(cases), "scripts": len(names), "faults": faults}, sys.stdout)


def one(work):
    """What is wrong with a case; its scripts are written into files."""
    check, folder, case = work
    try:
        for number, script in enumerate(check(case, folder / case["file"])):
            (folder / "scripts" / f"{case['file']}.{number}").write_text(script)
    except Exception as fault:  # noqa: BLE001: a test wants to know of each
        line = getattr(sys.exc_info()[2].tb_next, "tb_lineno", 0)
        return f"{case['file']}: {type(fault).__name__} in line {line}: {fault}"
    return None


def same(found, expected, what):
    if found != expected:
        raise ValueError(f"{what}: {found!r}, and not {expected!r}")


def decoded(script, call):
    """The texts that a script hands to `call`, decoded."""
    pattern = re.escape(call).replace("WORD", "([A-Za-z0-9+/=]*)")
    return [base64.b64decode(word).decode() for word in re.findall(pattern, script)]


def users(script, expected):
    """The users that a script makes are those."""
    same(decoded(script, '--comment "$(decoded WORD)"'), [user["comment"] for user in expected], "comments")
    same(re.findall(r"(?m)^useradd .* (\S+)$", script), [user["name"] for user in expected], "users")
    groups = [(group, user["name"]) for user in expected for group in user["groups"]]
    same(re.findall(r"(?m)^usermod --append --groups (\S+) (\S+)$", script), groups, "groups")
    keys = ["".join(key + "\n" for key in user["ssh_keys"]) for user in expected if user["ssh_keys"]]
    same(decoded(script, "decoded WORD >/home/"), keys, "keys")
    rules = [f"/etc/sudoers.d/90-{user['name']}" for user in expected if user["sudo"]]
    same(re.findall(r"NOPASSWD:ALL' >(\S+)", script), rules, "sudo")
    same(re.findall(r"chmod 0440 (\S+)", script), rules, "sudo's modes")


def identity(script, variables):
    """What concerns cloud-init, and whether LVM is grown."""
    cloud_init, lvm = variables["cloud_init"], variables["layout"] == "lvm"
    same("datasource_list: [ NoCloud, None ]" in script, cloud_init, "datasource")
    same("lvextend" in script, cloud_init and lvm, "growing of LVM")
