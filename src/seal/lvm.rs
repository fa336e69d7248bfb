//! LVM's own description of a volume group, in its text format: which extents of the physical volume each volume has.

use anyhow::{Context as _, Result, ensure};

const SECTOR: u64 = 512;
/// The format nests four deep.
const DEPTH_LIMIT: usize = 16;

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The size of an extent in bytes.
    pub extent: u64,
    /// How many physical volumes it has.
    pub physical_volumes: usize,
    /// Where the first extent begins on the first physical volume, in bytes.
    pub data_start: u64,
    /// Its logical volumes.
    pub volumes: Vec<LogicalVolume>,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Its name.
    pub name: String,
    /// Its segments in logical order.
    pub segments: Vec<Segment>,
}

/// A piece of a logical volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its first extent within the volume.
    pub logical: u64,
    /// Its length in extents.
    pub count: u64,
    /// Its first extent on the physical volume; none if it is more than a plain piece of one (a stripe, a mirror, thin).
    pub physical: Option<u64>,
}

impl LogicalVolume {
    /// Its size in extents.
    pub fn extents(&self) -> u64 {
        self.segments.iter().map(|segment| segment.count).sum()
    }

    /// The extent behind its last one on the physical volume, were it `extents` long.
    pub fn end(&self, extents: u64) -> u64 {
        let kept = |segment: &Segment| segment.count.min(extents.saturating_sub(segment.logical));
        let ends = self.segments.iter().filter(|segment| kept(segment) > 0);
        ends.map(|segment| segment.physical.unwrap_or(u64::MAX / 2) + kept(segment)).max().unwrap_or(0)
    }
}

impl Group {
    /// The extent behind the last one in use.
    pub fn end(&self) -> u64 {
        self.volumes.iter().map(|volume| volume.end(u64::MAX)).max().unwrap_or(0)
    }

    /// Whether every segment is a plain piece of the one physical volume.
    pub fn is_plain(&self) -> bool {
        let plain = |volume: &LogicalVolume| {
            !volume.segments.is_empty() && volume.segments.iter().all(|segment| segment.physical.is_some())
        };
        self.physical_volumes == 1 && self.volumes.iter().all(plain)
    }

    /// Reads a group's description.
    ///
    /// # Errors
    /// It is not in LVM's text format, or something needed is missing.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().map(strip_comment).filter(|line| !line.is_empty());
        let file = Section::parse(&mut lines, 0)?;
        let (name, group) = file
            .sections
            .iter()
            .find(|(_, section)| section.section("physical_volumes").is_some())
            .context("there is no group")?;
        let physical = group.section("physical_volumes").map(|section| &section.sections[..]).unwrap_or_default();
        let (_, first) = physical.first().context("the group has no physical volume")?;
        let logical = group.section("logical_volumes").map(|section| &section.sections[..]).unwrap_or_default();
        let extent = group.number("extent_size")?.saturating_mul(SECTOR);
        ensure!((SECTOR..1 << 50).contains(&extent), "an extent has {extent} bytes");
        Ok(Self {
            name: name.clone(),
            extent,
            physical_volumes: physical.len(),
            data_start: first.number("pe_start")?.saturating_mul(SECTOR),
            volumes: logical.iter().map(|(name, section)| volume(name, section)).collect::<Result<_>>()?,
        })
    }
}

fn volume(name: &str, section: &Section) -> Result<LogicalVolume> {
    let segment = |section: &Section| -> Result<Segment> {
        let plain = section.text("type") == Some("striped") && section.text("stripe_count") == Some("1");
        let place = section.text("stripes").and_then(|stripes| stripes.rsplit(',').next()?.trim().parse().ok());
        let (logical, count) = (section.number("start_extent")?, section.number("extent_count")?);
        ensure!(logical < 1 << 40 && count < 1 << 40, "a segment of {name} has {count} extents");
        Ok(Segment { logical, count, physical: place.filter(|place| plain && *place < 1 << 40) })
    };
    let segments = section.sections.iter().filter(|(name, _)| name.starts_with("segment"));
    Ok(LogicalVolume { name: name.to_owned(), segments: segments.map(|(_, section)| segment(section)).collect::<Result<_>>()? })
}

