use super::*;
use crate::core::mac::Mac;

const RICH: &str = "<network connections='3' xmlns:x='urn:x'>
  <name>lab</name>
  <uuid>11111111-2222-4333-8444-555555555555</uuid>
  <metadata><x:ip address='nonsense'/></metadata>
  <forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward>
  <bridge name='virbr7' stp='on' delay='0'/>
  <mac address='52:54:00:aa:bb:cc'/>
  <domain name='lab.example' localOnly='yes'/>
  <dns>
    <forwarder addr='192.0.2.53'/>
    <host ip='198.51.100.9'><hostname>ntp</hostname><hostname> time </hostname></host>
    <host ip='2001:db8::9'><hostname>ntp</hostname></host>
  </dns>
  <ip family='ipv6' address='2001:db8::1' prefix='64'>
    <dhcp><host id='0:3:0:1:0:16:3e:11:22:33' name='six' ip='2001:db8::6'/></dhcp>
  </ip>
  <ip address='192.168.7.1' netmask='255.255.254.0' localPtr='yes'>
    <tftp root='/srv'/>
    <dhcp>
      <range start='192.168.7.100' end='192.168.7.200'><lease expiry='24' unit='hours'/></range>
      <range start='192.168.6.100' end='192.168.6.101'/>
      <host mac='52:54:00:00:00:01' name='web&amp;1' ip='192.168.7.5'/>
      <host mac='52:54:00:00:00:02' ip='192.168.7.6'><lease expiry='0'/></host>
      <host name='cardless' ip='192.168.7.7'/>
    </dhcp>
  </ip>
  <ip address='10.0.0.1' prefix='24'/>
</network>";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn entry(mac: Option<u8>, address: &str, name: Option<&str>) -> Reservation {
    let mac = mac.map(|last| Mac([0x52, 0x54, 0, 0, 0, last]));
    Reservation { network: "lab".to_owned(), mac, ip: ip(address), name: name.map(str::to_owned) }
}

#[test]
fn a_rich_network() {
    let found = definition(RICH).unwrap();
    let v4 = |text: &str| text.parse::<Ipv4Addr>().unwrap();
    let expected = Network {
        name: "lab".to_owned(),
        active: false,
        bridge: Some("virbr7".to_owned()),
        domain: Some("lab.example".to_owned()),
        dns: true,
        subnet: Some(Subnet {
            gateway: v4("192.168.7.1"),
            prefix: 23,
            ranges: vec![(v4("192.168.7.100"), v4("192.168.7.200")), (v4("192.168.6.100"), v4("192.168.6.101"))],
        }),
        reservations: vec![
            entry(None, "2001:db8::6", Some("six")),
            entry(Some(1), "192.168.7.5", Some("web&1")),
            entry(Some(2), "192.168.7.6", None),
            entry(None, "192.168.7.7", Some("cardless")),
        ],
        hosts: vec![(ip("198.51.100.9"), vec!["ntp".to_owned(), "time".to_owned()]), (ip("2001:db8::9"), vec!["ntp".to_owned()])],
    };
    assert_eq!(found.network, expected);
    let holders = ["2001:db8::6", "2001:db8:0:1::6", "192.168.6.9", "192.168.8.1", "10.0.0.255", "10.0.1.0"]
        .map(|address| found.holder_of(ip(address)));
    assert_eq!(holders, [Some(0), None, Some(1), None, Some(2), None]);
    let entries = |wanted| found.entries(&wanted).map(|(index, entry)| (index, entry.ip)).collect::<Vec<_>>();
    assert_eq!(entries(entry(Some(1), "192.168.7.5", Some("other"))), [(1, ip("192.168.7.5"))]);
    assert_eq!(entries(entry(None, "2001:db8::6", Some("six"))), [(0, ip("2001:db8::6"))]);
    assert_eq!(entries(entry(Some(1), "192.168.7.6", None)), []);
}

