//! The text of a hosts file that tpl shares with people: tpl's own lines end in `# tpl`, all others stay as they are.

use std::net::IpAddr;

use super::Host;
use crate::core::vm_spec::DomainName;

/// By this comment tpl knows its own lines again.
const MARK: &str = "tpl";

/// A host as a hosts file has it: one line for each address, each with all names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// A line that answers to a name or an address of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its number, from 1.
    pub line: usize,
    /// Address and names, safe to show.
    pub text: String,
    /// Whether it is an older entry of tpl's for the same name, which a new one takes the place of.
    pub older: bool,
}

/// A line as hosts(5) has it.
struct Line<'a> {
    address: IpAddr,
    names: Vec<&'a str>,
    own: bool,
}

/// What a line is to an entry.
#[derive(PartialEq)]
enum Relation {
    /// Nothing: a comment, or another host.
    None,
    /// Just what the entry would write.
    Same,
    /// tpl's, for the same canonical name, and not the same.
    Older,
    /// Somebody else's, or another host of tpl's, with a name or an address of the entry.
    Foreign,
}

impl Entry {
    /// The entry of a host, in the provider's domain where the host itself names none.
    pub fn new(host: &Host, domain: Option<&DomainName>) -> Self {
        let mut addresses = host.addresses.clone();
        addresses.sort_unstable();
        addresses.dedup();
        Self { names: host.names(domain), addresses }
    }

    /// The name that the host is known by: with the domain, where there is one.
    pub fn canonical(&self) -> &str {
        &self.names[0]
    }

    /// Its lines.
    fn lines(&self) -> String {
        self.addresses.iter().map(|address| format!("{address} {} # {MARK}\n", self.names.join(" "))).collect()
    }

    fn relation(&self, line: &str) -> Relation {
        let Some(line) = parse(line) else { return Relation::None };
        let known = self.addresses.contains(&line.address);
        let canonical = line.names.first().is_some_and(|name| name.eq_ignore_ascii_case(self.canonical()));
        let any = || line.names.iter().any(|name| self.names.iter().any(|own| own.eq_ignore_ascii_case(name)));
        match (line.own && canonical, known) {
            (true, true) if line.names == self.names => Relation::Same,
            (true, _) => Relation::Older,
            (false, known) if known || any() => Relation::Foreign,
            (false, _) => Relation::None,
        }
    }

    /// The lines that answer to a name or an address of this entry and are not just its own.
    pub fn taken(&self, text: &str) -> Vec<Found> {
        let found = |(index, line)| {
            let older = match self.relation(line) {
                Relation::None | Relation::Same => return None,
                Relation::Older => true,
                Relation::Foreign => false,
            };
            let parsed = parse(line)?;
            let names: String = parsed.names.join(" ").chars().take(200).flat_map(char::escape_debug).collect();
            Some(Found { line: index + 1, text: format!("{} {names}", parsed.address), older })
        };
        text.lines().enumerate().filter_map(found).collect()
    }

    /// The text with this entry in it, once, in the place of older ones or at the end.
    pub fn put_into(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len() + 100);
        let mut lines = Some(self.lines());
        for line in text.split_inclusive('\n') {
            if matches!(self.relation(line), Relation::Same | Relation::Older) {
                result.push_str(&lines.take().unwrap_or_default());
            } else {
                result.push_str(line);
            }
        }
        if let Some(lines) = lines {
            if !result.is_empty() && !result.ends_with('\n') {
                result.push('\n');
            }
            result.push_str(&lines);
        }
        result
    }

    /// The text without those lines that are just this entry's.
    pub fn take_out_of(&self, text: &str) -> String {
        text.split_inclusive('\n').filter(|line| self.relation(line) != Relation::Same).collect()
    }
}

