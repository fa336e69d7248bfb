//! Closing the gaps in a volume group: its volumes stand one behind the other afterwards. LVM's own way is to mirror each of
//! them to its new place and takes as long; here the places are written into its description, and the bytes move later.

use anyhow::{Context as _, Result, ensure};

use crate::seal::lvm::Group;

/// A piece of a volume and where it goes, in extents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The volume.
    pub(super) volume: String,
    /// Its first extent within the volume.
    pub(super) logical: u64,
    /// Its length.
    pub(super) count: u64,
    /// Where it stands on the physical volume.
    pub(super) from: u64,
    /// Where it goes; never behind that.
    pub(super) to: u64,
}

/// Where every piece of a group of plain volumes goes, in the order in which they stand.
///
/// # Errors
/// A piece is no plain one, or two stand on the same extents.
pub(super) fn packed(group: &Group) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for volume in &group.volumes {
        for segment in &volume.segments {
            let from = segment.physical.with_context(|| format!("volume {} is more than a plain one", volume.name))?;
            let (logical, count) = (segment.logical, segment.count);
            pieces.push(Piece { volume: volume.name.clone(), logical, count, from, to: 0 });
        }
    }
    pieces.sort_by_key(|piece| piece.from);
    let mut end = 0;
    let mut taken = 0;
    for piece in &mut pieces {
        ensure!(piece.from >= taken, "volume {} stands where another one does", piece.volume);
        taken = piece.from + piece.count;
        piece.to = end;
        end += piece.count;
    }
    Ok(pieces)
}

/// The group's description with the pieces in their new places; every other word of it stays.
///
/// # Errors
/// It is not written as LVM writes it.
pub(super) fn described(text: &str, pieces: &[Piece]) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut path: Vec<&str> = Vec::new();
    let mut logical = None;
    let mut in_stripes = false;
    for line in text.split_inclusive('\n') {
        let bare = line.split('#').next().unwrap_or_default().trim();
        if let Some(name) = bare.strip_suffix('{') {
            path.push(name.trim());
        } else if bare == "}" {
            path.pop();
        }
        let volume = match path[..] {
            [_, "logical_volumes", volume, segment] if segment.starts_with("segment") => Some(volume),
            _ => None,
        };
        if let Some(value) = bare.strip_prefix("start_extent = ").filter(|_| volume.is_some()) {
            logical = value.parse::<u64>().ok();
        }
        in_stripes |= volume.is_some() && bare.starts_with("stripes = [");
        let place = bare.trim_end_matches(']').rsplit_once(',').filter(|_| in_stripes).map(|(_, place)| place.trim());
        match place.filter(|place| !place.is_empty()) {
            Some(place) => {
                let piece = pieces.iter().find(|piece| Some(piece.volume.as_str()) == volume && Some(piece.logical) == logical);
                let piece = piece.context("a piece of a volume group has no place")?;
                let (before, after) = line.rsplit_once(place).context("a piece of a volume group has no place")?;
                out.push_str(&format!("{before}{}{after}", piece.to));
            }
            None => out.push_str(line),
        }
        in_stripes &= !bare.ends_with(']');
    }
    // Read again: what LVM is given says what is meant.
    let again = packed(&Group::parse(&out)?)?;
    let same = again.len() == pieces.len()
        && again
            .iter()
            .zip(pieces)
            .all(|(new, old)| (&new.volume, new.logical, new.count, new.from) == (&old.volume, old.logical, old.count, old.to));
    ensure!(same, "the description of the volume group is not written as LVM writes it");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "contents = \"Text Format Volume Group\"\nversion = 1\nvg {\nid = \"5, 7\"\nextent_size = 8192\t# 4 Megabytes\n\
        physical_volumes {\npv0 {\npe_start = 2048\n}\n}\nlogical_volumes {\nroot {\nsegment_count = 2\nsegment1 {\n\
        start_extent = 0\nextent_count = 5\ntype = \"striped\"\nstripe_count = 1\t# linear\nstripes = [\n\"pv0\", 20\n]\n}\n\
        segment2 {\nstart_extent = 5\nextent_count = 2\ntype = \"striped\"\nstripe_count = 1\nstripes = [\n\"pv0\", 2\n]\n}\n}\n\
        swap {\nsegment1 {\nstart_extent = 0\nextent_count = 3\ntype = \"striped\"\nstripe_count = 1\nstripes = [\n\"pv0\", 30\n]\n\
        }\n}\n}\n}\n";

    #[test]
    fn pieces_stand_one_behind_the_other() {
        let pieces = packed(&Group::parse(TEXT).unwrap()).unwrap();
        let list: Vec<_> =
            pieces.iter().map(|piece| (piece.volume.as_str(), piece.logical, piece.count, piece.from, piece.to)).collect();
        assert_eq!(list, [("root", 5, 2, 2, 0), ("root", 0, 5, 20, 2), ("swap", 0, 3, 30, 7)]);
        let expected = TEXT.replace("\"pv0\", 20\n", "\"pv0\", 2\n").replacen("\"pv0\", 2\n]\n}\n}", "\"pv0\", 0\n]\n}\n}", 1);
        assert_eq!(described(TEXT, &pieces).unwrap(), expected.replace("\"pv0\", 30", "\"pv0\", 7"));
    }

    #[test]
    fn what_is_not_plain_has_no_place() {
        let overlap = TEXT.replace("\"pv0\", 30", "\"pv0\", 24");
        let striped = TEXT.replacen("stripe_count = 1\n", "stripe_count = 2\n", 1);
        for (text, error) in
            [(overlap, "volume swap stands where another one does"), (striped, "volume root is more than a plain one")]
        {
            assert_eq!(packed(&Group::parse(&text).unwrap()).unwrap_err().to_string(), error);
        }
        let pieces = packed(&Group::parse(TEXT).unwrap()).unwrap();
        assert_eq!(described(TEXT, &pieces[1..]).unwrap_err().to_string(), "a piece of a volume group has no place");
    }
}
