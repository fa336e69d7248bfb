//! The answer file: rendered strictly, so that an undefined variable is an error and not an empty string.

use minijinja::{Environment, ErrorKind, UndefinedBehavior, value::Serde};
use serde::Serialize;

use super::{error::Invalid, pipeline::Pipeline};

/// What stands in the place of the root password's hash when the answers are digested: the real one is new in each build.
pub const DIGEST_PASSWORD: &str = "$6$digest$";

/// The variables of an answer file. README.md documents each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variables<'a> {
    /// The system's locale.
    pub locale: &'a str,
    /// The console's keymap.
    pub keyboard: &'a str,
    /// The time zone.
    pub timezone: &'a str,
    /// Packages besides those that the answer file itself names.
    pub packages: Vec<&'a str>,
    /// An HTTP proxy; may be empty.
    pub proxy: &'a str,
    /// The mirror as the guest sees it.
    pub mirror: Url,
    /// The mirror of the security archive, where one is named.
    pub security: Option<Url>,
    /// The archive's other services that the installed system uses: `security, updates`, or a part of it.
    pub services: &'a str,
    /// The release's code name.
    pub suite: &'a str,
    /// Whether the installer must accept what it cannot verify.
    pub unsigned: bool,
    /// The root password's hash, for crypt(3).
    pub root_password_hash: &'a str,
    /// The disk to install on.
    pub disk: &'a str,
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
}

/// Renders an answer file. `file` names it in errors.
///
/// # Errors
/// [`Invalid`], with the line, for a syntax error or an undefined variable.
pub fn render(file: &str, template: &str, variables: &Variables<'_>) -> Result<String, Invalid> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let invalid = |error: minijinja::Error| {
        let message = match error.kind() {
            ErrorKind::UndefinedError => "undefined variable; README.md lists those that an answer file may use".to_owned(),
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

impl<'a> Variables<'a> {
    /// The variables of a pipeline's build.
    pub fn new(pipeline: &'a Pipeline, mirror: Url, security: Option<Url>, unsigned: bool, services: &'a str) -> Self {
        let answers = &pipeline.answers;
        Self {
            locale: answers.locale.as_str(),
            keyboard: answers.keyboard.as_str(),
            timezone: answers.timezone.as_str(),
            packages: answers.packages.iter().map(super::pipeline::Word::as_str).collect(),
            proxy: answers.proxy.as_str(),
            mirror,
            security,
            services,
            suite: pipeline.source.suite.as_str(),
            unsigned,
            root_password_hash: DIGEST_PASSWORD,
            disk: "/dev/vda",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables<'static> {
        Variables {
            locale: "C",
            keyboard: "us",
            timezone: "Etc/UTC",
            packages: vec!["vim", "htop"],
            proxy: "",
            mirror: Url { protocol: "http".into(), host: "mirror.example".into(), path: "/debian".into() },
            security: None,
            services: "updates",
            suite: "trixie",
            unsigned: false,
            root_password_hash: "$6$x",
            disk: "/dev/vda",
        }
    }

    #[test]
    fn faults_have_their_place() {
        let table = [
            ("a {{ suite }}\n", Ok("a trixie\n")),
            ("{% for p in packages %} {{ p }}{% endfor %}", Ok(" vim htop\n")),
            ("x\nb {{ mirrror.host }}", Err("p.cfg:2:6: undefined variable; README.md lists those that an answer file may use")),
            ("b {{ mirror.hots }}", Err("p.cfg:1:6: undefined variable; README.md lists those that an answer file may use")),
            ("ok\n{% if %}", Err("p.cfg:2:7: syntax error: unexpected end of block")),
        ];
        for (template, expected) in table {
            let result = render("p.cfg", template, &variables()).map_err(|e| e.to_string());
            assert_eq!(result.as_deref(), expected.map_err(str::to_owned).as_deref(), "{template}");
        }
    }
}
