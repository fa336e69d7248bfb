//! What a guest asks for. Paths are compared, never put together into anything: whatever is in one, it names an answer or none.

use super::defaults::Item;

/// The versions of the EC2 metadata that this service has, all with the same content; `latest` besides. Those that AWS has published
/// since the one that is cloud-init's least: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html>.
pub const VERSIONS: [&str; 24] = [
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-07-09",
    "2022-09-24",
    "2023-02-15",
    "2023-05-10",
    "2024-04-11",
    "latest",
];

/// The path that gives out tokens.
pub const TOKEN: &str = "/latest/api/token";
/// The path that a guest reports at when it is ready.
pub const READY: &str = "/tpl/ready";
/// What NoCloud's documents are below.
pub const NOCLOUD: &str = "/nocloud/";

/// A path, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// The list of versions.
    Versions,
    /// A path of the EC2 metadata below its version, without the first slash: `meta-data/instance-id`.
    Ec2(&'a str),
    /// One of NoCloud's documents.
    NoCloud(Document),
    /// A token.
    Token,
    /// The report that a guest is ready.
    Ready,
    /// Nothing of this service.
    Nothing,
}

/// One of NoCloud's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// `meta-data`.
    MetaData,
    /// `user-data`.
    UserData,
    /// `vendor-data`.
    VendorData,
    /// `network-config`.
    NetworkConfig,
}

/// Understands a request's path, as it came: without what is after a question mark, and not decoded.
pub fn asked(path: &str) -> Asked<'_> {
    match path {
        "" | "/" => return Asked::Versions,
        TOKEN => return Asked::Token,
        READY => return Asked::Ready,
        _ => {}
    }
    if let Some(document) = path.strip_prefix(NOCLOUD) {
        return match document {
            "meta-data" => Asked::NoCloud(Document::MetaData),
            "user-data" => Asked::NoCloud(Document::UserData),
            "vendor-data" => Asked::NoCloud(Document::VendorData),
            "network-config" => Asked::NoCloud(Document::NetworkConfig),
            _ => Asked::Nothing,
        };
    }
    let below = path.strip_prefix('/').unwrap_or_default();
    let (version, rest) = below.split_once('/').unwrap_or((below, ""));
    if VERSIONS.contains(&version) { Asked::Ec2(rest) } else { Asked::Nothing }
}

impl Asked<'_> {
    /// What of the answer can be handed out once only.
    pub fn item(self) -> Option<Item> {
        match self {
            Self::NoCloud(Document::UserData) | Self::Ec2("user-data") => Some(Item::UserData),
            // NoCloud's meta-data has the keys in it.
            Self::NoCloud(Document::MetaData) => Some(Item::Keys),
            Self::Ec2(path) if path.starts_with("meta-data/public-keys/") && path.ends_with("/openssh-key") => Some(Item::Keys),
            _ => None,
        }
    }

    /// What it is called in the log and among the metrics: a few words, whatever guests ask for.
    pub fn class(self) -> &'static str {
        match self {
            Self::Versions => "versions",
            Self::Ec2("user-data") => "user-data",
            Self::Ec2(path) if path.starts_with("meta-data") => "meta-data",
            Self::Ec2(path) if path.starts_with("dynamic") => "dynamic",
            Self::Ec2(_) => "ec2",
            Self::NoCloud(_) => "nocloud",
            Self::Token => "token",
            Self::Ready => "ready",
            Self::Nothing => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths() {
        let table = [
            ("", Asked::Versions),
            ("/", Asked::Versions),
            ("/latest", Asked::Ec2("")),
            ("/latest/", Asked::Ec2("")),
            ("/latest/meta-data", Asked::Ec2("meta-data")),
            ("/2009-04-04/meta-data/", Asked::Ec2("meta-data/")),
            ("/2021-03-23/user-data", Asked::Ec2("user-data")),
            ("/2008-09-01/user-data", Asked::Nothing),
            ("/latest/api/token", Asked::Token),
            ("/tpl/ready", Asked::Ready),
            ("/nocloud/user-data", Asked::NoCloud(Document::UserData)),
            ("/nocloud/network-config", Asked::NoCloud(Document::NetworkConfig)),
            ("/nocloud/", Asked::Nothing),
            ("/nocloud/../latest/user-data", Asked::Nothing),
            ("//latest/user-data", Asked::Nothing),
            ("/LATEST/user-data", Asked::Nothing),
            ("latest/user-data", Asked::Nothing),
        ];
        for (path, expected) in table {
            assert_eq!(asked(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_secret_is_counted() {
        let table = [
            ("/latest/user-data", Some(Item::UserData)),
            ("/nocloud/user-data", Some(Item::UserData)),
            ("/nocloud/meta-data", Some(Item::Keys)),
            ("/latest/meta-data/public-keys/0/openssh-key", Some(Item::Keys)),
            ("/latest/meta-data/public-keys/", None),
            ("/latest/meta-data/instance-id", None),
        ];
        for (path, expected) in table {
            assert_eq!(asked(path).item(), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_understood_or_nothing(path in "\\PC*") {
            let asked = asked(&path);
            prop_assert!(!asked.class().is_empty());
            if let Asked::Ec2(rest) = asked {
                prop_assert!(path.ends_with(rest));
            }
        }

        #[test]
        fn only_known_beginnings_are_anything(
            path in "(/|%2f|\\.\\./|latest|2009-04-04|meta-data|user-data|nocloud|api|token|tpl|ready){0,8}"
        ) {
            let known = path.is_empty() || ["/latest", "/2009-04-04", "/nocloud/", "/tpl/ready"].iter().any(|p| path.starts_with(p)) || path == "/";
            prop_assert!(known || asked(&path) == Asked::Nothing, "{path}");
        }
    }
}
