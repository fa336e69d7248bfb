use proptest::prelude::{Strategy, any, prop_oneof, proptest};

use super::{
    AnswersKind::{Autoinstall, Kickstart, Preseed},
    *,
};

const QUESTION: &[u8] = include_bytes!("../../../tests/fixtures/debian-installer-question.console");

/// What a watch says at the end of these logs: the console's, and the installer's.
fn watch(kind: AnswersKind, console: &str, installer: &str) -> Watch {
    let mut watch = Watch::new(kind);
    watch.console(console.as_bytes());
    watch.installer(installer.as_bytes());
    watch
}

#[test]
fn debians_question_is_told_from_progress() {
    let mut watch = Watch::new(Preseed);
    watch.console(QUESTION);
    let question = watch.question().unwrap();
    assert!(question.contains("Select your location\n--------------------\nThe selected location will"), "{question}");
    assert!(question.ends_with("4: Atlantic Ocean,      8: Indian Ocean,\nPrompt: '?' for help>"), "{question}");
    assert!(!question.contains("installer"), "{question}");
    watch.console(b"\r\nLoading additional components  ... 25%\r\nx\r\n");
    assert_eq!(watch.question(), None);
}

#[test]
fn debians_progress_comes_from_both_logs() {
    let mut watch = Watch::new(Preseed);
    assert_eq!(watch.progress(), ("booting the installer", 0));
    watch.installer(b"Nov 21 07:47:03 main-menu[1905]: INFO: Menu item 'bootstrap-base' selected\n");
    assert_eq!(watch.progress(), ("installing the base system", 19));
    watch.console(b"Installing the base system  ... 0%... 25%.");
    watch.console(b".. 50%");
    assert_eq!(watch.progress(), ("installing the base system", 43));
    watch.installer(b"Nov 21 07:47:03 main-menu[1905]: INFO: Menu item 'unheard-of' selected\n");
    assert_eq!(watch.progress(), ("installing the base system", 43));
    watch.console(b"\r\nAnother dialog  ... 0%");
    assert_eq!(watch.progress().1, 43);
    assert!(!watch.complete());
    watch.installer(b"Nov 21 07:59:03 main-menu[1905]: INFO: Menu item 'finish-inst");
    watch.installer(b"all' selected\n");
    assert!(watch.complete());
    watch.installer(b"Nov 21 08:04:28 main-menu[1905]: WARNING **: Menu item 'finish-install' failed.\n");
    let failed = Some("the installer's step finish-install failed".to_owned());
    assert_eq!((watch.complete(), watch.failed().map(|fault| fault.says)), (false, failed));
}

#[test]
fn subiquitys_progress_is_that_of_the_furthest_step() {
    let mut watch = Watch::new(Autoinstall);
    let table = [
        ("start: subiquity/Network/_send_update: CHANGE enp1s0", ("starting the installer", 2)),
        ("2026-11-21 03:11:02,123 DEBUG root:39 start: subiquity/Early/run: ", ("reading the answers", 4)),
        ("start: subiquity/Install/install: ", ("preparing the installation", 6)),
        (
            "start: subiquity/Install/install/curtin_install/run/cmd-install/stage-partitioning/builtin/cmd-block-meta: x",
            ("partitioning", 8),
        ),
        ("start: cmd-install/stage-extract/builtin/cmd-extract: curtin command extract", ("installing the base system", 12)),
        ("finish: cmd-install/stage-extract/builtin/cmd-extract: SUCCESS: x", ("installing the base system", 12)),
        ("start: cmd-install/stage-curthooks/builtin/cmd-curthooks: x", ("installing the kernel", 40)),
        ("start: subiquity/Install/install: ", ("installing the kernel", 40)),
        ("start: subiquity/Install/install/postinstall/install_openssh-server: x", ("installing packages", 70)),
        ("start: subiquity/Install/install/postinstall/run_unattended_upgrades: x", ("installing updates", 85)),
        ("start: subiquity/Late/run/command_0: echo start: subiquity/Shutdown/", ("running the last commands", 94)),
        ("start: subiquity/Shutdown/shutdown: mode=POWEROFF", ("finishing the installation", 98)),
    ];
    for (line, progress) in table {
        watch.installer(format!("{line}\n").as_bytes());
        assert_eq!(watch.progress(), progress, "{line}");
    }
}

