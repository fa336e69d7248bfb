use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const HASH: &str = "$5$salt$Gcm6FsVtF/Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1";

fn spec(text: &str) -> GuestSpec {
    toml::from_str(text).unwrap()
}

#[test]
fn faults_are_found_all_at_once() {
    let spec = spec(
        r#"
user = "admin"
packages = ["git", "-oDir=/", ""]
timezone = "../../etc/shadow"
locale = "-x"
apt_mirror = "ftp://a/debian"
runcmd = ["ls", " ", "a\u0000b"]
users = [{ name = "bob" }, { name = "admin" }, { name = "bob" }]
write_files = [
    { path = "/", content = "" },
    { path = "/a", content = "", source = "a" },
    { path = "/a" },
    { path = "/b", content = "", owner = "bob:adm" },
    { path = "/c", content = "", owner = "a:b:c" },
    { path = "/d", content = "", owner = "1000" },
]
"#,
    );
    assert_eq!(
        faults(&spec),
        [
            "the user admin is asked for twice",
            "the user bob is asked for twice",
            "\"-oDir=/\" is no package",
            "\"\" is no package",
            "\"../../etc/shadow\" is no time zone, as in Europe/Vienna",
            "\"-x\" is no locale, as in en_US.UTF-8",
            "\"ftp://a/debian\" cannot be a mirror: only http and https are possible",
            "a command of runcmd is empty, or holds a NUL",
            "a command of runcmd is empty, or holds a NUL",
            "/ is no file to write",
            "/a needs one of the two: content, or the source that it is in",
            "/a is written twice",
            "/a needs one of the two: content, or the source that it is in",
            "/c has no such owner: write user or user:group",
            "/d has no such owner: write user or user:group",
        ]
    );
    assert_eq!(faults(&GuestSpec::default()), [""; 0]);
}

fn guest() -> Guest {
    let words = |words: &[&str]| spec(&format!("packages = {words:?}")).packages;
    let user = |name: &str| User {
        name: name.parse().unwrap(),
        keys: Vec::new(),
        password_hash: None,
        groups: vec!["adm".parse().unwrap(), "sudo".parse().unwrap()],
        sudo: false,
    };
    let file = |path: &str| File { path: path.parse().unwrap(), content: Secret::new(b"x".to_vec()), mode: None, owner: None };
    Guest {
        user: Some("admin".parse().unwrap()),
        keys: vec![KEY.parse().unwrap(), OTHER.parse().unwrap()],
        users: vec![user("ann"), user("bob")],
        packages: words(&["git", "vim"]),
        write_files: vec![file("/a"), file("/b")],
        runcmd: vec!["ls".to_owned(), "true".to_owned()],
        ..Guest::default()
    }
}

#[test]
fn the_order_of_wishes_makes_no_difference() {
    let mut other = guest();
    other.keys.reverse();
    other.keys[0] = format!("{OTHER} with a comment").parse().unwrap();
    other.users.reverse();
    other.users[0].groups.reverse();
    other.packages.reverse();
    other.write_files.reverse();
    assert_eq!(guest().digest(), other.digest());
    // Written into metadata: another value here makes every VM look as if its file had changed.
    assert_eq!(guest().digest(), "22b3eede2f345ec722f04a9b5bea517a0c219c6e631d6327f11faff6f5798f04");
    assert_eq!(Guest::default().digest(), "69976009f47654fb92b9e33097e1aab39548eee544ca5dd4834e633cf376662f");
}

#[test]
fn other_wishes_make_another_digest_and_secrets_none() {
    let changes: [fn(&mut Guest); 11] = [
        |guest| guest.user = None,
        |guest| drop(guest.keys.pop()),
        |guest| guest.password_hash = HASH.parse().ok(),
        |guest| guest.users[0].sudo = true,
        |guest| drop(guest.packages.pop()),
        |guest| guest.timezone = guest.packages.pop(),
        |guest| guest.locale = guest.packages.pop(),
        |guest| guest.write_files[0].content = Secret::new(Vec::new()),
        |guest| guest.write_files[0].mode = "0600".parse().ok(),
        |guest| guest.runcmd.reverse(),
        |guest| guest.user_data = UserData::parse("u", b"#!/bin/sh\n").ok(),
    ];
    let mut seen = BTreeSet::from([guest().digest()]);
    for (index, change) in changes.into_iter().enumerate() {
        let mut changed = guest();
        change(&mut changed);
        assert!(seen.insert(changed.digest()), "change {index}");
    }
    let with = |hash: &str| Guest { password_hash: hash.parse().ok(), ..guest() }.digest();
    assert_eq!(with(HASH), with(&HASH.replace("Gcm", "AAA")));
    assert_eq!(guest().content_size(), 8);
}
