//! Every variation of every answer file.

use serde::Deserialize;
use serde_json::Value;
use tpl::core::{
    answers::{self, Url, Variables},
    pipeline::{Answers, ExtraUser, Layout, PackageName, Pipeline, RootFileSystem, Script, Word},
};

/// Late commands in which everything stands that means something to one of the formats or to a shell.
pub const HOSTILE: [&str; 5] = [
    r#"printf '%s\n' "it's \"quoted\"" '%end' "a\\nb""#,
    r#"echo '{{ hostname }} {% raw %} ${HOME} `id` $(id)'; echo \"x\" 'a: b # c'"#,
    "  echo  ünïcödé\u{a0}… \u{2028}| cat # %packages",
    r"echo tail \\",
    "[ -n \"$0\" ] && { echo - '- x' '&anchor *alias' '!tag' '?'; }",
];

/// What they print.
pub const HOSTILE_SAYS: &str = "it's \"quoted\"\n%end\na\\nb\n{{ hostname }} {% raw %} ${HOME} `id` $(id)\n\"x\" a: b # c\n\
                                ünïcödé\u{a0}… \u{2028}\ntail \\\n- - x &anchor *alias !tag ?\n";

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7lhO3LpQ5wEykKRPvTkkEVVYJl0gBhCFyYqVbVwkcB";

const USERS: &str = r##"
[[users]]
name = "ops"
comment = "O'Ps & \"co\" $(id) {{ x }} #1 é"
groups = ["adm", "wheel"]
sudo = true
ssh_keys = ["KEY ops 'one'", "KEY two"]
[[users]]
name = "_bare-1"
"##;

/// One answer file and a release that it is for.
#[derive(Clone, Copy)]
pub struct Family {
    /// What its cases are called.
    pub name: &'static str,
    /// What reads it: a version of pykickstart's, or the kind.
    pub reader: &'static str,
    file: &'static str,
    release: &'static str,
    suite: &'static str,
}

impl Family {
    /// What Anaconda reads.
    pub const KICKSTART: [Self; 5] = [
        Self::red("el7", "RHEL7", "kickstart/centos7.ks", "7"),
        Self::red("el8", "RHEL8", "kickstart/redhat.ks", "8.10"),
        Self::red("el9", "RHEL9", "kickstart/redhat.ks", "9"),
        Self::red("el10", "RHEL10", "kickstart/redhat.ks", "10"),
        Self::red("fedora", "F44", "kickstart/redhat.ks", "44"),
    ];

    /// What the others read.
    pub const OTHERS: [Self; 2] = [
        Self { name: "ubuntu", reader: "autoinstall", file: "autoinstall/ubuntu.yaml", release: "24.04", suite: "" },
        Self { name: "debian", reader: "preseed", file: "preseed/debian.cfg", release: "", suite: "trixie" },
    ];

    const fn red(name: &'static str, reader: &'static str, file: &'static str, release: &'static str) -> Self {
        Self { name, reader, file, release, suite: "" }
    }

    /// The variations to check: all of them once for each file, and for a further release of the same file those that differ.
    pub fn variations(&self) -> Vec<Variation> {
        if matches!(self.name, "el8" | "el10" | "fedora") { Variation::some() } else { Variation::all() }
    }

    /// The answer file for a variation, and the variables that it was rendered with.
    pub fn render(&self, variation: &Variation) -> (String, Value) {
        let packages: [PackageName; 2] = ["vim-enhanced", "python3.11"].map(|word| word.parse().unwrap());
        let users: Users = toml::from_str(&USERS.replace("KEY", KEY)).unwrap();
        let commands: Vec<Script> = HOSTILE.iter().map(|text| text.parse().unwrap()).collect();
        // Debian's always has one.
        let mirror = (variation.mirror || !self.suite.is_empty()).then(|| Url {
            protocol: "http".to_owned(),
            host: "mirror.example:8080".to_owned(),
            path: "/pub/x".to_owned(),
            url: "http://mirror.example:8080/pub/x".to_owned(),
        });
        let variables = Variables {
            locale: "de_DE.UTF-8",
            keyboard: "de",
            timezone: "Europe/Berlin",
            packages: &packages,
            proxy: if variation.proxy { "http://proxy.example:3128".to_owned() } else { String::new() },
            mirror,
            security: None,
            services: "updates",
            suite: self.suite,
            release: self.release,
            arch: "amd64",
            cpu: "x86_64",
            unsigned: variation.proxy,
            root_password_hash: "$6$aBcDeFgHiJkL$0123./xyz",
            disk: "/dev/vda",
            layout: variation.layout,
            filesystem: variation.filesystem,
            volume_group: "vg_x1",
            boot_mib: 768,
            swap_mib: if variation.users { 300 } else { 0 },
            firmware: if variation.uefi { "uefi" } else { "bios" },
            cloud_init: variation.cloud_init,
            users: if variation.users { &users.users } else { &[] },
            late_commands: if variation.late_commands { &commands } else { &[] },
            hostname: "template",
        };
        let text = answers::render(self.file, &answer_file(self.file), &variables).unwrap_or_else(|invalid| panic!("{invalid}"));
        (text, serde_json::to_value(&variables).unwrap())
    }
}