#[test]
fn anacondas_progress_counts_packages() {
    let mut watch = Watch::new(Kickstart);
    let table = [
        ("Starting installer, one moment...", ("starting the installer", 2)),
        ("Starting automated install..", ("reading the answers", 5)),
        ("Creating disklabel on /dev/vda", ("partitioning", 9)),
        ("Starting package installation process", ("installing packages", 12)),
        ("Installing zlib.x86_64 (1/4)", ("installing packages", 28)),
        ("Installing zlib.x86_64 (1/0)", ("installing packages", 28)),
        ("Installing zlib.x86_64 (99/4)", ("installing packages", 28)),
        ("Installing zlib.x86_64 (4/4)", ("installing packages", 78)),
        ("Installing boot loader", ("installing the boot loader", 82)),
        ("Performing post-installation setup tasks", ("installing the boot loader", 82)),
        ("Installation complete", ("finishing the installation", 99)),
    ];
    for (line, progress) in table {
        watch.console(format!("{line}\r\n").as_bytes());
        assert_eq!(watch.progress(), progress, "{line}");
    }
}

#[test]
fn only_the_mark_alone_on_its_line_is_the_end() {
    let mark = "tpl: installation complete\n";
    for kind in [Autoinstall, Kickstart] {
        assert!(watch(kind, "", &format!("x\n{mark}")).complete());
        assert!(watch(kind, "", &format!("x\r\n{}\r\n", mark.trim())).complete());
        assert!(!watch(kind, mark, "").complete(), "the console is not where it is written");
        assert!(!watch(kind, "", r"command_3: printf '\ntpl: installation complete\n' >/dev/ttyS1").complete());
        assert!(!watch(kind, "", &format!("{mark}tpl: installation failed\n")).complete());
        assert!(!watch(kind, "[ 9.1] reboot: Restarting system\r\n", mark).complete());
    }
    assert!(!watch(Preseed, "", mark).complete());
}

