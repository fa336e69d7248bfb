//! The command line of an installer's kernel.

use super::{
    pipeline::{AnswersKind, Word},
    source::Location,
};

/// Where an installer's console is, which tpl logs.
const CONSOLE: &str = "console=ttyS0,115200";

/// Where an installer finds the rest of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    /// On its medium, of this label.
    Medium(String),
    /// In a repository, by its URL.
    Repository(String),
    /// Nowhere: its initrd is all, or knows by itself.
    None,
}

/// The command line.
///
/// - preseed: <https://www.debian.org/releases/stable/amd64/ch05s03>. `priority=critical` asks nothing that has a default; the text
///   frontend makes a question readable in the console's log. What stands behind `---` goes into the installed system's own.
/// - autoinstall: <https://canonical-subiquity.readthedocs-hosted.com/en/latest/intro-to-autoinstall.html>. The word lets it begin
///   without a question; the answers are found by the label of their volume, without a word. The medium has been checked against
///   its digest, and need not check itself.
/// - kickstart: <https://anaconda-installer.readthedocs.io/en/latest/boot-options.html>.
pub fn command_line(kind: AnswersKind, rest: &Rest, arguments: &[Word]) -> String {
    let mut words: Vec<String> = match kind {
        AnswersKind::Preseed => vec!["priority=critical".to_owned(), "DEBIAN_FRONTEND=text".to_owned()],
        AnswersKind::Autoinstall => vec!["autoinstall".to_owned(), "fsck.mode=skip".to_owned()],
        AnswersKind::Kickstart => {
            let mut words = vec!["inst.ks=file:/ks.cfg".to_owned()];
            match rest {
                Rest::Medium(label) => words.push(format!("inst.stage2={}", by_label(label))),
                Rest::Repository(url) => words.push(format!("inst.repo={url}")),
                Rest::None => {}
            }
            words.push("inst.text".to_owned());
            words
        }
    };
    words.extend(arguments.iter().map(|word| word.as_str().to_owned()));
    words.push(CONSOLE.to_owned());
    match kind {
        AnswersKind::Preseed => words.extend(["---".to_owned(), CONSOLE.to_owned()]),
        AnswersKind::Autoinstall => words.push("---".to_owned()),
        AnswersKind::Kickstart => {}
    }
    words.join(" ")
}

/// A volume by its label, as dracut looks for it: under the name that udev gives its link, where what is no plain character is
/// `\x` and its code. A colon would end it, and without a label there is no link: the first drive with a medium is the same then.
fn by_label(label: &str) -> String {
    if label.is_empty() || label.contains(':') {
        return "cdrom".to_owned();
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"#+-.=@_".contains(&byte);
    let text: String =
        label.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }).collect();
    format!("hd:LABEL={text}")
}

/// The repository that a kernel is of, by the place that it has in each one.
pub fn repository_of(kernel: &Location) -> Option<&str> {
    match kernel {
        Location::Url(url) => url.split_once("/images/pxeboot/").map(|(repository, _)| repository),
        Location::File(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_installer_has_its_words() {
        let label = |text: &str| Rest::Medium(text.to_owned());
        let repository = Rest::Repository("http://m.example/9/BaseOS/x86_64/os".to_owned());
        let table = [
            (
                AnswersKind::Preseed,
                Rest::None,
                "priority=critical DEBIAN_FRONTEND=text a=1 b console=ttyS0,115200 --- console=ttyS0,115200",
            ),
            (
                AnswersKind::Preseed,
                label("Debian 12.5.0 amd64 n"),
                "priority=critical DEBIAN_FRONTEND=text a=1 b console=ttyS0,115200 --- console=ttyS0,115200",
            ),
            (
                AnswersKind::Autoinstall,
                label("Ubuntu-Server 22.04.5 LTS amd64"),
                "autoinstall fsck.mode=skip a=1 b console=ttyS0,115200 ---",
            ),
            (
                AnswersKind::Kickstart,
                label("Rocky-9-6-x86_64-dvd"),
                "inst.ks=file:/ks.cfg inst.stage2=hd:LABEL=Rocky-9-6-x86_64-dvd inst.text a=1 b console=ttyS0,115200",
            ),
            (
                AnswersKind::Kickstart,
                label("CentOS 7 x86_64"),
                "inst.ks=file:/ks.cfg inst.stage2=hd:LABEL=CentOS\\x207\\x20x86_64 inst.text a=1 b console=ttyS0,115200",
            ),
            (
                AnswersKind::Kickstart,
                label("A\nB\"/é"),
                "inst.ks=file:/ks.cfg inst.stage2=hd:LABEL=A\\x0aB\\x22\\x2f\\xc3\\xa9 inst.text a=1 b console=ttyS0,115200",
            ),
            (AnswersKind::Kickstart, label(""), "inst.ks=file:/ks.cfg inst.stage2=cdrom inst.text a=1 b console=ttyS0,115200"),
            (AnswersKind::Kickstart, label("a:b"), "inst.ks=file:/ks.cfg inst.stage2=cdrom inst.text a=1 b console=ttyS0,115200"),
            (
                AnswersKind::Kickstart,
                repository,
                "inst.ks=file:/ks.cfg inst.repo=http://m.example/9/BaseOS/x86_64/os inst.text a=1 b console=ttyS0,115200",
            ),
            (AnswersKind::Kickstart, Rest::None, "inst.ks=file:/ks.cfg inst.text a=1 b console=ttyS0,115200"),
        ];
        let arguments: Vec<Word> = ["a=1", "b"].map(|word| word.parse().unwrap()).into();
        for (kind, rest, expected) in table {
            assert_eq!(command_line(kind, &rest, &arguments), expected);
        }
    }

    #[test]
    fn a_kernel_tells_its_repository() {
        let url = |text: &str| Location::Url(text.to_owned());
        let table = [
            (url("https://d.example/9/BaseOS/x86_64/os/images/pxeboot/vmlinuz"), Some("https://d.example/9/BaseOS/x86_64/os")),
            (url("https://d.example/casper/vmlinuz"), None),
            (Location::File("/srv/images/pxeboot/vmlinuz".into()), None),
        ];
        for (kernel, repository) in table {
            assert_eq!(repository_of(&kernel), repository);
        }
    }
}