/// A tag, which stands in quotation marks, may have a `#` in it.
fn strip_comment(line: &str) -> &str {
    let mut quoted = false;
    let end = line.find(|c: char| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    line[..end.unwrap_or(line.len())].trim()
}

/// A section of the format: `name { … }` around `key = value`.
#[derive(Default)]
struct Section {
    values: Vec<(String, String)>,
    sections: Vec<(String, Section)>,
}

impl Section {
    fn parse(lines: &mut dyn Iterator<Item = &str>, depth: usize) -> Result<Self> {
        ensure!(depth < DEPTH_LIMIT, "sections are nested too deeply");
        let mut section = Self::default();
        while let Some(line) = lines.next() {
            if line == "}" {
                return Ok(section);
            }
            if let Some(name) = line.strip_suffix('{') {
                section.sections.push((name.trim().to_owned(), Self::parse(lines, depth + 1)?));
            } else if let Some((key, value)) = line.split_once('=') {
                let mut value = value.trim().to_owned();
                while value.starts_with('[') && !value.ends_with(']') {
                    value.push_str(lines.next().context("a list does not end")?);
                }
                section.values.push((key.trim().to_owned(), value.trim_matches(['[', ']', '"']).to_owned()));
            }
        }
        ensure!(depth == 0, "a section does not end");
        Ok(section)
    }

    fn section(&self, name: &str) -> Option<&Self> {
        self.sections.iter().find(|(key, _)| key == name).map(|(_, section)| section)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<u64> {
        let text = self.text(name).with_context(|| format!("{name} is missing"))?;
        text.parse().with_context(|| format!("{name} is {text:?}, not a number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "contents = \"Text Format Volume Group\"\ndebian-vg {\n\tid = \"a\"\n\textent_size = 8192\t\t# 4 Megabytes\n\
        \tphysical_volumes {\n\t\tpv0 {\n\t\t\tpe_start = 2048\n\t\t\tpe_count = 9\t# x\n\t\t}\n\t}\n\tlogical_volumes {\n\
        \t\troot {\n\t\t\tsegment1 {\n\t\t\t\tstart_extent = 0\n\t\t\t\textent_count = 5\n\t\t\t\ttype = \"striped\"\n\
        \t\t\t\tstripe_count = 1\t# linear\n\t\t\t\tstripes = [\n\t\t\t\t\t\"pv0\", 3\n\t\t\t\t]\n\t\t\t}\n\t\t\tsegment2 {\n\
        \t\t\t\tstart_extent = 5\n\t\t\t\textent_count = 1\n\t\t\t\ttype = \"striped\"\n\t\t\t\tstripe_count = 1\n\
        \t\t\t\tstripes = [\n\"pv0\", 0\n]\n}\n}\n}\n}\n";

    #[test]
    fn a_group_is_read_with_its_segments() {
        let group = Group::parse(TEXT).unwrap();
        let segment = |logical, count, physical| Segment { logical, count, physical: Some(physical) };
        let root = LogicalVolume { name: "root".to_owned(), segments: vec![segment(0, 5, 3), segment(5, 1, 0)] };
        assert_eq!((root.extents(), root.end(6), root.end(5), root.end(2), root.end(0)), (6, 8, 8, 5, 0));
        assert!(group.is_plain());
        assert_eq!(
            group,
            Group {
                name: "debian-vg".to_owned(),
                extent: 4 << 20,
                physical_volumes: 1,
                data_start: 1 << 20,
                volumes: vec![root]
            }
        );
    }

    #[test]
    fn stripes_and_thin_volumes_are_not_plain() {
        for (old, new) in [
            ("stripe_count = 1\t", "stripe_count = 2\t"),
            ("type = \"striped\"", "type = \"thin\""),
            ("\t\t\t\t\t\"pv0\", 3", "\"pv0\""),
        ] {
            assert!(!Group::parse(&TEXT.replacen(old, new, 1)).unwrap().is_plain(), "{new}");
        }
    }

    #[test]
    fn a_tag_may_look_like_a_comment() {
        let tagged = TEXT.replacen("root {\n", "root {\n\t\t\ttags = [\"a#b\"] # two \"words\n", 1);
        assert_eq!(Group::parse(&tagged).unwrap(), Group::parse(TEXT).unwrap());
        let empty = TEXT.replace("segment1", "other1").replace("segment2", "other2");
        assert!(!Group::parse(&empty).unwrap().is_plain());
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        let table = [
            ("".to_owned(), "there is no group"),
            (TEXT[..200].to_owned(), "a section does not end"),
            ("a {\n".repeat(20), "sections are nested too deeply"),
            (TEXT.replace("extent_size = 8192", "extent_size = x"), "extent_size is \"x\", not a number"),
            (TEXT.replace("extent_size = 8192", ""), "extent_size is missing"),
            (TEXT.replace("extent_size = 8192", "extent_size = 0"), "an extent has 0 bytes"),
        ];
        for (text, error) in table {
            assert_eq!(Group::parse(&text).unwrap_err().to_string(), error);
        }
    }
}