#[test]
fn each_failure_says_what_it_is_and_what_to_do() {
    use signs::{ANSWERS, DISK, MEDIUM, MEMORY, PACKAGES};
    let unpack = "E: Unable to locate package nosuch\nfinish: subiquity/Install/install/postinstall/install_nosuch: FAIL: x\n\
                  finish: subiquity/Install/install/postinstall: FAIL: x\nfinish: subiquity/Install/install: FAIL: x\n";
    let full = "cp: error writing '/target/x': No space left on device\nfinish: cmd-install/stage-extract: FAIL: x\n\
                finish: cmd-install: FAIL: curtin command install\n";
    let late = "finish: subiquity/Late/run/command_1: FAIL: x\nfinish: subiquity/Late/run: FAIL: x\n";
    let table = [
        (Preseed, "", "main-menu[9]: INFO: Menu item 'pkgsel' failed.\n", "the installer's step pkgsel failed", ""),
        (
            Preseed,
            "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\n",
            "",
            "the installer's kernel has given up: [    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs",
            MEMORY,
        ),
        (
            Preseed,
            "",
            "in-target: cannot copy: No space left on device\nmain-menu[9]: WARNING **: Menu item 'pkgsel' failed.\n",
            "the installer's step pkgsel failed: the build disk is too small: in-target: cannot copy: No space left on device",
            DISK,
        ),
        (
            Autoinstall,
            "",
            unpack,
            "the installer has given up: a package cannot be had: E: Unable to locate package nosuch",
            PACKAGES,
        ),
        (
            Autoinstall,
            "",
            full,
            "the installer has given up: the build disk is too small: cp: error writing '/target/x': No space left on device",
            DISK,
        ),
        (Autoinstall, "", late, "the installer has given up: its step subiquity/Late/run/command_1 failed", ANSWERS),
        (Autoinstall, "x\nAn error occurred. Press enter to start a shell\n", "", "the installer has given up", ANSWERS),
        (
            Autoinstall,
            "Malformed autoinstall in 'storage' section\nAn error occurred. Press enter to start a shell\n",
            "",
            "the installer has given up: the installer does not take its answers: Malformed autoinstall in 'storage' section",
            ANSWERS,
        ),
        (
            Autoinstall,
            "Unable to find a medium containing a live file system\nyes no (default yes): ",
            "",
            "the installer does not find its medium",
            MEDIUM,
        ),
        (Autoinstall, "", "x\ntpl: installation failed\n", "the installer has given up", ""),
        (
            Kickstart,
            "The following problem occurred on line 3 of the kickstart file:\n\nUnknown command: nosuch\n",
            "",
            "the installer does not take its answers: The following problem occurred on line 3 of the kickstart file: Unknown command: nosuch",
            ANSWERS,
        ),
        (
            Kickstart,
            "There was an error running the kickstart script at line 50.  This\n",
            "",
            "a script of the answer file failed: There was an error running the kickstart script at line 50.  This",
            ANSWERS,
        ),
        (
            Kickstart,
            "The following error occurred while installing the payload. This is\n\ncpio: write failed - No space left on device\n",
            "",
            "the installer has given up: The following error occurred while installing the payload. This is: \
             the build disk is too small: cpio: write failed - No space left on device",
            DISK,
        ),
        (
            Kickstart,
            "",
            "16:26:06,950 ERR errors: The following error occurred while installing.  This is a fatal error and installation will be aborted.\n\
             16:26:06,950 ERR errors: \n16:26:06,951 ERR errors: Command x failed.\n16:26:06,950 ERR errors: y\n",
            "the installer has given up: The following error occurred while installing.  This is a fatal error and installation will be \
             aborted. Command x failed.",
            "",
        ),
        (
            Kickstart,
            "The installation was stopped due to an error which occurred while running in non-interactive cmdline mode.\n\
             The exact error message is:\n\nNo match.\n\nThe installer will now terminate.\n",
            "x\ntpl: installation failed\n",
            "the installer has given up: No match.",
            "",
        ),
        (Kickstart, "Pane is dead", "", "the installer has ended by itself", ""),
        (Kickstart, "An unknown error has occurred\n", "", "the installer has a fault of its own", ""),
        (Kickstart, "[anaconda root@localhost ~]# ", "", "the installer has ended with a shell", ""),
        (
            Kickstart,
            "dracut-initqueue[412]: Warning: dracut-initqueue timeout - starting timeout scripts\nWarning: /dev/root does not exist\n",
            "",
            "the installer does not find the rest of itself: it has waited in vain for its medium, or for the network",
            MEDIUM,
        ),
    ];
    for (kind, console, installer, says, advice) in table {
        let fault = watch(kind, console, installer).failed();
        assert_eq!(fault, Some(Fault { says: says.to_owned(), advice }), "{console}{installer}");
    }
}

#[test]
fn what_is_tried_again_is_no_failure() {
    let table = [
        (Autoinstall, "finish: subiquity/Refresh/check_for_update: FAIL: snapd\nfinish: subiquity/Mirror/check_geoip: FAIL\n"),
        (Autoinstall, "Traceback (most recent call last)\n"),
        (Kickstart, "dracut-initqueue[412]: Warning: dracut-initqueue timeout - starting timeout scripts\n"),
        (Kickstart, "No match for argument: nosuch\n"),
    ];
    for (kind, log) in table {
        assert_eq!(watch(kind, log, log).failed(), None, "{log}");
    }
}

#[test]
fn a_machine_that_went_off_is_told_from_one_that_rebooted() {
    let off = "the VM went off before the installation was complete";
    let rebooted = "the installer has rebooted the machine, where it should have powered it off";
    let mark = "an answer file must end with a command that writes the line `tpl: installation complete` to /dev/ttyS1";
    let restarts = "[   99.0] reboot: Restarting system\n";
    let table = [
        (Preseed, "", off, ""),
        (Autoinstall, "[   99.0] reboot: Power down\n", off, mark),
        (Kickstart, "", off, mark),
        (Preseed, restarts, rebooted, "the answer file must say `d-i debian-installer/exit/poweroff boolean true`"),
        (Autoinstall, restarts, rebooted, "the answer file must say `shutdown: poweroff`"),
        (Kickstart, restarts, rebooted, "the answer file must say `poweroff`"),
        (Kickstart, "Pane is dead\n", "the installer has ended by itself", ""),
    ];
    for (kind, console, says, advice) in table {
        assert_eq!(watch(kind, console, "").off_early(), Fault { says: says.to_owned(), advice }, "{console}");
    }
}

