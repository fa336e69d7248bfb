//! Random sequences of commands, good, failing and killed ones, on one machine: what is kept for VMs anywhere is what the
//! records of the living ones say, and nothing is promised twice.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tpl::core::{capacity::Policy, error::exit_code, manifest::CloneRecord, xml::read::domain_facts};

use super::{
    machine::{Machine, Pool, Published},
    run::Fault,
};

/// What is asked of clones besides their number.
const OPTIONS: [&str; 6] = [
    "",
    "--full --no-start",
    "--add-disk size=1G,fs=ext4,label=data,mount=/srv --snapshot fresh --autostart",
    "--addressing static",
    "--addressing dhcp",
    "--name web{} --memory 1G --ip 192.0.2.130-192.0.2.140",
];

/// One command.
#[derive(Debug, Clone)]
enum Step {
    Clone {
        count: u8,
        jobs: u8,
        options: usize,
        force: bool,
        keep_going: bool,
        fault: Option<Fault>,
    },
    /// The VM of this number, counted around, and its neighbour.
    Destroy {
        vm: usize,
        two: bool,
        fault: Option<Fault>,
    },
    Prune,
    /// The hypervisor has so many GiB of memory from now on.
    Memory(u64),
    /// The pool has.
    Pool(u64),
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    // Beyond the last call of the command nothing fails.
    prop_oneof![
        3 => Just(None),
        2 => (0usize..140).prop_map(|at| Some(Fault::Once(at))),
        2 => (0usize..140).prop_map(|at| Some(Fault::Kill(at))),
        1 => (0usize..140).prop_map(|at| Some(Fault::AndUndo(at))),
        1 => (0usize..140).prop_map(|at| Some(Fault::Interrupt(at))),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let clone = (1u8..4, 1u8..4, 0..OPTIONS.len(), prop::bool::weighted(0.2), any::<bool>(), fault());
    let step = prop_oneof![
        6 => clone.prop_map(|(count, jobs, options, force, keep_going, fault)| Step::Clone { count, jobs, options, force, keep_going, fault }),
        3 => (any::<usize>(), any::<bool>(), fault()).prop_map(|(vm, two, fault)| Step::Destroy { vm, two, fault }),
        1 => Just(Step::Prune),
        1 => (1u64..5).prop_map(Step::Memory),
        1 => (20u64..80).prop_map(Step::Pool),
    ];
    prop::collection::vec(step, 1..9)
}

/// What the machine keeps, and what the records say that it should: sorted.
fn kept(machine: &Machine, records: &[CloneRecord]) -> [(Vec<String>, Vec<String>); 4] {
    let state = machine.state();
    let networks = || state.networks.values();
    let reservations = networks().flat_map(|network| &network.reservations).map(|entry| format!("{entry:?}")).collect();
    let promised = records.iter().flat_map(|record| &record.reservations).map(|entry| format!("{entry:?}")).collect();
    let of = |name: &str, host: &tpl::core::dns::Host| {
        host.addresses.iter().map(|ip| format!("{name} {ip} {}", host.names(None).join(" "))).collect::<Vec<_>>()
    };
    let hosts = networks()
        .flat_map(|network| network.hosts.iter().map(|(ip, names)| format!("{} {ip} {}", network.name, names.join(" "))));
    let registrations = || records.iter().flat_map(|record| &record.dns);
    let told =
        registrations().flat_map(|entry| entry.network.iter().flat_map(|network| of(network, &entry.host)).collect::<Vec<_>>());
    let servers = state.records.iter().flat_map(|host| of("lab", host));
    let at_servers = registrations().filter(|entry| entry.network.is_none()).flat_map(|entry| of("lab", &entry.host));
    let volumes = state.volumes.keys().filter(|name| !name.starts_with("debian13.")).cloned();
    let named = records.iter().flat_map(|record| record.volumes.clone());
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    [
        (reservations, promised),
        (hosts.collect(), told.collect()),
        (servers.collect(), at_servers.collect()),
        (volumes.collect(), named.collect()),
    ]
    .map(|(there, said)| (sorted(there), sorted(said)))
}

/// What holds at any time, and what a command may never change.
fn check(machine: &Machine, published: &Published) -> Result<(), TestCaseError> {
    prop_assert_eq!(&machine.published(), published);
    let inventory = machine.inventory();
    let records: Vec<CloneRecord> = inventory.clones.iter().map(|clone| clone.record.clone()).collect();
    for (there, said) in kept(machine, &records) {
        // A command that was killed may have named what it never made, or has removed it already.
        prop_assert!(there.iter().all(|thing| said.contains(thing)), "{:?} is more than {:?}", there, said);
    }
    let addresses: Vec<_> = records.iter().flat_map(|record| &record.addresses).collect();
    prop_assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), addresses.len(), "{:?}", addresses);
    let macs: Vec<_> = inventory.clones.iter().flat_map(|clone| domain_facts(&clone.domain.xml).unwrap().macs).collect();
    prop_assert_eq!(macs.iter().collect::<BTreeSet<_>>().len(), macs.len(), "{:?}", macs);
    Ok(())
}

