//! From the flags of `tpl clone` to what is asked of each VM.

use anyhow::{Context as _, Result};

use crate::{
    cli::CloneArgs,
    core::{
        config::Config,
        error::Invalid,
        guest::Guest,
        names::{NamePattern, TemplateName},
        naming::Naming,
        ssh_key::PublicKey,
        vm_spec::{GuestSpec, IpChoice, Label, MacChoice, VmSpec},
    },
    host::ssh_keys,
    ui,
};

/// How the VMs are called.
pub fn naming(args: &CloneArgs, template: &TemplateName) -> Result<Naming, Invalid> {
    let names = &args.names;
    let default = || NamePattern::of_template(template);
    let count = usize::from(names.count);
    let no_count = |what: &str| {
        if names.count == 1 {
            Ok(())
        } else {
            Err(Invalid::argument(format!("{what} say how many VMs there are: leave out --count")))
        }
    };
    if names.random {
        return Ok(Naming::Random(count));
    }
    if let Some(numbers) = &names.numbers {
        no_count("numbers")?;
        return Ok(Naming::Numbers(names.name.clone().unwrap_or_else(default), numbers.clone()));
    }
    if !names.list.is_empty() {
        no_count("names")?;
        return Ok(Naming::List(names.list.clone()));
    }
    Ok(Naming::Pattern(names.name.clone().unwrap_or_else(default), count))
}

/// What is asked of each VM.
///
/// # Errors
/// [`Invalid`] for what cannot be put together.
pub fn spec(args: &CloneArgs, config: &Config) -> Result<VmSpec> {
    let (size, net) = (&args.size, &args.net);
    let named = config.named_network.as_deref().filter(|_| net.bridge.is_none());
    let network = named.map(str::parse::<Label>).transpose().map_err(Invalid::argument)?;
    Ok(VmSpec {
        vcpus: size.vcpus,
        topology: size.topology,
        memory: size.memory,
        disk: size.disk,
        full: if args.full { Some(true) } else { args.linked.then_some(false) },
        snapshot_size: args.snapshot_size,
        disks: size.add_disks.clone(),
        firmware: size.firmware,
        network,
        bridge: net.bridge.clone(),
        addressing: net.addressing,
        ip: net.ip.clone(),
        prefix: net.prefix,
        gateway: net.gateway,
        nameservers: net.nameservers.clone(),
        search: net.search.clone(),
        mac: net.mac.clone(),
        autostart: args.autostart.then_some(true),
        description: args.description.clone(),
        snapshot: args.snapshot.clone(),
        seed: args.seed,
        guest: guest(args),
    })
}

fn guest(args: &CloneArgs) -> GuestSpec {
    let wishes = &args.guest;
    GuestSpec {
        user: wishes.user.clone(),
        ssh_keys: Vec::new(),
        ssh_key_files: wishes.ssh_keys.clone(),
        password_hash_file: wishes.password_hash_file.clone(),
        users: wishes.users.clone(),
        packages: wishes.packages.clone(),
        timezone: wishes.timezone.clone(),
        locale: wishes.locale.clone(),
        apt_mirror: wishes.apt_mirror.clone(),
        write_files: wishes.write_files.clone(),
        runcmd: wishes.runcmd.clone(),
        user_data: wishes.user_data.clone(),
    }
}

/// The specification of each VM of the call: a list of addresses is dealt out, so that none gets another's.
pub fn deal(spec: &VmSpec, count: usize) -> Vec<VmSpec> {
    let all = vec![spec.clone(); count];
    match &spec.ip {
        // As many addresses as VMs: the first is the first one's, whatever else is free.
        Some(choice @ IpChoice::Ranges(_)) if choice.addresses().count() == count => all
            .into_iter()
            .zip(choice.addresses())
            .map(|(spec, ip)| VmSpec { ip: Some(IpChoice::Ranges(vec![(ip, ip)])), ..spec })
            .collect(),
        _ => all,
    }
}

/// The same with a list of MAC addresses dealt out: each VM gets as many as each other, whichever hypervisor it comes to.
pub fn deal_macs(specs: Vec<VmSpec>) -> Vec<VmSpec> {
    let count = specs.len().max(1);
    let deal = |(index, spec): (usize, VmSpec)| match &spec.mac {
        Some(MacChoice::Explicit(macs)) if macs.len() % count == 0 => {
            let each = macs.len() / count;
            let mac = Some(MacChoice::Explicit(macs[index * each..(index + 1) * each].to_vec()));
            VmSpec { mac, ..spec }
        }
        _ => spec,
    };
    specs.into_iter().enumerate().map(deal).collect()
}

/// That somebody can log in: where no key is named, those in the operator's own `~/.ssh`.
///
/// # Errors
/// [`Invalid`] if there is none at all.
pub fn with_keys(guest: Guest) -> Result<Guest> {
    let guest = with_own_keys(guest)?;
    if !has_login(&guest) {
        return Err(Invalid::argument("nobody could log in: there is no public key in ~/.ssh, and none is named\nname one with --ssh-key FILE, or make one with ssh-keygen").into());
    }
    Ok(guest)
}

/// What a guest is told with the keys in the operator's own `~/.ssh`, where none is named.
///
/// # Errors
/// They cannot be read.
pub fn with_own_keys(guest: Guest) -> Result<Guest> {
    warn_overruled(&guest);
    if !guest.keys.is_empty() {
        return Ok(guest);
    }
    Ok(Guest { keys: own_keys()?, ..guest })
}

/// Whether anybody can log in.
pub fn has_login(guest: &Guest) -> bool {
    !guest.keys.is_empty() || guest.users.iter().any(|user| !user.keys.is_empty()) || guest.password_hash.is_some()
}

/// Says which words of the operator's own user-data have no effect, for they would take a VM's identity away.
pub fn warn_overruled(guest: &Guest) {
    for key in guest.user_data.iter().flat_map(|data| data.overruled()) {
        ui::note(&format!("user-data: {key} is not taken: tpl itself says it"));
    }
}

fn own_keys() -> Result<Vec<PublicKey>> {
    let folder = ssh_keys::own_folder().context("looking for your SSH keys: no home folder")?;
    let found = ssh_keys::read_folder(&folder)?;
    for (file, error) in &found.skipped {
        ui::note(&format!("{}: passed over: {error:#}", file.display()));
    }
    Ok(found.keys)
}