#[derive(Deserialize)]
struct Users {
    users: Vec<ExtraUser>,
}

fn answer_file(file: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// What a pipeline can ask for.
#[derive(Clone, Copy)]
pub struct Variation {
    layout: Layout,
    filesystem: RootFileSystem,
    uefi: bool,
    cloud_init: bool,
    users: bool,
    late_commands: bool,
    mirror: bool,
    proxy: bool,
}

impl Variation {
    fn number(number: u32) -> Self {
        let bit = |place: u32| number >> place & 1 == 1;
        Self {
            layout: if bit(0) { Layout::Lvm } else { Layout::Plain },
            filesystem: if bit(1) { RootFileSystem::Xfs } else { RootFileSystem::Ext4 },
            uefi: bit(2),
            cloud_init: bit(3),
            users: bit(4),
            late_commands: bit(5),
            mirror: bit(6),
            proxy: bit(7),
        }
    }

    /// All of them.
    fn all() -> Vec<Self> {
        (0..256).map(Self::number).collect()
    }

    /// Those with none of users, late commands, mirror and proxy, or with all of them.
    fn some() -> Vec<Self> {
        (0..256).filter(|number| matches!(number >> 4, 0 | 15)).map(Self::number).collect()
    }

    /// The one with everything.
    pub fn full() -> Self {
        Self::number(255)
    }

    /// What a file of this variation is called.
    pub fn name(&self) -> String {
        let flags = [self.uefi, self.cloud_init, self.users, self.late_commands, self.mirror, self.proxy];
        let flags: String = flags.iter().zip("UCulmp".chars()).filter_map(|(on, letter)| on.then_some(letter)).collect();
        format!("{:?}-{:?}-{flags}", self.layout, self.filesystem)
    }
}

/// The answer file of a pipeline as a build would render it.
pub fn of_pipeline(pipeline: &Pipeline, answers: &Answers) -> String {
    let suite = pipeline.source.suite.as_ref().map_or("", Word::as_str);
    let given = answers.mirror.as_str();
    let url = if given.is_empty() { "http://mirror.example/debian" } else { given };
    let mirror = (!given.is_empty() || !suite.is_empty()).then(|| {
        let (protocol, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        Url { protocol: protocol.to_owned(), host: host.to_owned(), path: format!("/{path}"), url: url.to_owned() }
    });
    let variables = Variables {
        locale: answers.locale.as_str(),
        keyboard: answers.keyboard.as_str(),
        timezone: answers.timezone.as_str(),
        packages: &answers.packages,
        proxy: answers.proxy.as_str().to_owned(),
        mirror,
        security: None,
        services: "",
        suite,
        release: pipeline.source.release.as_str(),
        arch: pipeline.source.arch.debian(),
        cpu: pipeline.source.arch.cpu(),
        unsigned: false,
        root_password_hash: answers::DIGEST_PASSWORD,
        disk: "/dev/vda",
        layout: answers.layout,
        filesystem: answers.filesystem,
        volume_group: answers.volume_group.as_str(),
        boot_mib: answers.boot.0 >> 20,
        swap_mib: answers.swap.0 >> 20,
        firmware: pipeline.install.firmware.as_str(),
        cloud_init: answers.cloud_init,
        users: &answers.users,
        late_commands: &answers.late_commands,
        hostname: "template",
    };
    let file = answers.file.as_path().to_str().unwrap();
    answers::render(file, &answer_file(file), &variables).unwrap_or_else(|invalid| panic!("{invalid}"))
}
