//! What each fixture's two clones differ from their template in, and why tpl does not leave it at what virt-clone does.
//!
//! `=` both changed it alike, `+` tpl alone, `~` each in its own way, `-` virt-clone alone. This is virt-clone
//! 4; where a later one has come to do as tpl does, `+` is met by `=`.

/// Lines, and their reason.
pub type Row = (&'static [&'static str], &'static str);

/// In every fixture.
pub const ALWAYS: &[Row] = &[
    (&["= /name \"web01\"", "= /uuid \"0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9\""], "no two domains have the same"),
    (&["+ /description \"a clone\""], "the template's text would tell people that this is the template"),
    (&["+ /metadata/{urn:tpl:metadata:1}tpl \"{}\""], "tpl keeps its record of the clone there, in place of the template's"),
];

/// Each fixture, and what is particular to it.
pub const ALL: &[(&str, &[Row])] = &[
    ("plain.xml", PLAIN),
    ("virt-clone/uefi.xml", UEFI),
    ("virt-clone/efi.xml", EFI),
    ("virt-clone/disks.xml", DISKS),
    ("virt-clone/nics.xml", NICS),
    ("virt-clone/streams.xml", STREAMS),
    ("virt-clone/host.xml", HOST),
    ("virt-clone/tuning.xml", TUNING),
];

const PLAIN: &[Row] = &[
    (
        &["= /devices/interface/mac \"\"", "= /devices/interface/mac/@address \"52:54:00:aa:00:01\""],
        "an interface without an address gets one",
    ),
    (&["+ /metadata \"\""], "it has none yet"),
];

const UEFI: &[Row] = &[
    (&["= /title gone"], "it names the template"),
    (&["= /devices/disk/source/@file \"FOLDER/vda\""], "the clone's own disk"),
    (&["= /devices/interface/mac/@address \"52:54:00:aa:00:01\""], "the clone's own address"),
    (&["= /os/nvram \"/var/lib/libvirt/qemu/nvram/web01_VARS.fd\""], "UEFI variables are written to"),
    (&["+ /metadata \"\""], "it has none yet"),
    (&["+ /genid \"\""], "the guest is to see that it is another machine: libvirt makes a new one where it is empty"),
    (
        &["+ /sysinfo/system/entry[3] \"0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9\""],
        "libvirt refuses a domain whose SMBIOS UUID is not its own; virt-clone 4 makes such a one",
    ),
    (
        &["+ /sysinfo/system/entry[2] \"0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9\""],
        "a serial number that was the template's UUID is the clone's",
    ),
    (
        &["+ /devices/vsock/cid/@address gone", "+ /devices/vsock/cid/@auto \"yes\""],
        "a context ID belongs to one running machine of the host",
    ),
];

const EFI: &[Row] = &[
    (&["= /devices/disk/source/@file \"FOLDER/vda\""], "the clone's own disk"),
    (
        &[
            "~ /os/nvram/source/@file \"/images/web01_VARS.fd\", virt-clone: gone",
            "- /os/nvram/source gone",
            "- /os/nvram \"HERE/web01_VARS.fd\"",
        ],
        "virt-clone knows only the short form of <nvram>, and puts the file where it was started",
    ),
    (&["+ /metadata \"\""], "it has none yet"),
    (
        &["+ /devices/tpm/backend/source/@path \"/var/lib/tpm/web01\""],
        "a TPM's state holds keys of one machine, and is written to",
    ),
];

const DISKS: &[Row] = &[
    (
        &[
            "= /devices/disk/source/@file \"FOLDER/vda\"",
            "= /devices/disk[2]/source/@file \"FOLDER/sda\"",
            "= /devices/disk[3]/@type \"file\"",
            "= /devices/disk[3]/source/@dev gone",
            "= /devices/disk[3]/source/@file \"FOLDER/vdb\"",
        ],
        "the clone's own disks; shared and read-only ones and CD-ROMs stay in both",
    ),
    (
        &[
            "+ /devices/disk/backingStore gone",
            "+ /devices/disk/backingStore/@index gone",
            "+ /devices/disk/backingStore/@type gone",
            "+ /devices/disk/backingStore/backingStore gone",
            "+ /devices/disk/backingStore/format gone",
            "+ /devices/disk/backingStore/format/@type gone",
            "+ /devices/disk/backingStore/source gone",
            "+ /devices/disk/backingStore/source/@file gone",
        ],
        "a chain that the clone's image may not have: libvirt reads it from the image",
    ),
    (
        &["+ /devices/disk/serial \"7ebe7a9b88f734ae5edc\"", "+ /devices/disk[2]/serial \"809308bdf1d1929311e8\""],
        "a serial number belongs to one disk",
    ),
    (&["+ /devices/disk[2]/wwn \"5000c5028a9fdce9\""], "a world wide name is one in the world; its vendor stays"),
    (
        &["+ /devices/disk/alias gone", "+ /devices/disk/alias/@name gone", "+ /devices/disk/source/@index gone"],
        "of the running template; a user's own alias, of the second disk, stays",
    ),
    (&["+ /metadata \"\""], "it has none yet"),
];

