//! The metadata service as a unit of systemd's, in its sandbox, on a hypervisor with a libvirt of its own.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::operator::Operator;

/// A domain with a card and nothing to run: its wire is what is looked at.
const DOMAIN: &str = "<domain type=\"qemu\"><name>plugged</name><memory unit=\"MiB\">32</memory><vcpu>1</vcpu><os><type>hvm</type></os>\
                      <devices><interface type=\"network\"><mac address=\"52:54:00:00:00:01\"/><source network=\"default\"/>\
                      </interface></devices></domain>";

const UNIT: &str = "/etc/systemd/system/tpl-metadata.service";

/// Somebody at the bridge that is no domain.
const STRANGER: &str = "ip netns add stranger; ip link add stranger type veth peer name eth0 netns stranger; \
                        ip link set stranger master virbr0 up; ip -n stranger link set eth0 up; \
                        ip -n stranger addr add 192.168.122.77/24 dev eth0; ip -n stranger route add default via 192.168.122.1";

/// A request from where bash is; what it prints begins with the status.
fn get(host: &str, port: u16, path: &str) -> String {
    format!(
        "timeout 60 bash -c \"exec 3<>/dev/tcp/{host}/{port}; \
         printf 'GET {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' >&3; cat <&3\""
    )
}

fn healthz(operator: &Operator) -> String {
    operator.root(&format!("{} || true", get("127.0.0.1", 9254, "/healthz")))
}

/// Waits until a line of shell prints something with this in it.
fn waits(operator: &Operator, line: &str, text: &str) {
    let began = Instant::now();
    loop {
        let printed = operator.root(&format!("{line} || true"));
        if printed.contains(text) {
            return;
        }
        let journal = || operator.root("journalctl --no-pager -u tpl-metadata -n 30");
        assert!(began.elapsed() < Duration::from_secs(180), "{line}: {printed}\n{}", journal());
        thread::sleep(Duration::from_secs(2));
    }
}

pub fn the_service_is_a_unit(operator: &Operator) {
    let began = Instant::now();
    operator.puts_tpl();
    let install = "/usr/local/bin/tpl metadata install --network default";
    if operator.root("command -v nft || true").is_empty() {
        let refused = operator.root(&format!("{install} 2>&1; echo $?"));
        assert!(refused.contains("there is no nft here") && refused.ends_with('3'), "{refused}");
        operator.root("DEBIAN_FRONTEND=noninteractive apt-get install -y -q nftables >/dev/null");
    }
    // What would never begin is not installed.
    for wrong in ["--network nosuch", "--user nosuch"] {
        let refused = operator.root(&format!("/usr/local/bin/tpl metadata install {wrong} 2>&1; echo $?; ls {UNIT} 2>&1; true"));
        assert!(refused.contains("nosuch") && refused.contains("cannot access"), "{refused}");
    }
    let installed = operator.root(install);
    assert!(installed.contains("tpl-metadata.service: changed"), "{installed}");
    assert!(operator.root(install).contains("tpl-metadata.service: unchanged"));
    waits(operator, &get("127.0.0.1", 9254, "/healthz"), "\"libvirt\":true");

    // A guest that starts is known: by libvirt's events, in the packet filter, from inside the sandbox.
    operator.root(&format!("cd /root && printf %s '{DOMAIN}' >plugged.xml && virsh -q create plugged.xml"));
    waits(operator, "nft list table bridge tpl-metadata", "52:54:00:00:00:01");
    assert!(healthz(operator).contains("\"domains\":1"));
    // Whoever is none is told so.
    operator.root(STRANGER);
    let asks = format!("ip netns exec stranger {}", get("169.254.169.254", 80, "/latest/meta-data/instance-id"));
    assert!(operator.root(&asks).starts_with("HTTP/1.1 404"));
    waits(operator, "journalctl --no-pager -u tpl-metadata", "no running domain's card");

    // libvirt goes and comes: whoever asks meanwhile is answered.
    operator.root("systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd");
    waits(operator, &get("127.0.0.1", 9254, "/healthz"), "\"domains\":1,\"libvirt\":false");
    assert!(operator.root(&asks).starts_with("HTTP/1.1 404"));
    operator.root("systemctl start libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd");
    waits(operator, &get("127.0.0.1", 9254, "/healthz"), "\"domains\":1,\"libvirt\":true");
    operator.root("virsh -q destroy plugged");
    waits(operator, &get("127.0.0.1", 9254, "/healthz"), "\"domains\":0");

    // It may set nothing of the kernel's, and says what is missing.
    operator.root("sysctl -qw net.ipv4.tcp_fwmark_accept=0");
    waits(operator, &get("127.0.0.1", 9254, "/healthz"), "\"rules\":false");
    waits(operator, "journalctl --no-pager -u tpl-metadata", "as root: sysctl -w net.ipv4.tcp_fwmark_accept=1");
    operator.root("sysctl -qw net.ipv4.tcp_fwmark_accept=1");
    waits(operator, &get("127.0.0.1", 9254, "/healthz"), "\"rules\":true");

    operator.root("systemctl reload tpl-metadata");
    waits(operator, "journalctl --no-pager -u tpl-metadata", "the defaults are read again");
    // Both of its processes end, and come again.
    operator.root("systemctl kill --signal=KILL tpl-metadata");
    waits(operator, &get("127.0.0.1", 9254, "/healthz"), "\"libvirt\":true");
    let removed = operator.root(&format!("{install} --uninstall"));
    assert!(removed.contains("tpl-metadata.service: changed"), "{removed}");
    let left = operator.root(
        "systemctl is-active tpl-metadata; getent passwd tpl-metadata; ip -4 addr show dev virbr0 | grep -o 169.254.169.254; \
         nft list tables | grep -o tpl-metadata; ls /etc/systemd/system/tpl-metadata.service 2>/dev/null; true",
    );
    assert_eq!(left, "inactive");
    operator.root("ip netns del stranger");
    println!("metadata service: {} s", began.elapsed().as_secs());
}
