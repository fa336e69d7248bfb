//! How much of the log is one guest's: whoever asks and asks must not push out what is said of the others.

use std::collections::HashMap;

/// The most lines about a domain in a second. cloud-init's datasource Ec2 reads the whole tree at once, and none of that is to be missed.
const LINES: u32 = 100;

/// The lines of this second, by domain: those alone that have asked in it are kept in mind.
#[derive(Debug, Default)]
pub struct Quota {
    second: u64,
    lines: HashMap<String, u32>,
}

impl Quota {
    /// Whether there may be one more line about a domain in this second.
    pub fn take(&mut self, domain: &str, second: u64) -> bool {
        if self.second != second {
            self.second = second;
            self.lines.clear();
        }
        match self.lines.get_mut(domain) {
            Some(lines) if *lines >= LINES => return false,
            Some(lines) => *lines += 1,
            None => drop(self.lines.insert(domain.to_owned(), 1)),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_domain_has_its_own_lines_each_second() {
        let mut quota = Quota::default();
        // How many of so many lines are written.
        let table = [("a", 0, 30, 30), ("b", 0, 1000, 100), ("a", 0, 80, 70), ("b", 1, 3, 3), ("a", 1, 101, 100), ("c", 9, 1, 1)];
        for (number, (domain, second, tried, expected)) in table.into_iter().enumerate() {
            assert_eq!((0..tried).filter(|_| quota.take(domain, second)).count(), expected, "{number}: {domain}");
        }
        assert_eq!(quota.lines.len(), 1);
    }
}