const NICS: &[Row] = &[
    (
        &[
            "= /devices/interface/mac/@address \"52:54:00:aa:00:01\"",
            "= /devices/interface[2]/mac/@address \"52:54:00:aa:00:02\"",
            "= /devices/interface[3]/mac/@address \"52:54:00:aa:00:03\"",
            "= /devices/interface[4]/mac/@address \"52:54:00:aa:00:04\"",
            "= /devices/interface[5]/mac/@address \"52:54:00:aa:00:05\"",
        ],
        "the clone's own addresses",
    ),
    (
        &[
            "= /devices/interface/target gone",
            "= /devices/interface/target/@dev gone",
            "= /devices/interface[2]/target/@dev gone",
        ],
        "the name of a device on the host, which has one of that name",
    ),
    (
        &["+ /devices/interface[2]/target gone", "+ /devices/interface[2]/target/@managed gone"],
        "whether libvirt makes the device of that name; libvirt's schema wants a name with it",
    ),
    (
        &[
            "+ /devices/interface/source/@portid gone",
            "+ /devices/interface[3]/virtualport/parameters/@interfaceid gone",
            "+ /devices/interface[4]/virtualport/parameters/@instanceid gone",
        ],
        "a switch knows one interface by it",
    ),
    (&["+ /devices/interface/alias gone", "+ /devices/interface/alias/@name gone"], "of the running template"),
    (&["+ /metadata \"\""], "it has none yet"),
];

const STREAMS: &[Row] = &[
    (&["= /devices/channel/source/@path gone"], "libvirt's own choice, with the template's name in it: it chooses again"),
    (
        &[
            "+ /devices/channel[2]/source/@path \"/run/web01/own.sock\"",
            "+ /devices/serial[4]/source/@path \"/run/lines/debug-web01.sock\"",
        ],
        "two machines cannot listen at one socket; the one that a machine connects to, of the parallel port, stays",
    ),
    (
        &[
            "+ /devices/console/source/@path \"/var/log/web01.log\"",
            "+ /devices/serial/source/@path \"/var/log/web01.log\"",
            "+ /devices/serial[2]/log/@file \"/var/log/lines-web01.log\"",
        ],
        "two machines would write to one file",
    ),
    (
        &[
            "+ /devices/channel/alias gone",
            "+ /devices/channel/alias/@name gone",
            "+ /devices/serial[2]/alias gone",
            "+ /devices/serial[2]/alias/@name gone",
            "+ /devices/serial[2]/source gone",
            "+ /devices/serial[2]/source/@path gone",
        ],
        "of the running template, its pseudo-terminal too",
    ),
    (&["+ /metadata \"\""], "it has none yet"),
];

const HOST: &[Row] = &[
    (&["= /@id gone"], "of the running template"),
    (&["= /devices/graphics/@port \"-1\"", "= /devices/graphics[2]/@port \"-1\""], "two machines cannot listen at one port"),
    (&["+ /devices/graphics/@websocket \"-1\"", "+ /devices/graphics[2]/@tlsPort \"-1\""], "nor at these"),
    (
        &[
            "~ /devices/graphics/@autoport \"yes\", virt-clone: gone",
            "~ /devices/graphics[2]/@autoport \"yes\", virt-clone: gone",
        ],
        "the ports are libvirt's choice, and the XML says so",
    ),
    (&["+ /seclabel/label gone", "+ /seclabel/imagelabel gone"], "generated from the template's UUID; the static label stays"),
    (&["+ /devices/memballoon/alias gone", "+ /devices/memballoon/alias/@name gone"], "of the running template"),
    (&["+ /metadata \"\""], "it has none yet"),
];

// Host devices, pinning, NUMA cells, comments, other applications' metadata and the emulator's own arguments: both keep them.
const TUNING: &[Row] = &[(&["= /devices/disk/source/@file \"FOLDER/vda\""], "the clone's own disk")];