#[test]
fn questions_are_found() {
    let rule = "=".repeat(80);
    let hub = format!(
        "old\n{rule}\n{rule}\nInstallation\n\n1) [x] Language settings\nPlease make a selection from the above ['b' to begin installation,\n\
         'r' to refresh]: "
    );
    let missing = format!(
        "No match for argument: nosuch\n{rule}\nQuestion\n\nWould you like to ignore this and continue with installation?\n\n\
         Please respond 'yes' or 'no': "
    );
    let table = [
        (
            Kickstart,
            hub.as_str(),
            Some(
                "Installation\n1) [x] Language settings\nPlease make a selection from the above ['b' to begin installation,\n\
                 'r' to refresh]:",
            ),
        ),
        (
            Kickstart,
            &missing,
            Some("Question\nWould you like to ignore this and continue with installation?\nPlease respond 'yes' or 'no':"),
        ),
        (Kickstart, "Password: \nPlease wait\nx\n", None),
        (Kickstart, "", None),
        (Autoinstall, "x\n\nContinue with autoinstall? (yes|no)\n", Some("Continue with autoinstall? (yes|no)")),
        (Autoinstall, "x\n\nContinue with autoinstall? (yes|no)\nstart: subiquity/Install/install: \n", None),
        (
            Autoinstall,
            "  mode, using only the ASCII character set.\n\n  [ Continue in rich mode  > ]\n  [ View SSH instructions    ]\n",
            Some("Continue in rich mode, or in basic mode? (the first screen of an installation by hand)"),
        ),
        (Autoinstall, "start: subiquity/Early/run\n", None),
    ];
    for (kind, console, question) in table {
        assert_eq!(watch(kind, console, "").question().as_deref(), question, "{console}");
    }
    let watch = watch(Kickstart, &missing, "");
    let fault = watch.waits("Question?");
    let says = "the installer waits for an answer to this question:\n\n  Question?\n\na package cannot be had: No match for argument: nosuch\n";
    assert_eq!((fault.says.as_str(), fault.advice), (says, signs::PACKAGES));
}

#[test]
fn steps_go_up() {
    for kind in [Preseed, Autoinstall, Kickstart] {
        assert!(Watch::new(kind).steps().windows(2).all(|pair| pair[0].2 < pair[1].2), "{kind:?}");
    }
}

/// Bytes that are much like what installers write.
fn log() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "start: ",
        "finish: ",
        ": FAIL",
        "subiquity/",
        "cmd-install",
        "main-menu[",
        "Menu item '",
        "' selected",
        "' failed.",
        "Prompt:",
        "Installing ",
        "(1/",
        "Installed: ",
        ")",
        "[anaconda",
        "Help: F1",
        "][ ",
        "[   ",
        "]",
        "%",
        "\u{1b}[",
        "\u{1b}(",
        "\n",
        "=====",
        "No space left on device",
        "é",
        "Press ENTER to ",
        "Continue with autoinstall? (yes|no)",
    ];
    let piece = prop_oneof![
        proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..8),
        (0..u64::MAX).prop_map(|number| number.to_string().into_bytes()),
    ];
    proptest::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_taken(logs in proptest::collection::vec((log(), log()), 1..4)) {
        for kind in [Preseed, Autoinstall, Kickstart] {
            let mut watch = Watch::new(kind);
            for (console, installer) in &logs {
                watch.console(console);
                watch.installer(installer);
                let question = watch.question().unwrap_or_default();
                watch.waits(&question);
                watch.off_early();
                assert!(watch.progress().1 <= 100);
                let (console, installer) = watch.tails();
                assert!(console.len() <= 27 && installer.len() <= 27);
            }
        }
    }
}
