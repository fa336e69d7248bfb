//! Declared fleets: what `tpl apply` makes of them, and what `tpl destroy --fleet` leaves.

use std::fs;

use tpl::core::{error::exit_code, facts::DomainState, manifest::Metadata, timings};

use super::{
    machine::{FakeVolume, Machine},
    run::{Fault, Step},
};

const FLEET: &str = r#"
[defaults.guest]
ssh_key_files = ["key.pub"]
[groups.web]
count = 2
[[vms]]
name = "db"
disks = [{ size = "1G" }]
"#;

/// A machine with a fleet's file on it. Tests share the folder, so each names its own.
struct Bench {
    machine: Machine,
    file: String,
}

impl Bench {
    fn new(name: &str, text: &str) -> Self {
        let bench = Self { machine: Machine::with_template(), file: format!("{name}.toml") };
        bench.write(text);
        bench
    }

    fn write(&self, text: &str) {
        fs::write(self.machine.folder.path().join(&self.file), text).unwrap();
    }

    /// A text without the folder, which is another one each time.
    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.machine.folder.path().display()), "")
    }

    /// What a call printed: the document, and the notes.
    fn run(&self, line: &str) -> (String, String) {
        let printed = self.machine.tpl(&line.replace("FLEET", &self.file)).unwrap();
        (self.short(&printed.data), self.short(&printed.notes))
    }

    fn apply(&self, flags: &str) -> String {
        self.run(&format!("apply FLEET --jobs 1 {flags}")).0
    }

    fn destroy(&self, flags: &str) -> String {
        self.run(&format!("destroy --fleet FLEET --jobs 1 {flags}")).0
    }

    /// Exit code and text of a call that must be refused, and touch nothing.
    fn refused(&self, line: &str) -> (u8, String) {
        let before = self.machine.everything();
        let error = self.machine.tpl(&line.replace("FLEET", &self.file)).unwrap_err();
        assert_eq!(self.machine.everything(), before, "{line} has touched something");
        (exit_code(&error), self.short(&format!("{error:#}")))
    }

    /// What there is besides the template, in one line.
    fn rest(&self) -> String {
        let rest = self.machine.everything().into_iter().filter(|thing| !thing.contains("debian13."));
        let rest = rest.filter(|thing| thing.starts_with("domain ") || thing.starts_with("volume "));
        rest.collect::<Vec<_>>().join(", ")
    }

    fn state(&self, vm: &str) -> DomainState {
        self.machine.state().domains[vm].state
    }
}

const ALL: &str = "domain db, domain web1, domain web2, \
                   volume db, volume db-disk1, volume db-seed, volume web1, volume web1-seed, volume web2, volume web2-seed";

#[test]
fn what_is_missing_is_made_once() {
    let bench = Bench::new("twice", FLEET);
    let made = "NAME  ACTION   ADDRESS      STATE    DIFFERENCES\n\
                web1  created  192.0.2.128  running  -\n\
                web2  created  192.0.2.129  running  -\n\
                db    created  192.0.2.130  running  -\n";
    assert_eq!(bench.apply(""), made);
    assert_eq!(bench.rest(), ALL);
    let again = bench.machine.run();
    let printed = again.tpl("apply twice.toml").unwrap();
    assert_eq!(bench.short(&printed.data), "nothing to do: all 3 VMs of twice.toml are there and running\n");
    let changing = [Step::Define, Step::Start, Step::WriteMetadata, Step::CreateVolume, Step::StoreVolume, Step::ReserveAddress];
    assert!(again.calls().iter().all(|(step, _)| !changing.contains(step) && !step.removes()), "{:?}", again.calls());
}

#[test]
fn a_dry_run_shows_the_difference_and_so_does_a_preflight() {
    let bench = Bench::new("dry", FLEET);
    bench.machine.tpl("clone --name web1 --no-start --ssh-key KEY").unwrap();
    let before = bench.machine.everything();
    for flags in ["--dry-run", "--stage preflight"] {
        let shown = bench.apply(flags);
        let table = "NAME  ACTION  ADDRESS      STATE    DIFFERENCES\n\
                     web1  start   192.0.2.128  shutoff  -\n\
                     web2  create  192.0.2.129  missing  -\n\
                     db    create  192.0.2.130  missing  -\n\
                     \n\
                     to be made: 2 VMs\n";
        assert_eq!(&shown[..table.len()], table, "{shown}");
    }
    assert_eq!(bench.machine.everything(), before);
    bench.machine.state().memory = 1 << 30;
    let (code, text) = bench.refused("apply FLEET --stage preflight");
    assert_eq!((code, text.starts_with("memory: 2 × 512 MiB is 1 GiB and ")), (3, true), "{text}");
}