/// What is promised of memory and of the pool, and the cap of each.
fn pledged(machine: &Machine) -> [(u64, u64); 2] {
    let policy = Policy { cpu_overcommit: "8".parse().unwrap(), ..Policy::default() };
    let capacity = machine.run().with(|world| world.capacity(policy)).unwrap();
    let [_, memory, pool, ..] = capacity.loads() else { panic!("there are three axes at least") };
    [(memory.pledged, memory.cap()), (pool.pledged, pool.cap())]
}

fn run(machine: &Machine, line: &str, fault: Option<Fault>) -> Result<(), TestCaseError> {
    let before = machine.everything();
    let run = fault.map_or_else(|| machine.run(), |fault| machine.failing(fault));
    let result = run.tpl(line).map(drop);
    let Err(error) = result else {
        let within = pledged(machine).iter().all(|(pledged, cap)| pledged <= cap);
        prop_assert!(within || line.contains("--force") || !line.starts_with("clone"), "{}", line);
        return Ok(());
    };
    let code = exit_code(&error);
    match fault {
        // Of several VMs to destroy some may be gone already; of several to make some may go on.
        Some(Fault::Kill(_)) => {}
        Some(_) if line.starts_with("destroy") || line.contains("--keep-going") => {}
        Some(_) if code == 4 => {}
        // Refused, or undone.
        _ => prop_assert_eq!(machine.everything(), before, "{}: {:#}", line, error),
    }
    // A volume group that is full gives nothing away, whatever has been forced.
    let forced = line.contains("--force") && machine.state().kind == Pool::Thick;
    prop_assert!(
        if fault.is_none() { code == 3 || forced && code == 1 } else { matches!(code, 1 | 3 | 4) },
        "{}: {}: {:#}",
        line,
        code,
        error
    );
    Ok(())
}

impl Step {
    fn take(&self, machine: &Machine) -> Result<(), TestCaseError> {
        match self {
            Self::Clone { count, jobs, options, force, keep_going, fault } => {
                let force = if *force { "--force test" } else { "" };
                let keep_going = if *keep_going { "--keep-going" } else { "" };
                let mut options = OPTIONS[*options].to_owned();
                if machine.state().kind != Pool::Directory {
                    options = options.replace("--snapshot", "--description");
                }
                let line = format!("clone --count {count} --jobs {jobs} --ssh-key KEY {force} {keep_going} {options}");
                run(machine, &line, *fault)
            }
            Self::Destroy { vm, two, fault } => {
                let names: Vec<String> = machine.inventory().clones.iter().map(|clone| clone.record.name.to_string()).collect();
                if names.is_empty() {
                    return Ok(());
                }
                let chosen = names.iter().cycle().skip(vm % names.len()).take(if *two { 2 } else { 1 });
                let line = format!("destroy {}", chosen.cloned().collect::<Vec<_>>().join(" "));
                run(machine, &line, *fault)
            }
            Self::Prune => run(machine, "prune", None),
            Self::Memory(gib) => {
                machine.state().memory = gib << 30;
                Ok(())
            }
            Self::Pool(gib) => {
                machine.state().pool = gib << 30;
                Ok(())
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_what_the_living_say(
        offline in prop::bool::weighted(0.3),
        kind in prop::sample::select(Pool::ALL.to_vec()),
        steps in steps(),
    ) {
        let machine = if offline { Machine::offline_template_in(kind) } else { Machine::template_in(kind) };
        let published = machine.published();
        let empty = pledged(&machine);
        for step in &steps {
            step.take(&machine)?;
            check(&machine, &published)?;
        }
        run(&machine, "prune", None)?;
        check(&machine, &published)?;
        let inventory = machine.inventory();
        let records: Vec<CloneRecord> = inventory.clones.iter().map(|clone| clone.record.clone()).collect();
        prop_assert!(records.iter().all(|record| !record.is_unfinished()));
        for (there, said) in kept(&machine, &records) {
            prop_assert_eq!(there, said);
        }
        let memory: u64 = inventory.clones.iter().map(|clone| domain_facts(&clone.domain.xml).unwrap().memory.0).sum();
        let state = machine.state();
        let pool = state.pool_size().kind;
        let pledge = |name: &String| pool.pledge_of(&state.describe(name, &state.volumes[name])).0;
        let volumes: u64 = records.iter().flat_map(|record| &record.volumes).map(pledge).sum();
        drop(state);
        let now = pledged(&machine);
        prop_assert_eq!((now[0].0, now[1].0), (empty[0].0 + memory, empty[1].0 + volumes));
        // And nothing of it stays behind its VM.
        let all: Vec<String> = records.iter().map(|record| record.name.to_string()).collect();
        if !all.is_empty() {
            run(&machine, &format!("destroy {}", all.join(" ")), None)?;
        }
        prop_assert_eq!(pledged(&machine).map(|(pledged, _)| pledged), empty.map(|(pledged, _)| pledged));
        prop_assert_eq!(machine.leftovers(), [""; 0]);
        check(&machine, &published)?;
    }
}
