//! The answer file: rendered strictly, so that an undefined variable is an error and not an empty string.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, value::Serde};
use serde::Serialize;

use super::{
    error::Invalid,
    mirror::GuestMirror,
    pipeline::{ExtraUser, Layout, PackageName, RootFileSystem, Script},
};

/// What stands in the place of the root password's hash when the answers are digested: the real one is new in each build.
pub const DIGEST_PASSWORD: &str = "$6$digest$";

/// How many steps rendering may take. The answer files that come with tpl take a few thousand.
const FUEL: u64 = 2_000_000;

/// The variables of an answer file: one set for all families. docs/pipelines.md has the table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variables<'a> {
    /// The system's locale.
    pub locale: &'a str,
    /// The console's keymap.
    pub keyboard: &'a str,
    /// The time zone.
    pub timezone: &'a str,
    /// Packages besides those that the answer file itself names.
    pub packages: &'a [PackageName],
    /// An HTTP proxy, as the guest sees it; may be empty.
    pub proxy: String,
    /// The mirror as the guest sees it; none: the vendor's, or the medium.
    pub mirror: Option<Url>,
    /// The mirror of the security archive, where one is named.
    pub security: Option<Url>,
    /// The archive's other services that the installed system uses: `security, updates`, or a part of it.
    pub services: &'a str,
    /// The release's code name; empty where it has none.
    pub suite: &'a str,
    /// The vendor's word for the release; empty where the pipeline names none.
    pub release: &'a str,
    /// The architecture in Debian's words: `amd64`.
    pub arch: &'a str,
    /// The architecture in the kernel's words: `x86_64`.
    pub cpu: &'a str,
    /// Whether the installer must accept what it cannot verify.
    pub unsigned: bool,
    /// The root password's hash, for crypt(3).
    pub root_password_hash: &'a str,
    /// The disk to install on.
    pub disk: &'a str,
    /// `plain` or `lvm`.
    pub layout: Layout,
    /// The root's file system: `ext4` or `xfs`.
    pub filesystem: RootFileSystem,
    /// The volume group's name.
    pub volume_group: &'a str,
    /// The size of `/boot` in MiB.
    pub boot_mib: u64,
    /// The size of the swap volume in MiB; 0: none.
    pub swap_mib: u64,
    /// `bios` or `uefi`.
    pub firmware: &'a str,
    /// Whether cloud-init is installed.
    pub cloud_init: bool,
    /// Users besides root.
    pub users: &'a [ExtraUser],
    /// Commands at the end of the installation.
    pub late_commands: &'a [Script],
    /// The system's name while it is a template.
    pub hostname: &'a str,
}

/// The parts of a mirror's URL, as installers ask for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Url {
    /// `http` or `https`.
    pub protocol: String,
    /// The host, with its port if it has one.
    pub host: String,
    /// The path, beginning with a slash.
    pub path: String,
    /// The whole.
    pub url: String,
}

impl From<GuestMirror> for Url {
    fn from(mirror: GuestMirror) -> Self {
        let GuestMirror { protocol, host, path, .. } = mirror;
        let url = format!("{protocol}://{host}{}", path.trim_end_matches('/'));
        Self { protocol, host, path, url }
    }
}

/// Renders an answer file. `file` names it in errors.
///
/// # Errors
/// [`Invalid`], with the line, for a syntax error or an undefined variable.
pub fn render(file: &str, template: &str, variables: &Variables<'_>) -> Result<String, Invalid> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("b64", |text: String| STANDARD.encode(text));
    environment.add_filter("tojson", |text: String| json(&text));
    environment.add_function("fail", |message: String| -> Result<String, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    let invalid = |error: minijinja::Error| {
        let message = match error.kind() {
            ErrorKind::UndefinedError => {
                "undefined variable; docs/pipelines.md lists those that an answer file may use".to_owned()
            }
            ErrorKind::OutOfFuel => "this goes on and on: no answer file needs so many steps".to_owned(),
            ErrorKind::InvalidOperation if error.detail().is_some() => error.detail().unwrap_or_default().to_owned(),
            _ => error.to_string().split(" (in ").next().unwrap_or_default().to_owned(),
        };
        let line = error.line().unwrap_or(1);
        let column = error.range().map_or(1, |range| super::toml_text::position(template, range.start).1);
        Invalid::at(file, line, column, message)
    };
    environment.add_template("answers", template).map_err(invalid)?;
    // minijinja drops a final newline, without which the last setting would be read as incomplete.
    environment
        .get_template("answers")
        .and_then(|answers| answers.render(Serde(variables)))
        .map(|text| text + "\n")
        .map_err(invalid)
}

/// A text as a string of JSON that is one of YAML too: YAML readers refuse some characters that JSON may have as they are, and
/// take others for the end of a line.
fn json(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    for c in serde_json::Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Variables with something in each of them.
    pub(crate) fn variables(packages: &[PackageName]) -> Variables<'_> {
        let path = "/debian".to_owned();
        let mirror = GuestMirror { protocol: "http".into(), host: "mirror.example".into(), path, loopback: false };
        Variables {
            locale: "C",
            keyboard: "us",
            timezone: "Etc/UTC",
            packages,
            proxy: String::new(),
            mirror: Some(mirror.into()),
            security: None,
            services: "updates",
            suite: "trixie",
            release: "",
            arch: "amd64",
            cpu: "x86_64",
            unsigned: false,
            root_password_hash: "$6$x",
            disk: "/dev/vda",
            layout: Layout::Lvm,
            filesystem: RootFileSystem::Xfs,
            volume_group: "vg0",
            boot_mib: 512,
            swap_mib: 0,
            firmware: "uefi",
            cloud_init: true,
            users: &[],
            late_commands: &[],
            hostname: "template",
        }
    }

    #[test]
    fn faults_have_their_place() {
        let packages = ["vim", "htop"].map(|package| package.parse().unwrap());
        let table = [
            ("{{ layout }} {{ filesystem }} {{ boot_mib }} {{ mirror.url }}", Ok("lvm xfs 512 http://mirror.example/debian\n")),
            ("a {{ suite }}\n", Ok("a trixie\n")),
            ("{{ 'it\\'s \\u2028 é' | tojson }} {{ suite | b64 }}", Ok("\"it's \\u2028 é\" dHJpeGll\n")),
            ("{% for p in packages %} {{ p }}{% endfor %}", Ok(" vim htop\n")),
            (
                "x\nb {{ mirrror.host }}",
                Err("p.cfg:2:6: undefined variable; docs/pipelines.md lists those that an answer file may use"),
            ),
            (
                "b {{ mirror.hots }}",
                Err("p.cfg:1:6: undefined variable; docs/pipelines.md lists those that an answer file may use"),
            ),
            (
                "{% for i in range(9999) %}\n{% for j in range(9999) %}{% endfor %}{% endfor %}",
                Err("p.cfg:2:13: this goes on and on: no answer file needs so many steps"),
            ),
            ("ok\n{% if %}", Err("p.cfg:2:7: syntax error: unexpected end of block")),
        ];
        for (template, expected) in table {
            let result = render("p.cfg", template, &variables(&packages)).map_err(|e| e.to_string());
            assert_eq!(result.as_deref(), expected.map_err(str::to_owned).as_deref(), "{template}");
        }
    }
}