#[test]
fn each_stage_goes_on_where_the_one_before_it_stopped() {
    let bench = Bench::new("stages", FLEET);
    assert!(bench.apply("--stage create").contains("web1  created  192.0.2.128  shutoff  -\n"));
    assert_eq!(bench.state("db"), DomainState::Shutoff);
    assert_eq!(bench.apply("--stage create"), "nothing to do: all 3 VMs of stages.toml are there\n");
    bench.machine.state().ready = false;
    assert!(bench.apply("--stage start").contains("db    started  192.0.2.130  running  -\n"));
    bench.machine.state().ready = true;
    assert_eq!(bench.apply(""), "nothing to do: all 3 VMs of stages.toml are there and running\n");
}

#[test]
fn what_is_off_is_started_and_waited_for_along_with_what_is_new() {
    let bench = Bench::new("off", FLEET);
    bench.apply("");
    bench.machine.tpl("destroy web2").unwrap();
    bench.machine.run().with(|world| world.hypervisor.power_off("db")).unwrap();
    let known_hosts = bench.machine.folder.path().join("off.known_hosts");
    let timings = bench.machine.folder.path().join("off.jsonl");
    let files = format!("--known-hosts {} --timings {}", known_hosts.display(), timings.display());
    let expected = "NAME  ACTION     ADDRESS      STATE    DIFFERENCES\n\
                    web1  unchanged  192.0.2.128  running  -\n\
                    web2  created    192.0.2.129  running  -\n\
                    db    started    192.0.2.130  running  -\n";
    assert_eq!(bench.apply(&files), expected);
    let hosts = fs::read_to_string(known_hosts).unwrap();
    let hosts: Vec<&str> = hosts.lines().map(|line| line.split_once(' ').unwrap().0).collect();
    assert_eq!(
        hosts,
        ["web2,web2.lab.example,192.0.2.129", "db,db.lab.example,192.0.2.130", "web1,web1.lab.example,192.0.2.128"]
    );
    let stages = timings::parse("t", &fs::read_to_string(timings).unwrap()).unwrap();
    let of = |vm: &str| stages.iter().filter(|t| t.vm == vm).map(|t| t.stage.as_str()).collect::<Vec<_>>();
    assert_eq!(of("web2"), ["reserve", "disks", "start", "wait", "finish", "commit"]);
    assert_eq!((of("db"), of("web1")), (vec!["start", "wait"], vec![]));
}

