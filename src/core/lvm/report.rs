//! What `lvs` and `vgs` report as JSON, with sizes in bytes.

use serde::{Deserialize, de::DeserializeOwned};

use super::name::is_plain_name;
use crate::core::{
    facts::{Room, Volume},
    quoted::quoted,
    units::ByteSize,
};

/// The columns of `lvs` that [`volumes`] reads. None of a segment: a volume of several would come several times.
pub const VOLUME_COLUMNS: &str =
    "lv_name,lv_attr,lv_size,origin,origin_size,pool_lv,data_percent,metadata_percent,lv_metadata_size,lv_tags,zero";
/// The columns of `vgs` that [`group`] reads.
pub const GROUP_COLUMNS: &str = "vg_size,vg_free,vg_extent_size";
/// The tag that every volume of tpl's bears.
pub const TAG: &str = "tpl";

#[derive(Deserialize)]
struct Report<T> {
    report: [T; 1],
}

#[derive(Deserialize)]
struct VolumeRows {
    lv: Vec<VolumeRow>,
}

#[derive(Deserialize)]
struct VolumeRow {
    lv_name: String,
    lv_attr: String,
    lv_size: String,
    origin: String,
    origin_size: String,
    pool_lv: String,
    data_percent: String,
    metadata_percent: String,
    lv_metadata_size: String,
    lv_tags: String,
    zero: String,
}

#[derive(Deserialize)]
struct GroupRows {
    vg: [GroupRow; 1],
}

#[derive(Deserialize)]
struct GroupRow {
    vg_size: String,
    vg_free: String,
    vg_extent_size: String,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Its name.
    pub name: String,
    /// How large it is; of a classic snapshot, its room.
    pub size: ByteSize,
    /// What it is.
    pub kind: LvKind,
    /// Whether it bears tpl's tag.
    pub own: bool,
    /// Whether nothing can be written to it.
    pub read_only: bool,
}

/// What a logical volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LvKind {
    /// It has all of its extents.
    Thick,
    /// A classic snapshot.
    Snapshot {
        /// What it stands on.
        origin: String,
        /// How large it looks.
        capacity: ByteSize,
        /// What is taken of its room.
        used: ByteSize,
        /// Its room was full.
        lost: bool,
    },
    /// A thin volume.
    Thin {
        /// The thin pool that it is in.
        pool: String,
        /// What it takes there, together with what it shares.
        used: ByteSize,
    },
    /// A thin pool.
    ThinPool(ThinPoolSize),
    /// A pool of another kind, whose volumes tpl does not know.
    OtherPool,
}

/// How full a thin pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThinPoolSize {
    /// What is taken of its data.
    pub used: ByteSize,
    /// Its metadata.
    pub metadata: ByteSize,
    /// What is taken of that.
    pub metadata_used: ByteSize,
    /// Whether what it gives away anew reads as zeros.
    pub zeroes: bool,
    /// Whether it is active. Of one that is not, nobody knows how full it is.
    pub active: bool,
}

impl LogicalVolume {
    /// The volume of a storage pool that it is, in the volume group with this folder of devices.
    pub fn volume(&self, folder: &str) -> Volume {
        let (capacity, allocation, room) = match &self.kind {
            LvKind::Snapshot { capacity, used, lost, .. } => {
                (*capacity, self.size, Some(Room { size: self.size, used: *used, lost: *lost, own: self.own }))
            }
            LvKind::Thin { used, .. } => (self.size, *used, None),
            LvKind::Thick | LvKind::ThinPool(_) | LvKind::OtherPool => (self.size, self.size, None),
        };
        Volume { name: self.name.clone(), path: format!("{folder}/{}", self.name), capacity, allocation, room }
    }
}

/// The volumes of a group that `lvs` has reported, by name.
///
/// # Errors
/// It is no such report.
pub fn volumes(json: &str) -> Result<Vec<LogicalVolume>, String> {
    let Report { report: [rows] } = parse::<Report<VolumeRows>>("lvs", json)?;
    let mut volumes: Vec<LogicalVolume> = rows.lv.into_iter().map(volume).collect::<Result<_, _>>()?;
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(volumes)
}

/// The size of a volume group, and what of it is free, that `vgs` has reported.
///
/// # Errors
/// It is no such report.
pub fn group(json: &str) -> Result<(ByteSize, ByteSize, ByteSize), String> {
    let Report { report: [GroupRows { vg: [row] }] } = parse::<Report<GroupRows>>("vgs", json)?;
    Ok((size(&row.vg_size)?, size(&row.vg_free)?, size(&row.vg_extent_size)?))
}

