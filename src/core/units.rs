//! Sizes and durations as people write them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const UNITS: [(&str, u64); 5] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("B", 1)];

/// A number of bytes. Reads `1536MiB`, `20G` (a bare letter is binary, as for qemu-img and virsh), `10GB` (decimal) and
/// plain bytes; serialises as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// One mebibyte.
    pub const MIB: u64 = 1 << 20;

    /// A size of so many MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count * Self::MIB)
    }

    /// The size in KiB, rounded up: libvirt's unit for memory.
    pub fn kib_ceil(self) -> u64 {
        self.0.div_ceil(1024)
    }

    /// The next multiple of `step` bytes.
    pub fn round_up(self, step: u64) -> Self {
        Self(self.0.div_ceil(step).saturating_mul(step))
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no size: write a number with a unit, as in 1536MiB or 20G");
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_uppercase().as_str() {
            "" | "B" => 1,
            "K" | "KIB" => 1 << 10,
            "M" | "MIB" => 1 << 20,
            "G" | "GIB" => 1 << 30,
            "T" | "TIB" => 1 << 40,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(wrong);
        }
        match number.parse::<f64>() {
            // 2^53: above it a float no longer holds each byte.
            Ok(part) if part * factor as f64 <= 9.0e15 => Ok(Self((part * factor as f64).round() as u64)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (letter, factor) in UNITS {
            if self.0 >= factor {
                let unit = if factor == 1 { "B".to_owned() } else { format!("{letter}iB") };
                let whole = self.0.is_multiple_of(factor);
                let precision = usize::from(!whole);
                return f.pad(&format!("{:.precision$} {unit}", self.0 as f64 / factor as f64));
            }
        }
        f.pad("0 B")
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a size: bytes, or text as in \"20G\"")]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

/// A span of time, at most a week. Reads `90s`, `45m`, `1h30m` and plain seconds; serialises as seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no duration: write numbers with h, m or s, as in 90s or 1h30m");
        let (mut seconds, mut rest) = (0u64, text);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, unit) = rest.split_at(digits);
            let (factor, length) = match unit.chars().next() {
                None | Some('s') => (1, unit.len().min(1)),
                Some('m') => (60, 1),
                Some('h') => (3600, 1),
                Some(_) => return Err(wrong()),
            };
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
            seconds = part.and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
            rest = &unit[length..];
        }
        if text.is_empty() || seconds > 7 * 86_400 {
            return Err(wrong());
        }
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{seconds}s"),
            60..3600 => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
            _ => write!(f, "{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0.as_secs())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a duration: seconds, or text as in \"45m\"")]
        enum Written {
            Seconds(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => seconds.to_string().parse().map_err(D::Error::custom),
            Written::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let table = [
            ("1536MiB", Some(1536 << 20)),
            ("20G", Some(20 << 30)),
            ("1.5G", Some(3 << 29)),
            ("10GB", Some(10_000_000_000)),
            ("4096", Some(4096)),
            ("1 GiB", Some(1 << 30)),
            ("", None),
            ("G", None),
            ("-1G", None),
            ("1.2.3G", None),
            ("5X", None),
            ("99999999999T", None),
        ];
        for (text, bytes) in table {
            assert_eq!(text.parse::<ByteSize>().ok().map(|s| s.0), bytes, "{text}");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_unit() {
        for (bytes, text) in [(0, "0 B"), (512, "512 B"), (1 << 30, "1 GiB"), (3 << 29, "1.5 GiB"), (966 << 20, "966 MiB")] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn spans() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("45m", Some(2700)),
            ("2h", Some(7200)),
            ("7", Some(7)),
            ("1h30m", Some(5400)),
            ("1h x", None),
            ("m", None),
            ("1d", None),
            ("", None),
            ("999h", None),
        ] {
            assert_eq!(text.parse::<Span>().ok().map(|s| s.0.as_secs()), seconds, "{text}");
        }
        assert_eq!(Span(Duration::from_secs(754)).to_string(), "12m34s");
    }
}
