//! How long ago something was used, as people write it: `30d`.

use std::{fmt, str::FromStr, time::Duration};

const UNITS: [(char, u64); 3] = [('w', 7 * 86_400), ('d', 86_400), ('h', 3600)];

/// An age: a number with `h`, `d` or `w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age(pub Duration);

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no age: write a number with h, d or w, as in 30d");
        let seconds = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
        let (number, factor) = seconds.ok_or_else(wrong)?;
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(wrong)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..3600 => f.pad(&format!("{}m", seconds / 60)),
            3600..172_800 => f.pad(&format!("{}h", seconds / 3600)),
            _ => f.pad(&format!("{}d", seconds / 86_400)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        let day = 86_400;
        let table = [
            ("30d", Some((30 * day, "30d"))),
            ("0d", Some((0, "0m"))),
            ("1w", Some((7 * day, "7d"))),
            ("36h", Some((36 * 3600, "36h"))),
            ("", None),
            ("d", None),
            ("30", None),
            ("+3d", None),
            ("1.5d", None),
            ("99999999999999999999d", None),
            ("18446744073709551615w", None),
        ];
        for (text, expected) in table {
            let found = text.parse::<Age>().ok();
            assert_eq!(found.map(|age| (age.0.as_secs(), age.to_string())), expected.map(|(s, t)| (s, t.to_owned())), "{text}");
        }
    }
}
