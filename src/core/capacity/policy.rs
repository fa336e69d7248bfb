//! How much of a hypervisor may be promised: the configuration's `[admission]`.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, Visitor},
};

/// `[admission]` of a configuration file. Each key may be absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyFile {
    /// How many vCPUs may be promised for each logical CPU, as in 1.5.
    pub cpu_overcommit: Option<Overcommit>,
    /// How much of each axis may be promised, in percent.
    pub cap: Option<CapPercent>,
}

impl PolicyFile {
    /// This file's settings, where it has them, over an earlier one's.
    #[must_use]
    pub fn over(self, earlier: Self) -> Self {
        Self { cpu_overcommit: self.cpu_overcommit.or(earlier.cpu_overcommit), cap: self.cap.or(earlier.cap) }
    }
}

/// How many vCPUs may be promised for each logical CPU: 0.1 to 100, kept in whole percent, so that nothing is compared as a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overcommit(u32);

impl Overcommit {
    /// One vCPU for each logical CPU.
    pub const NONE: Self = Self(100);

    /// The factor in percent: 150 for 1.5.
    pub fn percent(self) -> u32 {
        self.0
    }

    fn of(factor: f64) -> Result<Self, String> {
        // A NaN is in no range.
        if !(0.1..=100.0).contains(&factor) {
            return Err(format!("cpu_overcommit is {factor}: 0.1 to 100 are possible"));
        }
        Ok(Self((factor * 100.0).round() as u32))
    }
}

impl FromStr for Overcommit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("{text:?} is no factor: write it as in 1.5")).and_then(Self::of)
    }
}

impl FromStr for CapPercent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cap = text.parse().ok().filter(|cap| (1..=100).contains(cap));
        cap.map(Self).ok_or_else(|| format!("{text:?} is no cap: 1 to 100 percent are possible"))
    }
}

impl fmt::Display for Overcommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 100.0)
    }
}

impl Serialize for Overcommit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 100.0)
    }
}

impl<'de> Deserialize<'de> for Overcommit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// TOML tells `2` from `2.0`; people don't.
        struct Number;

        impl Visitor<'_> for Number {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, as in 1.5")
            }

            fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
                Ok(value)
            }

            fn visit_i64<E>(self, value: i64) -> Result<f64, E> {
                Ok(value as f64)
            }

            fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
                Ok(value as f64)
            }
        }

        Self::of(deserializer.deserialize_any(Number)?).map_err(D::Error::custom)
    }
}

/// How much of an axis may be promised: 1 to 100 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CapPercent(u8);

impl CapPercent {
    /// The percentage.
    pub fn percent(self) -> u8 {
        self.0
    }
}

impl<'de> Deserialize<'de> for CapPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = i64::deserialize(deserializer)?;
        let cap = u8::try_from(percent).ok().filter(|cap| (1..=100).contains(cap));
        cap.map(Self).ok_or_else(|| D::Error::custom(format!("cap is {percent}: 1 to 100 percent are possible")))
    }
}

/// How much of a hypervisor may be promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// How many vCPUs may be promised for each logical CPU.
    pub cpu_overcommit: Overcommit,
    /// How much of each axis may be promised.
    pub cap: CapPercent,
}

impl Policy {
    /// What a configuration says, with defaults for what is absent.
    pub fn of(file: PolicyFile) -> Self {
        let default = Self::default();
        Self { cpu_overcommit: file.cpu_overcommit.unwrap_or(default.cpu_overcommit), cap: file.cap.unwrap_or(default.cap) }
    }
}

impl Default for Policy {
    /// A vCPU for each logical CPU, and nine tenths of everything: the host itself needs the rest.
    fn default() -> Self {
        Self { cpu_overcommit: Overcommit::NONE, cap: CapPercent(90) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::toml_text;

    #[test]
    fn a_policy_is_read_strictly() {
        let table = [
            ("", Ok((100, 90))),
            ("cpu_overcommit = 1.5\ncap = 80", Ok((150, 80))),
            ("cpu_overcommit = 4", Ok((400, 90))),
            ("cpu_overcommit = 0.1\ncap = 1", Ok((10, 1))),
            ("cpu_overcommit = 100\ncap = 100", Ok((10_000, 100))),
            ("cpu_overcommit = 0.09", Err("c:1:18: cpu_overcommit is 0.09: 0.1 to 100 are possible")),
            ("cpu_overcommit = -1", Err("c:1:18: cpu_overcommit is -1: 0.1 to 100 are possible")),
            ("cpu_overcommit = 101", Err("c:1:18: cpu_overcommit is 101: 0.1 to 100 are possible")),
            ("cpu_overcommit = nan", Err("c:1:18: cpu_overcommit is NaN: 0.1 to 100 are possible")),
            ("cpu_overcommit = inf", Err("c:1:18: cpu_overcommit is inf: 0.1 to 100 are possible")),
            ("cpu_overcommit = '2'", Err("c:1:18: invalid type: string \"2\", expected a number, as in 1.5")),
            ("cap = 0", Err("c:1:7: cap is 0: 1 to 100 percent are possible")),
            ("cap = 101", Err("c:1:7: cap is 101: 1 to 100 percent are possible")),
            ("cap = 256", Err("c:1:7: cap is 256: 1 to 100 percent are possible")),
            ("cap = 90.5", Err("c:1:7: invalid type: floating point `90.5`, expected i64")),
            ("cup = 90", Err("c:1:1: unknown field `cup`, expected `cpu_overcommit` or `cap`")),
        ];
        for (text, expected) in table {
            let policy = toml_text::parse::<PolicyFile>("c", text).map(Policy::of);
            let read = policy.map(|policy| (policy.cpu_overcommit.percent(), policy.cap.percent()));
            assert_eq!(read.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn the_later_file_wins_key_by_key() {
        let file = |text: &str| toml_text::parse::<PolicyFile>("c", text).unwrap();
        let both = file("cap = 50").over(file("cap = 60\ncpu_overcommit = 3"));
        assert_eq!(Policy::of(both), Policy { cpu_overcommit: Overcommit(300), cap: CapPercent(50) });
        assert_eq!(serde_json::to_string(&Policy::of(both)).unwrap(), r#"{"cpu_overcommit":3.0,"cap":50}"#);
    }
}