#[test]
fn the_report_is_a_document_too() {
    let bench = Bench::new("json", FLEET);
    let report =
        |flags: &str| serde_json::from_str::<serde_json::Value>(&bench.apply(&format!("--output json {flags}"))).unwrap();
    let planned = report("--dry-run");
    assert_eq!((&planned["dry_run"], &planned["plan"][2]["name"]), (&true.into(), &"db".into()));
    let first = report("");
    assert_eq!(
        (&first["changed"], &first["failed"], &first["file"]),
        (&true.into(), &serde_json::json!([]), &"json.toml".into())
    );
    let vm = &first["vms"][2];
    assert_eq!((&vm["name"], &vm["action"], &vm["addresses"][0]), (&"db".into(), &"created".into(), &"192.0.2.130".into()));
    let stages: Vec<&str> = vm["seconds"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(stages, ["commit", "disks", "finish", "reserve", "start", "wait"]);
    let second = report("");
    assert_eq!((&second["changed"], &second["vms"][0]["action"]), (&false.into(), &"unchanged".into()));
}

#[test]
fn what_differs_is_reported_and_left() {
    let bench = Bench::new("differs", FLEET);
    bench.apply("");
    let before = bench.machine.everything();
    bench.write(
        &FLEET.replace("count = 2", "count = 2\nmemory = \"1G\"\nguest.packages = [\"nginx\"]").replace("\"1G\" }", "\"2G\" }"),
    );
    let (data, notes) = bench.run("apply FLEET");
    let row = |line: usize| data.lines().nth(line).unwrap().to_owned();
    assert!(row(1).starts_with("web1  unchanged  192.0.2.128  running  memory: 512 MiB, declared 1 GiB; guest: "), "{data}");
    assert_eq!(row(3), "db    unchanged  192.0.2.130  running  disks: 1 GiB, declared 2 GiB");
    let note = "nothing to do, but 3 of 3 VMs are otherwise than differs.toml says, and cannot be changed in place: \
                `tpl destroy VM` and another `tpl apply` make one anew\n";
    assert_eq!(notes, note);
    assert_eq!(bench.machine.everything(), before);
}

#[test]
fn disks_in_another_pool_are_a_difference_by_themselves() {
    let bench = Bench::new("pool", &FLEET.replace("name = \"db\"", "name = \"db\"\ndisk = \"9G\""));
    bench.apply("");
    let inventory = bench.machine.inventory();
    let mut record = inventory.clones[0].record.clone();
    assert_eq!(record.name.as_str(), "db");
    record.pool = "fast".to_owned();
    let elsewhere = Metadata::Clone(Box::new(record));
    bench.machine.run().with(|world| world.hypervisor.write_metadata("db", &elsewhere)).unwrap();
    let shown = bench.apply("");
    assert_eq!(shown.lines().last(), Some("db    unchanged  192.0.2.130  running  pool: fast, declared default"));
}

#[test]
fn dns_hears_of_addresses_that_come_by_dhcp_even_after_stages() {
    let bench = Bench::new("dhcp", &FLEET.replace("[defaults.guest]", "[defaults]\naddressing = \"dhcp\"\n[defaults.guest]"));
    bench.apply("--stage create");
    let told = |bench: &Bench| bench.machine.inventory().clones.iter().filter(|clone| !clone.record.dns.is_empty()).count();
    assert_eq!((told(&bench), bench.machine.state().records.len()), (0, 0));
    bench.apply("");
    assert_eq!((told(&bench), bench.machine.state().records.len()), (3, 3));
    bench.destroy("--disks");
    assert_eq!(bench.machine.state().records.len(), 0);
}

#[test]
fn conflicts_are_refused_all_at_once() {
    let bench = Bench::new("conflict", FLEET);
    let foreign = |name: &str, id: u32| {
        let xml = format!(
            "<domain type='kvm'><name>{name}</name><uuid>3c6f1b0e-58d5-4f0b-9d0a-3a3d6f3f1a{id:02}</uuid><memory>1</memory><vcpu>1</vcpu></domain>"
        );
        bench.machine.run().with(|world| world.hypervisor.define(&xml)).unwrap();
    };
    foreign("web2", 1);
    foreign("db", 2);
    let said = "domain web2 does not carry tpl's metadata: tpl has not made it, and leaves it alone\n\
                domain db does not carry tpl's metadata: tpl has not made it, and leaves it alone\n\
                nothing has been touched; declare other names, or clear these";
    for call in ["apply FLEET", "apply FLEET --dry-run", "apply FLEET --stage create"] {
        assert_eq!(bench.refused(call), (3, said.to_owned()), "{call}");
    }
    let left = "left alone: web2 does not carry tpl's metadata: tpl has not made it, and leaves it alone\n\
                left alone: db does not carry tpl's metadata: tpl has not made it, and leaves it alone\n\
                nothing to destroy of conflict.toml\n";
    assert_eq!(bench.destroy("--disks"), left);
    assert_eq!(bench.rest(), "domain db, domain web2");
}

#[test]
fn faults_of_the_file_have_their_places() {
    let bench = Bench::new("faults", "[groups.web]\ncount = 0\nmemroy = '1G'\n");
    let (code, text) = bench.refused("apply FLEET");
    assert_eq!((code, text.lines().next().unwrap()), (2, "faults.toml:2:9: `count` must be 1 to 1000"), "{text}");
    assert!(text.lines().nth(1).unwrap().starts_with("faults.toml:3:1: unknown field `memroy`"), "{text}");
    assert_eq!(bench.refused("destroy --fleet FLEET"), (code, text));
    bench.write(
        "[groups.web]\ncount = 2\n[groups.web.guest]\nssh_key_files = ['none']\n[[vms]]\nname = 'db'\nguest.timezone = '..'\n",
    );
    let said = "none: No such file or directory (os error 2)\nfaults.toml: db: \"..\" is no time zone, as in Europe/Vienna";
    assert_eq!(bench.refused("apply FLEET"), (2, said.to_owned()));
    let absent = Bench { machine: Machine::with_template(), file: "absent.toml".to_owned() };
    assert_eq!(absent.refused("apply FLEET"), (2, "absent.toml: there is no such file".to_owned()));
}

#[test]
fn one_that_fails_undoes_the_call_or_only_itself() {
    let bench = Bench::new("fails", FLEET);
    let fault = Fault::At(Step::CreateVolume, 1);
    let error = bench.machine.failing(fault).tpl("apply fails.toml --jobs 1").unwrap_err();
    assert_eq!((exit_code(&error), bench.rest()), (1, String::new()));
    let run = bench.machine.failing(fault);
    let error = run.tpl("apply fails.toml --jobs 1 --keep-going").unwrap_err();
    let text = format!("{error:#}");
    assert_eq!(exit_code(&error), 1);
    assert_eq!(text.lines().next().unwrap(), "1 of 3 VMs failed; the others are made");
    assert!(text.contains("web2: a fault was put in: CreateVolume web2"), "{text}");
    assert!(!bench.rest().contains("web2"), "{}", bench.rest());
    assert!(bench.apply("").contains("web2  created  "));
    assert_eq!(bench.rest(), ALL);
}

#[test]
fn one_that_was_there_and_fails_is_never_undone() {
    let bench = Bench::new("stays", FLEET);
    bench.apply("--stage create");
    bench.machine.tpl("destroy web2").unwrap();
    // web1 starts first, then db fails: nothing new has been made by then.
    let fault = Fault::At(Step::Start, 1);
    let error = bench.machine.failing(fault).tpl("apply stays.toml --jobs 1").unwrap_err();
    assert_eq!(exit_code(&error), 1);
    assert!(!bench.rest().contains("web2") && bench.rest().contains("volume db-disk1"), "{}", bench.rest());
    assert_eq!((bench.state("web1"), bench.state("db")), (DomainState::Running, DomainState::Shutoff));
    assert_eq!(format!("{error:#}").lines().last(), Some("VMs that were there and have been started stay on"));
    // Now db is the only one to start: the new one is made all the same.
    let fault = Fault::At(Step::Start, 0);
    let error = bench.machine.failing(fault).tpl("apply stays.toml --jobs 1 --keep-going").unwrap_err();
    assert!(format!("{error:#}").starts_with("1 of 2 VMs failed; the others are made\ndb: "), "{error:#}");
    assert_eq!((bench.state("web2"), bench.state("db")), (DomainState::Running, DomainState::Shutoff));
}

#[test]
fn without_disks_only_seeds_go_and_the_way_back_is_said() {
    let bench = Bench::new("disks", FLEET);
    bench.apply("");
    let dry = bench.destroy("--dry-run");
    assert_eq!(bench.rest(), ALL);
    let expected = "web1 destroyed\nweb2 destroyed\ndb destroyed\n\
                    volume web1-seed removed\nvolume web2-seed removed\nvolume db-seed removed\n\
                    volume web1 stays\nvolume web2 stays\nvolume db stays\nvolume db-disk1 stays\n";
    assert_eq!(dry, expected.replace("destroyed", "would be destroyed").replace("removed", "would be removed"));
    assert_eq!(bench.destroy(""), expected);
    assert_eq!(bench.rest(), "volume db, volume db-disk1, volume web1, volume web2");
    let said = "'web1' is taken: there is a volume web1\n'web2' is taken: there is a volume web2\n'db' is taken: there is a volume db\n\
                nothing has been touched; `tpl destroy --fleet disks.toml --disks` removes disks that VMs of these names have \
                left, and their contents: else declare other names";
    assert_eq!(bench.refused("apply FLEET"), (3, said.to_owned()));
    let (_, notes) = bench.run("destroy --fleet FLEET");
    assert_eq!(notes, "`tpl destroy --fleet disks.toml --disks` removes the disks, too\n");
    let gone = "volume web1 removed\nvolume web2 removed\nvolume db removed\nvolume db-disk1 removed\n";
    assert_eq!(bench.destroy("--disks"), gone);
    assert_eq!(bench.destroy("--disks"), "nothing to destroy of disks.toml\n");
    assert_eq!(bench.rest(), "");
}

#[test]
fn with_disks_everything_of_the_fleet_goes_and_nothing_else() {
    let bench = Bench::new("everything", FLEET);
    bench.apply("");
    bench.machine.tpl("clone --name web3 --no-start --ssh-key KEY").unwrap();
    // What somebody else has, named nearly so; and what a VM of a declared name has left.
    for volume in ["web1-backup", "db-disk1000", "webserver"] {
        bench.machine.state().volumes.insert(volume.to_owned(), FakeVolume::default());
    }
    bench.machine.tpl("destroy web2").unwrap();
    // The second further disk of a VM that is declared with none could be that of a VM called web2-disk2.
    for volume in ["web2", "web2-seed", "web2-disk2"] {
        bench.machine.state().volumes.insert(volume.to_owned(), FakeVolume::default());
    }
    bench.destroy("--disks");
    let rest =
        "domain web3, volume db-disk1000, volume web1-backup, volume web2-disk2, volume web3, volume web3-seed, volume webserver";
    assert_eq!(bench.rest(), rest);
}

#[test]
fn a_removal_that_fails_does_not_stop_the_others() {
    let bench = Bench::new("removal", FLEET);
    bench.apply("");
    let fault = Fault::At(Step::Undefine, 1);
    let error = bench.machine.failing(fault).tpl("destroy --fleet removal.toml --disks --jobs 1").unwrap_err();
    assert_eq!(exit_code(&error), 1);
    assert_eq!(bench.rest(), "domain web2");
    assert_eq!(bench.destroy("--disks").lines().next(), Some("web2 destroyed"));
    assert_eq!(bench.rest(), "");
}

#[test]
fn what_a_living_run_makes_is_left_alone() {
    let bench = Bench::new("living", FLEET);
    let first = bench.machine.run();
    let heard = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let (other, told) = (Bench { machine: bench.machine.clone(), file: bench.file.clone() }, heard.clone());
    first.before(Step::Knock, move || *told.lock().unwrap() = other.destroy("--disks --dry-run"));
    first.tpl("apply living.toml --jobs 1").unwrap();
    let said = "left alone: web1 is being made by another tpl that is still at work\n\
                left alone: web2 is being made by another tpl that is still at work\n\
                left alone: db is being made by another tpl that is still at work\n\
                nothing to destroy of living.toml\n";
    assert_eq!(*heard.lock().unwrap(), said);
    // A dead one's are removed, finished or not.
    bench.destroy("--disks");
    let run = bench.machine.run();
    run.tpl("apply living.toml --jobs 1").unwrap();
    let knock = run.calls().iter().position(|(step, _)| *step == Step::Knock).unwrap();
    bench.destroy("--disks");
    bench.machine.failing(Fault::Kill(knock)).tpl("apply living.toml --jobs 1").unwrap_err();
    assert_eq!(bench.refused("apply FLEET").0, 3);
    assert_eq!(bench.destroy("--disks").lines().next(), Some("web1 destroyed"));
    assert_eq!(bench.rest(), "");
}

#[test]
fn a_fleet_may_have_several_templates() {
    let bench = Bench::new(
        "several",
        "template = 'debian13'\n[defaults.guest]\nssh_key_files = ['key.pub']\n[groups.web]\ncount = 1\n\
         [[vms]]\nname = 'db'\ntemplate = 'other13'\nmemory = '768M'\n",
    );
    let (code, text) = bench.refused("apply FLEET");
    assert_eq!((code, text.lines().next().unwrap()), (3, "there is no template other13"));
    let folder = bench.machine.folder.path().join("pipelines");
    fs::copy(folder.join("debian13.toml"), folder.join("other13.toml")).unwrap();
    bench.machine.tpl("build other13").unwrap();
    bench.apply("");
    let inventory = bench.machine.inventory();
    let made: Vec<String> =
        inventory.clones.iter().map(|clone| format!("{} of {}", clone.record.name, clone.record.template)).collect();
    assert_eq!(made, ["db of other13", "web1 of debian13"]);
    assert_eq!(bench.apply(""), "nothing to do: all 2 VMs of several.toml are there and running\n");
}
