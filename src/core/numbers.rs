//! Numbers and ranges of them, as they stand in names: `3,7-9`.

use std::str::FromStr;

use super::quoted::quoted;

/// The largest number: names with five digits are checked to be names.
const LARGEST: usize = 99_999;

/// So many numbers at most: as many as one call makes VMs.
const MOST: usize = 1000;

/// Numbers, in the order in which they were written. Reads `3`, `7-9`, and several of these with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers(Vec<usize>);

impl Numbers {
    /// The numbers.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            part.parse::<usize>().ok().filter(|n| digits && *n <= LARGEST)
        };
        let mut numbers = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = number(first.trim()).zip(number(last.trim())).filter(|(first, last)| first <= last);
            let (first, last) = range.ok_or_else(|| {
                format!("{} are no numbers: write them as in 3,7-9, from 0 to {LARGEST}, ranges from low to high", quoted(text))
            })?;
            if last - first >= MOST || numbers.len() + (last - first) >= MOST {
                return Err(format!("{} are too many numbers: at most {MOST}", quoted(text)));
            }
            numbers.extend(first..=last);
        }
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("{} holds the number {} twice", quoted(text), pair[0])),
            None => Ok(Self(numbers)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges() {
        let wrong = |text: &str| {
            Err(format!("{text:?} are no numbers: write them as in 3,7-9, from 0 to 99999, ranges from low to high"))
        };
        let table = [
            ("3", Ok(vec![3])),
            ("3, 7-9", Ok(vec![3, 7, 8, 9])),
            ("09-10,2", Ok(vec![9, 10, 2])),
            ("0-999", Ok((0..1000).collect())),
            ("0-1000", Err("\"0-1000\" are too many numbers: at most 1000".to_owned())),
            ("0-998,1000-1001", Err("\"0-998,1000-1001\" are too many numbers: at most 1000".to_owned())),
            ("1-3,2", Err("\"1-3,2\" holds the number 2 twice".to_owned())),
            ("", wrong("")),
            ("1,", wrong("1,")),
            ("3-1", wrong("3-1")),
            ("-1", wrong("-1")),
            ("+1", wrong("+1")),
            ("1-2-3", wrong("1-2-3")),
            ("100000", wrong("100000")),
            ("99999999999999999999", wrong("99999999999999999999")),
            ("a\n", wrong("a\n")),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Numbers>().map(|numbers| numbers.0), expected, "{text:?}");
        }
    }
}
