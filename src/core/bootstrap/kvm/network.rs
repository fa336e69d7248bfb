//! The network `default`, which guests are in unless something else is said.

use std::net::Ipv4Addr;

use crate::core::{
    bootstrap::{
        Facts, Item, Probe, Step,
        text::{plain, value},
    },
    error::Refusal,
};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 122, 1);
const PREFIX: u8 = 24;

/// As libvirt's own package defines it, where that has not. The bridge's name is left to libvirt: `virbr0`, unless it is taken.
const XML: &str = "<network>
  <name>default</name>
  <forward mode='nat'/>
  <bridge stp='on' delay='0'/>
  <ip address='192.168.122.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.122.2' end='192.168.122.254'/>
    </dhcp>
  </ip>
</network>
";

/// How the network is, as libvirt tells it.
const STATE: &str = r#"command -v virsh >/dev/null || exit 0
virsh() { timeout -k 5 60 virsh -q -c qemu:///system "$@" </dev/null; }
! virsh net-list --all --name | grep -qx default || { echo defined; virsh net-info default | sed -n 's/^\(Active\|Autostart\): */\1 /p'; }"#;

/// Its definition, or nothing.
const DEFINITION: &str = r#"command -v virsh >/dev/null || exit 0
timeout -k 5 60 virsh -q -c qemu:///system net-dumpxml --inactive default </dev/null 2>/dev/null || true"#;

/// The machine's own subnets: an interface and an address with its prefix on each line, and what is routed elsewhere.
const SUBNETS: &str = r#"ip -4 -o address show | awk '{for (i = 1; i < NF; i++) if ($i == "inet") print "subnet", $2, $(i + 1)}'
ip -4 route show | awk '$1 ~ /^[0-9]/ {for (i = 1; i < NF; i++) if ($i == "dev") print "subnet", $(i + 1), $1}'"#;

/// `$1` is defined where none is; then it runs, now and when the machine starts.
const START: &str = r#"# define and start the network
virsh() { timeout -k 5 120 virsh -q -c qemu:///system "$@"; }
if ! virsh net-info default >/dev/null 2>&1; then
  file=$(mktemp) && printf '%s' "$1" >"$file" || exit
  virsh net-define "$file"
  code=$?
  rm -f "$file"
  [ "$code" = 0 ] || exit "$code"
fi
virsh net-info default | grep -q '^Active: *yes' || virsh net-start default || exit
virsh net-autostart default"#;

/// What the machine is asked.
pub fn probes() -> Vec<Probe> {
    vec![Probe::new("kvm.network", STATE), Probe::new("kvm.network-xml", DEFINITION), Probe::new("kvm.subnets", SUBNETS)]
}

/// It runs, and is started with the machine.
///
/// # Errors
/// It does not run, and its addresses are those of another network of the machine.
pub fn item(facts: &Facts) -> Result<Item, Refusal> {
    const SHOULD: &str = "running, and started with the machine";
    let state = facts.get("kvm.network").unwrap_or_default();
    let yes = |key: &str| value(state, key) == Some("yes");
    let is = match (yes("Active"), yes("Autostart")) {
        _ if value(state, "defined").is_none() => "absent",
        (true, true) => SHOULD,
        (true, false) => "running, and not started with the machine",
        (false, true) => "not running",
        (false, false) => "not running, and not started with the machine",
    };
    if !yes("Active") {
        conflict(facts)?;
    }
    Ok(Item::compare("network default", Some(is), SHOULD, vec![Step::script(10, START, &[XML])]))
}

/// Whether the network would take addresses that are somebody's: traffic to those would then end on this machine.
fn conflict(facts: &Facts) -> Result<(), Refusal> {
    let (own, bridge) = match facts.get("kvm.network-xml").filter(|xml| !xml.trim().is_empty()) {
        None => (Some((ADDRESS, PREFIX)), None),
        Some(xml) => subnet(xml),
    };
    // One without addresses of its own takes none.
    let Some(own) = own else { return Ok(()) };
    let lines = facts.get("kvm.subnets").unwrap_or_default();
    let taken = crate::core::bootstrap::text::values(lines, "subnet").find_map(|line| {
        let (interface, subnet) = line.split_once(' ')?;
        let mine = Some(interface) == bridge.as_deref() || interface.starts_with("virbr");
        (!mine && overlap(own, parse(subnet)?)).then_some((interface, subnet))
    });
    let Some((interface, subnet)) = taken else { return Ok(()) };
    let network = Ipv4Addr::from(u32::from(own.0) & mask(own.1));
    Err(Refusal::new(format!(
        "libvirt's network default would be {network}/{}, and {} on {} is in use already",
        own.1,
        plain(subnet),
        plain(interface)
    ))
    .advise(
        "define the network `default` with other addresses, and run this again: apt-get install libvirt-daemon-system; \
         virsh net-undefine default; virsh net-define FILE",
    ))
}

/// The first IPv4 subnet of a network's definition, and its bridge.
fn subnet(xml: &str) -> (Option<(Ipv4Addr, u8)>, Option<String>) {
    let Ok(document) = roxmltree::Document::parse(xml) else { return (None, None) };
    let children = || document.root_element().children();
    let bridge = children().find(|node| node.has_tag_name("bridge")).and_then(|node| node.attribute("name"));
    let address = children().filter(|node| node.has_tag_name("ip")).find_map(|node| {
        let address: Ipv4Addr = node.attribute("address")?.parse().ok()?;
        let prefix = match (node.attribute("prefix"), node.attribute("netmask")) {
            (Some(prefix), _) => prefix.parse().ok().filter(|prefix| *prefix <= 32)?,
            (None, Some(netmask)) => u8::try_from(u32::from(netmask.parse::<Ipv4Addr>().ok()?).leading_ones()).ok()?,
            (None, None) => PREFIX,
        };
        Some((address, prefix))
    });
    (address, bridge.map(str::to_owned))
}

/// `192.168.1.2/24`; an address alone is one.
fn parse(subnet: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = subnet.split_once('/').unwrap_or((subnet, "32"));
    Some((address.parse().ok()?, prefix.parse().ok().filter(|prefix| *prefix <= 32)?))
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

fn overlap(a: (Ipv4Addr, u8), b: (Ipv4Addr, u8)) -> bool {
    let mask = mask(a.1.min(b.1));
    u32::from(a.0) & mask == u32::from(b.0) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_subnets_overlap() {
        let table = [
            ("192.168.122.0/24", "192.168.122.77/32", true),
            ("192.168.122.1/24", "192.168.0.0/16", true),
            ("192.168.122.1/24", "192.168.123.1/24", false),
            ("192.168.122.1/24", "0.0.0.0/0", true),
            ("10.0.0.1", "10.0.0.2", false),
        ];
        for (a, b, expected) in table {
            assert_eq!(overlap(parse(a).unwrap(), parse(b).unwrap()), expected, "{a} {b}");
        }
        for bad in ["", "x", "10.0.0.1/33", "10.0.0.1/-1", "10.0.0/24"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_a_definition_takes() {
        let table = [
            (XML, (Some((ADDRESS, 24)), None)),
            (
                "<network><bridge name='virbr7'/><ip family='ipv6' address='fd00::1' prefix='64'/><ip address='10.1.2.3' prefix='16'/></network>",
                (Some((Ipv4Addr::new(10, 1, 2, 3), 16)), Some("virbr7".to_owned())),
            ),
            ("<network><ip address='10.1.2.3' prefix='77'/></network>", (None, None)),
            ("<network", (None, None)),
        ];
        for (xml, expected) in table {
            assert_eq!(subnet(xml), expected, "{xml}");
        }
    }
}