fn parse<T: DeserializeOwned>(program: &str, json: &str) -> Result<T, String> {
    serde_json::from_str(json).map_err(|error| format!("reading what {program} reports: {error}"))
}

fn volume(row: VolumeRow) -> Result<LogicalVolume, String> {
    let wrong = |what: &str, text: &str| format!("reading what lvs reports of {}: {what} {}", quoted(&row.lv_name), quoted(text));
    if !is_plain_name(&row.lv_name) {
        return Err(format!("reading what lvs reports: {} is no name", quoted(&row.lv_name)));
    }
    let attributes: Vec<char> = row.lv_attr.chars().collect();
    let [kind, permissions, _, _, state, ..] = attributes[..] else { return Err(wrong("its attributes are", &row.lv_attr)) };
    let whole = size(&row.lv_size)?;
    let used = || part(whole, &row.data_percent);
    let kind = match kind {
        's' | 'S' => LvKind::Snapshot {
            // Of a lost one nothing is told any more.
            capacity: if row.origin_size.is_empty() { whole } else { size(&row.origin_size)? },
            origin: row.origin,
            used: used()?,
            lost: matches!(state, 'I' | 'S'),
        },
        't' => {
            let metadata = size(&row.lv_metadata_size)?;
            LvKind::ThinPool(ThinPoolSize {
                used: used()?,
                metadata,
                metadata_used: part(metadata, &row.metadata_percent)?,
                zeroes: row.zero == "zero",
                active: !row.data_percent.is_empty() && !row.metadata_percent.is_empty(),
            })
        }
        'd' => LvKind::OtherPool,
        'V' if row.pool_lv.is_empty() => return Err(wrong("it is in the thin pool", "")),
        'V' => LvKind::Thin { used: used()?, pool: row.pool_lv },
        _ => LvKind::Thick,
    };
    Ok(LogicalVolume {
        size: whole,
        kind,
        own: row.lv_tags.split(',').any(|tag| tag == TAG),
        read_only: permissions == 'r',
        name: row.lv_name,
    })
}

fn size(text: &str) -> Result<ByteSize, String> {
    text.parse().map(ByteSize).map_err(|_| format!("reading what lvm2 reports: {} is no number of bytes", quoted(text)))
}

