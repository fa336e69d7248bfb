//! What a VM is waited for, and what is told of one that is not ready in time.

use std::time::Duration;

use tpl::core::facts::DomainState;

use super::{
    machine::{Machine, State},
    run::{Fault, Step},
};

const FINISHED: &str = "Cloud-init v. 25.1 running 'modules:final' at Sat\r\nCloud-init v. 25.1 finished at Sat\r\n";
const RUNNING: &str = "[ OK ] Reached target\r\nCloud-init v. 25.1 running 'init' at Sat\r\n";

fn clone(until: &str) -> String {
    format!("clone --name web --jobs 1 --wait {until} --timeout 5s --ssh-key KEY")
}

/// The story of a VM whose address is promised.
fn story(missing: &str, ip: &str, port: &str, cloud_init: &str, console: &str) -> String {
    format!(
        "web: not ready after 5 s: {missing}\n    domain: running\n    lease: {ip}\n    ARP: {ip}\n    port: {port}\n    \
         cloud-init: {cloud_init}\n{console}    its console is logged in /var/log/libvirt/qemu/web-serial.log"
    )
}

#[test]
fn each_way_to_wait_sees_a_ready_vm_and_tells_of_one_that_is_not() {
    let (ip, silent) = ("192.0.2.128", "has said nothing on the console");
    let no = |port: u16| format!("no answer at {ip} port {port}");
    let lines = "    console: [ OK ] Reached target\n    console: Cloud-init v. 25.1 running 'init' at Sat\n";
    type Change = fn(&mut State);
    let dead: Change = |state| state.ready = false;
    let table: [(&str, Change, Change, String); 5] = [
        ("ssh", |_| {}, dead, story(&no(22), ip, &no(22), silent, "")),
        ("tcp:80", |_| {}, dead, story(&no(80), ip, &no(80), silent, "")),
        (
            "agent",
            |state| state.ready = false,
            |state| state.agent = false,
            story("the guest agent does not answer yet", ip, "22 answers", silent, ""),
        ),
        (
            "cloud-init",
            |state| state.console = FINISHED.to_owned(),
            |state| state.console = RUNNING.to_owned(),
            story("cloud-init running 'init'", ip, "22 answers", "running 'init'", lines),
        ),
        // The address is promised, but the guest never takes it.
        ("ssh", |_| {}, |state| state.on_network = false, story(&no(22), "none", &no(22), silent, "")),
    ];
    for (until, good, bad, expected) in table {
        let machine = Machine::with_template();
        good(&mut machine.state());
        machine.tpl(&clone(until)).unwrap();
        assert_eq!(machine.inventory().clones.len(), 1, "{until}");
        let machine = Machine::with_template();
        bad(&mut machine.state());
        let before = machine.state().now;
        let error = machine.tpl(&clone(until)).unwrap_err();
        assert_eq!(format!("{error:#}"), expected, "{until}");
        // A minute until the run begins, then no longer than was said.
        assert_eq!(machine.state().now.duration_since(before).unsigned_abs(), Duration::from_secs(65), "{until}");
        assert_eq!(machine.leftovers(), [""; 0], "{until}");
    }
}

#[test]
fn nothing_is_asked_where_nothing_is_waited_for() {
    let machine = Machine::with_template();
    machine.state().ready = false;
    let run = machine.run();
    run.tpl(&clone("none")).unwrap();
    let asked = [Step::Knock, Step::AskAgent, Step::ReadLog, Step::ReadAddresses];
    assert!(run.calls().iter().all(|(step, _)| !asked.contains(step)), "{:?}", run.calls());
}

#[test]
fn a_vm_without_an_address_is_told_as_such() {
    let machine = Machine::with_template();
    machine.state().on_network = false;
    let error = machine.tpl(&format!("{} --addressing dhcp", clone("ssh"))).unwrap_err();
    let port = "22 not asked, for there is no address";
    let expected = story("no address yet", "none", port, "has said nothing on the console", "");
    assert_eq!(format!("{error:#}"), expected);
    assert_eq!(machine.leftovers(), [""; 0]);
}

#[test]
fn a_vm_that_goes_off_is_not_waited_for() {
    for state in [DomainState::Crashed, DomainState::Shutoff, DomainState::Halted] {
        let machine = Machine::with_template();
        let (run, elsewhere) = (machine.run(), machine.clone());
        run.before(Step::Knock, move || {
            elsewhere.state().ready = false;
            elsewhere.state().domains.get_mut("web").unwrap().state = state;
        });
        let error = run.tpl(&clone("ssh")).unwrap_err();
        let expected = format!(
            "web does not run any more: it is {}\nits console is logged in /var/log/libvirt/qemu/web-serial.log",
            state.as_str()
        );
        assert_eq!(format!("{error:#}"), expected);
        assert_eq!(machine.leftovers(), [""; 0]);
    }
}

#[test]
fn the_report_says_why_one_of_three_failed() {
    let machine = Machine::with_template();
    let run = machine.failing(Fault::At(Step::Start, 1));
    let (result, printed) = run.attempt("clone --count 3 --name web{} --jobs 1 --keep-going --output json --ssh-key KEY");
    assert!(result.is_err());
    let json: serde_json::Value = serde_json::from_str(&printed.data).unwrap();
    let names: Vec<&str> = json["clones"].as_array().unwrap().iter().map(|clone| clone["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["web1", "web3"]);
    let failed = serde_json::json!([{ "name": "web2", "error": "a fault was put in: Start web2", "progress": null }]);
    assert_eq!(json["failed"], failed);
}