#[test]
fn dns_and_subnet() {
    // The elements below <network>; whether there is DNS; the subnet's prefix.
    let table = [
        ("", false, None),
        ("<bridge name='br0'/><forward mode='bridge'/>", false, None),
        ("<ip address='192.168.7.1' netmask='255.255.255.0'/>", true, Some(24)),
        ("<ip address='192.168.7.1' prefix='0'/>", true, Some(0)),
        ("<ip address='10.1.1.1'/>", true, Some(8)),
        ("<ip address='172.16.1.1'/>", true, Some(16)),
        ("<ip address='192.168.7.1' family='ipv4' prefix='32'/><ip address='10.0.0.1'/>", true, Some(32)),
        ("<dns enable='no'/><ip address='192.168.7.1' prefix='24'/>", false, Some(24)),
        ("<dns enable='yes'/><ip address='192.168.7.1' prefix='24'/>", true, Some(24)),
        ("<ip family='ipv6' address='2001:db8::1'/>", true, None),
        ("<x:ip xmlns:x='urn:x' address='1'/>", false, None),
    ];
    for (inner, dns, prefix) in table {
        let network = definition(&format!("<network><name>lab</name>{inner}</network>")).unwrap().network;
        assert_eq!((network.dns, network.subnet.map(|subnet| subnet.prefix)), (dns, prefix), "{inner}");
    }
}

#[test]
fn what_is_no_network_is_an_error() {
    let dhcp = |inner: &str| format!("<ip address='192.168.7.1' prefix='24'><dhcp>{inner}</dhcp></ip>");
    let table = [
        ("<ip/>".to_owned(), "\"\" is no IP address"),
        ("<ip address='192.168.7.1' prefix='33'/>".to_owned(), "\"33\" is no length of a prefix"),
        ("<ip address='192.168.7.1' prefix='-1'/>".to_owned(), "\"-1\" is no length of a prefix"),
        ("<ip address='192.168.7.1' netmask='255.0.255.0'/>".to_owned(), "\"255.0.255.0\" is no netmask"),
        (dhcp("<range start='::1' end='::2'/>"), "the start of a DHCP range is \"::1\", no IPv4 address"),
        (dhcp("<host mac='52:54:00:00:00:01'/>"), "reading a reservation: \"\" is no IP address"),
        (dhcp("<host mac='x' ip='192.168.7.5'/>"), "\"x\" is no MAC address: write it as in 52:54:00:ab:cd:ef"),
        ("<dns><host><hostname>a</hostname></host></dns>".to_owned(), "reading a DNS host: \"\" is no IP address"),
    ];
    for (inner, expected) in table {
        let error = definition(&format!("<network><name>lab</name>{inner}</network>")).unwrap_err();
        assert_eq!(format!("{error:#}"), format!("reading the XML of network lab: {expected}"), "{inner}");
    }
    let error = definition("<domain/>").unwrap_err();
    assert_eq!(format!("{error:#}"), "reading network XML: the root is <domain>, not <network>");
    for bad in ["", "<network>", "<!DOCTYPE network><network/>"] {
        assert!(definition(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_written_reads_as_it_was() {
    let table = [
        (entry(Some(1), "192.168.7.5", Some("web1")), "<host mac='52:54:00:00:00:01' name='web1' ip='192.168.7.5'/>"),
        (entry(Some(1), "192.168.7.5", None), "<host mac='52:54:00:00:00:01' ip='192.168.7.5'/>"),
        (entry(None, "2001:db8::5", Some("'/><x a='<&")), "<host name='&apos;/&gt;&lt;x a=&apos;&lt;&amp;' ip='2001:db8::5'/>"),
    ];
    for (reservation, xml) in table {
        assert_eq!(reservation_xml(&reservation), xml);
        let network = format!("<network><name>lab</name><ip address='192.168.7.1'><dhcp>{xml}</dhcp></ip></network>");
        assert_eq!(definition(&network).unwrap().network.reservations, [reservation]);
    }
    let names = ["web1".to_owned(), "</hostname><b/>".to_owned()];
    let xml = dns_host_xml(ip("192.168.7.5"), &names);
    assert_eq!(xml, "<host ip='192.168.7.5'><hostname>web1</hostname><hostname>&lt;/hostname&gt;&lt;b/&gt;</hostname></host>");
    let network = format!("<network><name>lab</name><dns>{xml}</dns></network>");
    assert_eq!(definition(&network).unwrap().network.hosts, [(ip("192.168.7.5"), names.to_vec())]);
}
