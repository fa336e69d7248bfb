//! How the VMs of a call come to their names.

use std::collections::BTreeSet;

use anyhow::Result;
use uuid::Uuid;

use super::{
    error::{Invalid, Refusal},
    names::{NamePattern, VmName},
    numbers::Numbers,
};

/// So many letters a random name has: 26^8 of them make two alike unlikely, and they still fit a label.
const RANDOM_LETTERS: usize = 8;

/// What the operator says about the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// So many, with the lowest free numbers.
    Pattern(NamePattern, usize),
    /// These numbers, put into a pattern, or behind a plain name.
    Numbers(NamePattern, Numbers),
    /// These.
    List(Vec<VmName>),
    /// So many, of random letters.
    Random(usize),
}

impl Naming {
    /// The names. `taken` tells who has one already: that is asked of each name, and those that the operator has fixed are
    /// refused all at once.
    ///
    /// # Errors
    /// [`Invalid`] for what cannot be a name, [`Refusal`] for what is taken.
    pub fn choose(&self, taken: &dyn Fn(&str) -> Option<String>, fresh: &mut dyn FnMut() -> Uuid) -> Result<Vec<VmName>> {
        let fixed = match self {
            Self::Pattern(pattern, count) if pattern.is_numbered() => {
                return Ok(pattern.free(*count, &|name| taken(name).is_some()).map_err(Invalid::argument)?);
            }
            Self::Pattern(pattern, count) => vec![pattern.only(*count).map_err(Invalid::argument)?],
            Self::Numbers(pattern, numbers) => {
                let names: Result<Vec<_>, String> = numbers.as_slice().iter().map(|n| pattern.with_number(*n)).collect();
                names.map_err(Invalid::argument)?
            }
            Self::List(names) => names.clone(),
            Self::Random(count) => return Ok(random(*count, taken, fresh)),
        };
        all_free(&fixed, taken)?;
        Ok(fixed)
    }
}

/// That nobody has these names, and none stands there twice.
///
/// # Errors
/// [`Refusal`] with all that are taken.
pub fn all_free(names: &[VmName], taken: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(Invalid::argument(format!("'{twice}' is named twice")).into());
    }
    let reasons: Vec<String> =
        names.iter().filter_map(|name| Some(format!("'{name}' is taken: {}", taken(name.as_str())?))).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, advice: Some("choose another name, or a pattern as in web{:02}".to_owned()) }.into())
}

fn random(count: usize, taken: &dyn Fn(&str) -> Option<String>, fresh: &mut dyn FnMut() -> Uuid) -> Vec<VmName> {
    let mut names: Vec<VmName> = Vec::with_capacity(count);
    while names.len() < count {
        // The first bytes of a random UUID are random; some in the middle are not.
        let letters = fresh().into_bytes().into_iter().take(RANDOM_LETTERS - 2).chain(fresh().into_bytes().into_iter().take(2));
        let name: String = letters.map(|byte| char::from(b'a' + byte % 26)).collect();
        if let Ok(name) = name.parse::<VmName>()
            && taken(name.as_str()).is_none()
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(naming: &Naming, others: &[&str]) -> String {
        let taken = |name: &str| others.contains(&name).then(|| "a domain has it".to_owned());
        let mut next = 0_u128;
        let mut fresh = || {
            next += 1;
            Uuid::from_u128(next << 120)
        };
        match naming.choose(&taken, &mut fresh) {
            Ok(names) => names.iter().map(VmName::as_str).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn names_of_all_kinds() {
        let numbers = |pattern: &str, numbers: &str| Naming::Numbers(pattern.parse().unwrap(), numbers.parse().unwrap());
        let list = |names: &[&str]| Naming::List(names.iter().map(|name| name.parse().unwrap()).collect());
        let table = [
            (Naming::Pattern("web{:02}".parse().unwrap(), 2), &["web01"][..], "web02 web03"),
            (Naming::Pattern("web".parse().unwrap(), 1), &[], "web"),
            (
                Naming::Pattern("web".parse().unwrap(), 2),
                &[],
                "2 clones cannot all be called 'web': write 'web{}' to number them",
            ),
            (
                Naming::Pattern("web".parse().unwrap(), 1),
                &["web"],
                "'web' is taken: a domain has it\nchoose another name, or a pattern as in web{:02}",
            ),
            (numbers("vnode", "3,7-9"), &[], "vnode3 vnode7 vnode8 vnode9"),
            (numbers("v{:03}-x", "3"), &[], "v003-x"),
            (
                numbers("v", "1-3"),
                &["v1", "v3"],
                "'v1' is taken: a domain has it\n'v3' is taken: a domain has it\nchoose another name, or a pattern as in web{:02}",
            ),
            (list(&["a", "b"]), &[], "a b"),
            (list(&["a", "a"]), &[], "'a' is named twice"),
            (Naming::Random(2), &[], "baaaaaca daaaaaea"),
            (Naming::Random(1), &["baaaaaca"], "daaaaaea"),
        ];
        for (naming, others, expected) in table {
            assert_eq!(chosen(&naming, others), expected, "{naming:?}");
        }
    }
}