/// Address, names, and behind a `#` anything. None for a line that gives no address.
fn parse(line: &str) -> Option<Line<'_>> {
    let (host, comment) = line.split_once('#').unwrap_or((line, ""));
    let mut words = host.split_ascii_whitespace();
    let address = words.next()?.parse().ok()?;
    let names: Vec<&str> = words.collect();
    (!names.is_empty()).then(|| Line { address, names, own: comment.trim() == MARK })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, addresses: &[&str], domain: Option<&str>) -> Entry {
        let host = Host {
            name: name.parse().unwrap(),
            domain: None,
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            host_keys: Vec::new(),
        };
        Entry::new(&host, domain.map(|domain| domain.parse().unwrap()).as_ref())
    }

    const FOREIGN: &str = "# by hand\r\n\n192.0.2.1\trouter  # tpl is not here\n192.0.2.10 old\nnonsense web01\n";

    #[test]
    fn an_entry_is_put_in_once() {
        let web = entry("web01", &["2001:db8::7", "192.0.2.7", "192.0.2.7"], Some("lab.example"));
        let lines = "192.0.2.7 web01.lab.example web01 # tpl\n2001:db8::7 web01.lab.example web01 # tpl\n";
        let older = "192.0.2.8 web01.lab.example web01 # tpl\n";
        let table = [
            (String::new(), lines.to_owned()),
            (FOREIGN.to_owned(), format!("{FOREIGN}{lines}")),
            ("192.0.2.1 router".to_owned(), format!("192.0.2.1 router\n{lines}")),
            (format!("{older}{FOREIGN}"), format!("{lines}{FOREIGN}")),
            (format!("{FOREIGN}{older}{older}"), format!("{FOREIGN}{lines}")),
            // A registration before there was a domain, or another host of tpl's.
            ("192.0.2.9 web01 # tpl\n".to_owned(), format!("192.0.2.9 web01 # tpl\n{lines}")),
        ];
        for (text, expected) in table {
            assert_eq!(web.put_into(&text), expected, "{text}");
            assert_eq!(web.put_into(&expected), expected, "again: {text}");
        }
    }

    #[test]
    fn just_its_own_lines_are_taken_out() {
        let web = entry("web01", &["192.0.2.7"], None);
        let table = [
            (format!("{FOREIGN}192.0.2.7 web01 # tpl\n"), FOREIGN.to_owned()),
            ("192.0.2.7 web01 # tpl".to_owned(), String::new()),
            ("192.0.2.7 web01\n".to_owned(), "192.0.2.7 web01\n".to_owned()),
            ("192.0.2.8 web01 # tpl\n".to_owned(), "192.0.2.8 web01 # tpl\n".to_owned()),
            ("192.0.2.7 web01 www # tpl\n".to_owned(), "192.0.2.7 web01 www # tpl\n".to_owned()),
        ];
        for (text, expected) in table {
            assert_eq!(web.take_out_of(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_answers_already_is_found() {
        let web = entry("web01", &["192.0.2.7", "2001:db8::7"], Some("lab.example"));
        let found = |line, text: &str, older| vec![Found { line, text: text.to_owned(), older }];
        let table = [
            (FOREIGN, vec![]),
            ("192.0.2.7 web01.lab.example web01 # tpl\n", vec![]),
            ("192.0.2.8 web01.lab.example web01 # tpl\n", found(1, "192.0.2.8 web01.lab.example web01", true)),
            ("192.0.2.7 web01.lab.example www # tpl\n", found(1, "192.0.2.7 web01.lab.example www", true)),
            ("\n192.0.2.8 WEB01\n", found(2, "192.0.2.8 WEB01", false)),
            ("192.0.2.8 a web01.LAB.example", found(1, "192.0.2.8 a web01.LAB.example", false)),
            ("192.0.2.7 web01.lab.example web01\n", found(1, "192.0.2.7 web01.lab.example web01", false)),
            ("2001:db8:0::7 db \u{1b}[2J # tpl\n", found(1, "2001:db8::7 db \\u{1b}[2J", false)),
            ("192.0.2.8 web01.other.example web01 # tpl\n", found(1, "192.0.2.8 web01.other.example web01", false)),
            ("192.0.2.8 web01.other.example\n#192.0.2.7 web01\n", vec![]),
        ];
        for (text, expected) in table {
            assert_eq!(web.taken(text), expected, "{text}");
        }
    }
}
