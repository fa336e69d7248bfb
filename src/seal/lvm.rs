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
        let plain = |volume: &LogicalVolume| volume.segments.iter().all(|segment| segment.physical.is_some());
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

fn strip_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
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