/// So many percent of `whole`; nothing where none are told: of what is not active nothing is known.
fn part(whole: ByteSize, percent: &str) -> Result<ByteSize, String> {
    if percent.is_empty() {
        return Ok(ByteSize(0));
    }
    let wrong = || format!("reading what lvm2 reports: {} is no percentage", quoted(percent));
    let number: f64 = percent.parse().map_err(|_| wrong())?;
    if !(0.0..=100.0).contains(&number) {
        return Err(wrong());
    }
    // lvm2 tells two digits behind the point.
    let hundredths = (number * 100.0).round() as u128;
    Ok(ByteSize(u64::try_from(u128::from(whole.0) * hundredths / 10_000).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As lvm2 2.03.31 reports it.
    const VOLUMES: &str = r#"  {
      "report": [
          {
              "lv": [
                  {"lv_name":"web1", "lv_attr":"swi-a-s---", "lv_size":"4194304", "origin":"gold", "origin_size":"12582912", "pool_lv":"", "data_percent":"25.00", "metadata_percent":"", "lv_metadata_size":"", "lv_tags":"tpl", "zero":"unknown"},
                  {"lv_name":"web2", "lv_attr":"swi-I-s---", "lv_size":"4194304", "origin":"gold", "origin_size":"", "pool_lv":"", "data_percent":"100.00", "metadata_percent":"", "lv_metadata_size":"", "lv_tags":"a,tpl", "zero":"unknown"},
                  {"lv_name":"gold", "lv_attr":"ori-a-s---", "lv_size":"12582912", "origin":"", "origin_size":"12582912", "pool_lv":"", "data_percent":"", "metadata_percent":"", "lv_metadata_size":"", "lv_tags":"", "zero":"unknown"},
                  {"lv_name":"thin", "lv_attr":"Vri-a-tz--", "lv_size":"12582912", "origin":"", "origin_size":"", "pool_lv":"pool", "data_percent":"41.67", "metadata_percent":"", "lv_metadata_size":"", "lv_tags":"tplx", "zero":"zero"},
                  {"lv_name":"pool", "lv_attr":"twi-aotz--", "lv_size":"8589934592", "origin":"", "origin_size":"", "pool_lv":"", "data_percent":"0.06", "metadata_percent":"10.42", "lv_metadata_size":"16777216", "lv_tags":"", "zero":"zero"}
              ]
          }
      ]
      ,
      "log": [
      ]
  }
"#;

    #[test]
    fn a_report_is_read() {
        let mib = |count: u64| ByteSize(count << 20);
        let snapshot = |used, lost, capacity| LvKind::Snapshot { origin: "gold".to_owned(), capacity, used, lost };
        let pool = ThinPoolSize {
            used: ByteSize(5_153_960),
            metadata: mib(16),
            metadata_used: ByteSize(1_748_185),
            zeroes: true,
            active: true,
        };
        let lv = |name: &str, size, kind, own, read_only| LogicalVolume { name: name.to_owned(), size, kind, own, read_only };
        let expected = [
            lv("gold", mib(12), LvKind::Thick, false, true),
            lv("pool", mib(8192), LvKind::ThinPool(pool), false, false),
            lv("thin", mib(12), LvKind::Thin { pool: "pool".to_owned(), used: ByteSize(5_243_299) }, false, true),
            lv("web1", mib(4), snapshot(mib(1), false, mib(12)), true, false),
            lv("web2", mib(4), snapshot(mib(4), true, mib(4)), true, false),
        ];
        let found = volumes(VOLUMES).unwrap();
        assert_eq!(found, expected);

        let seen: Vec<(String, u64, u64, Option<Room>)> = found
            .iter()
            .map(|lv| lv.volume("/dev/vg0"))
            .map(|volume| (volume.path, volume.capacity.0 >> 20, volume.allocation.0 >> 20, volume.room))
            .collect();
        let room = |used, lost| Some(Room { size: mib(4), used: mib(used), lost, own: true });
        let expected = [
            ("/dev/vg0/gold", 12, 12, None),
            ("/dev/vg0/pool", 8192, 8192, None),
            ("/dev/vg0/thin", 12, 5, None),
            ("/dev/vg0/web1", 12, 4, room(1, false)),
            ("/dev/vg0/web2", 4, 4, room(4, true)),
        ];
        assert_eq!(seen, expected.map(|(path, capacity, allocation, room)| (path.to_owned(), capacity, allocation, room)));
    }

    #[test]
    fn of_an_inactive_thin_pool_nothing_is_known() {
        for percent in ["\"0.06\"", "\"10.42\""] {
            let found = volumes(&VOLUMES.replacen(percent, "\"\"", 1)).unwrap();
            let pool = found.iter().find(|volume| volume.name == "pool").unwrap();
            assert!(matches!(pool.kind, LvKind::ThinPool(ThinPoolSize { active: false, .. })), "{percent}");
        }
    }

    #[test]
    fn an_empty_group_has_no_volumes() {
        let json = r#"{"report":[{"lv":[]}]}"#;
        assert_eq!(volumes(json), Ok(vec![]));
        let json =
            r#"{"report":[{"vg":[{"vg_size":"10733223936", "vg_free":"10716446720", "vg_extent_size":"4194304"}]}],"log":[]}"#;
        assert_eq!(group(json), Ok((ByteSize(10_733_223_936), ByteSize(10_716_446_720), ByteSize(4_194_304))));
    }

    #[test]
    fn what_is_no_report_is_an_error() {
        let bad = |from: &str, to: &str| {
            assert!(VOLUMES.contains(from), "{from}");
            volumes(&VOLUMES.replacen(from, to, 1)).unwrap_err()
        };
        let table = [
            ("\"lv_size\":\"4194304\"", "\"lv_size\":\"4.00m\"", "reading what lvm2 reports: \"4.00m\" is no number of bytes"),
            ("\"lv_size\":\"4194304\"", "\"lv_size\":\"-1\"", "reading what lvm2 reports: \"-1\" is no number of bytes"),
            ("\"25.00\"", "\"101\"", "reading what lvm2 reports: \"101\" is no percentage"),
            ("\"25.00\"", "\"NaN\"", "reading what lvm2 reports: \"NaN\" is no percentage"),
            ("swi-a-s---", "swi", "reading what lvs reports of \"web1\": its attributes are \"swi\""),
            ("\"web1\"", "\"../web1\"", "reading what lvs reports: \"../web1\" is no name"),
            ("\"pool_lv\":\"pool\"", "\"pool_lv\":\"\"", "reading what lvs reports of \"thin\": it is in the thin pool \"\""),
        ];
        for (from, to, expected) in table {
            assert_eq!(bad(from, to), expected);
        }
        for json in ["", "{}", r#"{"report":[]}"#, r#"{"report":[{"lv":[{}]}]}"#, r#"{"report":[{"vg":[]}]}"#] {
            assert!(volumes(json).is_err() && group(json).is_err(), "{json}");
        }
    }
}
