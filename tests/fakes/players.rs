//! The installers: what each writes, well or not.

use tpl::core::{facts::DomainState, pipeline::AnswersKind};

use super::machine::Script;

/// What an installer does at a moment.
#[derive(Debug, Default)]
pub struct Moment {
    /// What it prints on the console.
    pub console: String,
    /// What it writes into its log.
    pub log: String,
    /// What becomes of the machine, if it does not go on.
    pub ends: Option<DomainState>,
    /// Whether the system is on the disk.
    pub installed: bool,
}

/// Which installer a kernel's command line starts.
pub fn kind(xml: &str) -> AnswersKind {
    match xml {
        xml if xml.contains("<cmdline>autoinstall ") => AnswersKind::Autoinstall,
        xml if xml.contains("<cmdline>inst.ks=") => AnswersKind::Kickstart,
        _ => AnswersKind::Preseed,
    }
}

/// A line of main-menu's.
fn menu(item: &str, what: &str) -> String {
    format!("Nov 21 03:11:00 main-menu[9]: INFO: Menu item '{item}'{what}\n")
}

/// What an installer does at this moment of its life.
pub fn play(kind: AnswersKind, script: Script, age: u32) -> Moment {
    let says = |console: &str, log: &str| Moment { console: console.to_owned(), log: log.to_owned(), ..Moment::default() };
    if age == 1 {
        return match kind {
            AnswersKind::Preseed => says("Installing the base system  ... 50%\r\n", &menu("bootstrap-base", " selected")),
            AnswersKind::Autoinstall => {
                says("", "start: cmd-install/stage-extract/builtin/cmd-extract: curtin command extract\n")
            }
            AnswersKind::Kickstart => says("Installing zlib.x86_64 (1/4)\r\n", "INF packaging: Installing zlib.x86_64 (1/4)\n"),
        };
    }
    if age > 2 {
        return Moment::default();
    }
    match script {
        Script::Good | Script::RollsOver => {
            let log = if kind == AnswersKind::Preseed { menu("finish-install", " selected") } else { mark("complete") };
            Moment { ends: Some(DomainState::Shutoff), installed: true, ..says("\r\nThe system will power off\r\n", &log) }
        }
        Script::Question => says(question(kind), ""),
        Script::Off => Moment { ends: Some(DomainState::Shutoff), ..says("\r\n[   99.9] reboot: Power down\r\n", "") },
        Script::Reboot => Moment { ends: Some(DomainState::Shutoff), ..says("\r\n[   99.9] reboot: Restarting system\r\n", "") },
        Script::FailedStep => match kind {
            AnswersKind::Preseed => says("", &menu("grub-installer", " failed.")),
            AnswersKind::Autoinstall => {
                says("An error occurred. Press enter to start a shell\r\n", "finish: subiquity/Late/run/command_1: FAIL: x\n")
            }
            AnswersKind::Kickstart => {
                says("There was an error running the kickstart script at line 9.\r\nPress ENTER to exit: ", "")
            }
        },
        Script::Full => match kind {
            AnswersKind::Preseed => says("", &format!("cp: No space left on device\n{}", menu("pkgsel", " failed."))),
            AnswersKind::Autoinstall => says("", &format!("cp: No space left on device\n{}", mark("failed"))),
            AnswersKind::Kickstart => says("The following error occurred while installing.\r\n", "ERR No space left on device\n"),
        },
        Script::Halts => Moment { ends: Some(DomainState::Halted), ..Moment::default() },
        Script::Stuck => Moment::default(),
    }
}

fn mark(how: &str) -> String {
    format!("\ntpl: installation {how}\n")
}

fn question(kind: AnswersKind) -> &'static str {
    match kind {
        AnswersKind::Preseed => "\r\nSelect your location\r\n  1: Africa\r\nPrompt: '?' for help> ",
        AnswersKind::Autoinstall => "\r\nContinue with autoinstall? (yes|no)\r\n",
        AnswersKind::Kickstart => {
            "====================\r\nInstallation\r\n\r\nPlease make a selection from the above ['b' to begin installation,\r\n'r' to refresh]: "
        }
    }
}
