"""Every file of a tree in a tar archive on stdin, as JSON: what it is, mode, owner, content, extended attributes."""

import hashlib
import json
import sys
import tarfile

KINDS = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "pipe",
         tarfile.CHRTYPE: "device", tarfile.BLKTYPE: "device"}


def content(archive, member, digests):
    if member.islnk():
        # A second name: its content is that of the first.
        return digests[member.linkname]
    if not member.isfile():
        return member.linkname if member.issym() else ""
    digest = hashlib.sha256()
    with archive.extractfile(member) as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def main():
    listing, digests = {}, {}
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|", errors="surrogateescape") as archive:
        for member in archive:
            digests[member.name] = content(archive, member, digests)
            path = "/" + member.name.removeprefix("./").removeprefix(".")
            starts = ("SCHILY.xattr.", "RHT.", "SCHILY.acl.")
            attributes = {key: value for key, value in member.pax_headers.items() if key.startswith(starts)}
            listing[path] = {
                "kind": KINDS.get(member.type, "file"),
                "meta": f"{member.mode:04o} {member.uid}:{member.gid} {json.dumps(attributes, sort_keys=True)}",
                "content": digests[member.name],
            }
    # Else who writes the padding behind the archive's end would find a closed pipe.
    while sys.stdin.buffer.read(1 << 20):
        pass
    json.dump(listing, sys.stdout)


main()
