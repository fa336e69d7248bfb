"""Reads the documents of a seed as cloud-init in a guest does, with cloud-init's own code, and prints what comes out as JSON: under
"faults" what cloud-init's schema has against it, deprecated keys included, under "log" what cloud-init would warn about.

read.py user-data FILE   the cloud-config that all parts merge to, and the scripts
read.py network FILE     the file that ifupdown gets, and the keys that netplan gets
read.py disks FILE       the commands that make file systems: on blank disks, and where each disk has one already
"""

import base64
import io
import json
import logging
import os
import sys
import tempfile

from unittest import mock

import jsonschema  # noqa: F401 (without it cloud-init finds every document good)
import yaml
from cloudinit import handlers, helpers, user_data
from cloudinit.config import cc_disk_setup, schema
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.handlers.shell_script import ShellScriptPartHandler
from cloudinit.net import eni, netplan, network_state


class Paths(helpers.Paths):
    """All paths in a folder of its own."""

    def __init__(self, folder):
        super().__init__({"cloud_dir": folder, "run_dir": folder})
        self.folder = folder

    def get_ipath(self, name=None):
        return os.path.join(self.folder, name)

    get_ipath_cur = get_ipath


def faults(config, **options):
    """Not by `cloud-init schema`, which writes into the machine's /run/cloud-init."""
    try:
        schema.validate_cloudconfig_schema(config, strict=True, **options)
    except schema.SchemaValidationError as error:
        return str(error)
    return ""


def merged(folder, data):
    paths = Paths(folder)
    scripts = os.path.join(folder, "scripts")
    os.mkdir(scripts)
    config = CloudConfigPartHandler(paths)
    shell = ShellScriptPartHandler(paths)
    shell.script_dir = scripts
    known = helpers.ContentHandlers()
    for handler in (config, shell):
        known.register(handler, overwrite=True)
    message = user_data.UserDataProcessor(paths).process(data)
    for handler in (config, shell):
        handlers.call_begin(handler, None, "once-per-instance")
    seen = {"handlers": known, "excluded": [], "data": None, "frequency": "once-per-instance", "handlerdir": folder, "handlercount": 0}
    handlers.walk(message, handlers.walker_callback, data=seen)
    for handler in (config, shell):
        handlers.call_end(handler, None, "once-per-instance")
    with open(paths.get_ipath("cloud_config"), encoding="utf-8") as file:
        document = file.read()
    read = {}
    for name in sorted(os.listdir(scripts)):
        with open(os.path.join(scripts, name), "rb") as file:
            read[name] = base64.b64encode(file.read()).decode()
    config = yaml.safe_load(document)
    return {"config": config, "scripts": read, "faults": faults(config)}


def rendered(folder, text):
    state = network_state.parse_net_config_data(yaml.safe_load(text))
    eni.Renderer({"eni_path": "interfaces", "netrules_path": None}).render_network_state(state, target=folder)
    content = netplan.Renderer()._render_content(state)
    # cloud-init 22 knows no schema for it, and has just read it all the same.
    known = getattr(schema, "SchemaType", None)
    wrong = faults(yaml.safe_load(text), schema_type=known.NETWORK_CONFIG_V1) if known else ""
    with open(os.path.join(folder, "interfaces"), encoding="utf-8") as file:
        return {"interfaces": file.read(), "netplan": yaml.safe_load(content), "faults": wrong}


def formatted(config, fstype, label):
    """What cc_disk_setup runs where lsblk reports such a file system on every disk."""
    ran = []

    def subp(command, *_args, **_kwargs):
        if "lsblk" in command[0]:
            return f'NAME="vdb" TYPE="disk" FSTYPE="{fstype}" LABEL="{label}"\n', ""
        ran.append([os.path.basename(command[0])] + command[1:])
        return "", ""

    with mock.patch.object(cc_disk_setup.subp, "subp", subp), \
         mock.patch.object(cc_disk_setup.subp, "which", lambda name: "/sbin/" + name), \
         mock.patch.object(cc_disk_setup, "assert_and_settle_device"):
        for entry in config["fs_setup"]:
            cc_disk_setup.mkfs(dict(entry))
    return ran


def main():
    what, file = sys.argv[1:]
    log = io.StringIO()
    logging.basicConfig(stream=log, level=logging.WARNING, format="%(message)s", force=True)
    with open(file, "rb") as opened:
        data = opened.read()
    with tempfile.TemporaryDirectory() as folder:
        if what == "network":
            out = rendered(folder, data.decode())
        else:
            out = merged(folder, data)
        out["log"] = log.getvalue()
        if what == "disks":
            out["blank"] = formatted(out["config"], "", "")
            out["filled"] = [formatted(out["config"], fs, label) for fs, label in (("ext4", "data"), ("xfs", ""), ("btrfs", "data"))]
    json.dump(out, sys.stdout)


main()
