//! How much of the log is one guest's: whoever asks and asks must not push out what is said of the others.

use std::collections::HashMap;

/// The most lines about a domain in a second. cloud-init's datasource Ec2 reads the whole tree at once, and none of that is to be missed.
const OF_DOMAIN: u32 = 100;
/// The same about all callers that nobody knows.
const OF_STRANGERS: u32 = 20;

/// The lines of this second, of strangers and by domain: those alone that have asked in it are kept in mind.
#[derive(Debug, Default)]
pub struct Quota {
    second: u64,
    strangers: u32,
    lines: HashMap<String, u32>,
}

impl Quota {
    /// Whether there may be one more line about a domain in this second; about a stranger, for none.
    pub fn take(&mut self, domain: Option<&str>, second: u64) -> bool {
        if self.second != second {
            self.second = second;
            self.strangers = 0;
            self.lines.clear();
        }
        let (lines, most) = match domain {
            None => (&mut self.strangers, OF_STRANGERS),
            Some(domain) => (self.lines.entry(domain.to_owned()).or_default(), OF_DOMAIN),
        };
        let may = *lines < most;
        *lines += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_domain_has_its_own_lines_each_second() {
        let mut quota = Quota::default();
        // How many of so many lines are written.
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        let table = [
            (a, 0, 30, 30),
            (b, 0, 1000, 100),
            (None, 0, 50, 20),
            (a, 0, 80, 70),
            (b, 1, 3, 3),
            (None, 1, 2, 2),
            (a, 1, 101, 100),
            (c, 9, 1, 1),
        ];
        for (number, (domain, second, tried, expected)) in table.into_iter().enumerate() {
            assert_eq!((0..tried).filter(|_| quota.take(domain, second)).count(), expected, "{number}: {domain:?}");
        }
        assert_eq!(quota.lines.len(), 1);
    }
}
