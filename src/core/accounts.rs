//! A guest's account files: passwd(5), shadow(5), group(5), gshadow(5). Edited as text, for no program of the guest's may run.
//!
//! Lines that are not about what is changed stay byte for byte, broken ones too.

use super::{names::UserName, vm_spec::GuestPath};

/// Numbers of people and their groups: `UID_MIN` and `UID_MAX` of every distribution of today.
const PEOPLE: std::ops::Range<u32> = 1000..60_000;
/// Numbers of groups that belong to the system, given away from their end.
const SYSTEM: std::ops::Range<u32> = 100..1000;
/// The password field that no password matches, and that is not `!`: for a locked account sshd without PAM takes no key either.
const NO_PASSWORD: &str = "*";

/// The account files of one guest. Holds password hashes: no `Debug`.
pub struct Accounts {
    passwd: Vec<String>,
    /// None where passwords stand in passwd itself.
    shadow: Option<Vec<String>>,
    group: Vec<String>,
    gshadow: Option<Vec<String>>,
}

/// Who a user is to the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user's number.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
    /// The user's home.
    pub home: GuestPath,
    /// Whether the user was not there before.
    pub new: bool,
}

/// What the four files hold; of the shadow files none where there is none.
pub struct Texts {
    /// `/etc/passwd`.
    pub passwd: String,
    /// `/etc/shadow`.
    pub shadow: Option<String>,
    /// `/etc/group`.
    pub group: String,
    /// `/etc/gshadow`.
    pub gshadow: Option<String>,
}

/// The first person in a passwd who can log in: not of the system, and with a shell.
pub fn first_person(passwd: &str) -> Option<UserName> {
    let person = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, _, _, _, shell] = fields[..] else { return None };
        let uid: u32 = uid.parse().ok()?;
        let opens = !shell.is_empty() && !["nologin", "false", "sync"].contains(&shell.rsplit('/').next().unwrap_or_default());
        (PEOPLE.contains(&uid) && opens).then(|| name.parse().ok().map(|name: UserName| (uid, name)))?
    };
    passwd.lines().filter_map(person).min_by_key(|(uid, _)| *uid).map(|(_, name)| name)
}

impl Accounts {
    /// Takes the files.
    pub fn parse(texts: &Texts) -> Self {
        let lines = |text: &String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        Self {
            passwd: lines(&texts.passwd),
            shadow: texts.shadow.as_ref().map(lines),
            group: lines(&texts.group),
            gshadow: texts.gshadow.as_ref().map(lines),
        }
    }

    /// The files as they are now.
    pub fn texts(&self) -> Texts {
        let text = |lines: &Vec<String>| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        Texts {
            passwd: text(&self.passwd),
            shadow: self.shadow.as_ref().map(text),
            group: text(&self.group),
            gshadow: self.gshadow.as_ref().map(text),
        }
    }

    /// The user of this name, made if there is none: with a group of the same name, a home below `/home`, and no password.
    ///
    /// # Errors
    /// No number is free, or what stands there about the user cannot be read.
    pub fn ensure(&mut self, name: &UserName, shell: &str) -> Result<Person, String> {
        if let Some(person) = self.person(name)? {
            return Ok(person);
        }
        let group = number_of(&self.group, name.as_str());
        let taken = |number| has_number(&self.passwd, number) || has_number(&self.group, number);
        let uid = PEOPLE.into_iter().find(|number| !taken(*number)).ok_or("no user number is free")?;
        let gid = group.unwrap_or(uid);
        if group.is_none() {
            self.add_group(name.as_str(), gid);
        }
        let field = if self.shadow.is_some() { "x" } else { NO_PASSWORD };
        insert(&mut self.passwd, format!("{name}:{field}:{uid}:{gid}::/home/{name}:{shell}"));
        if let Some(shadow) = &mut self.shadow {
            // Without the day of the last change: then no rule about a password's age applies.
            insert(shadow, format!("{name}:{NO_PASSWORD}::0:99999:7:::"));
        }
        let home = format!("/home/{name}").parse()?;
        Ok(Person { uid, gid, home, new: true })
    }

    fn person(&self, name: &UserName) -> Result<Option<Person>, String> {
        let Some(line) = entry(&self.passwd, name.as_str()) else {
            return Ok(None);
        };
        let fields: Vec<_> = line.split(':').collect();
        let number = |index: usize| fields.get(index).and_then(|text| text.parse().ok());
        let wrong = || format!("passwd has no user number, group number and home for {name}");
        let (uid, gid) = (number(2).ok_or_else(wrong)?, number(3).ok_or_else(wrong)?);
        let home = fields.get(5).ok_or_else(wrong)?.parse()?;
        Ok(Some(Person { uid, gid, home, new: false }))
    }

    /// Gives a user the password with this crypt(3) hash.
    ///
    /// # Errors
    /// The hash would leave its field, or there is no such user. The hash is not shown.
    pub fn set_password(&mut self, name: &UserName, hash: &str) -> Result<(), String> {
        if hash.is_empty() || hash.contains(|c: char| c == ':' || c.is_control() || c.is_whitespace()) {
            return Err(format!("the password hash of {name} is none that crypt(3) makes"));
        }
        self.set_password_field(name, hash)
    }

    /// Lets a user in by key who has no password: where the account is locked, sshd without PAM refuses every key.
    ///
    /// # Errors
    /// There is no such user.
    pub fn open_to_keys(&mut self, name: &UserName) -> Result<(), String> {
        let lines = self.shadow.as_ref().unwrap_or(&self.passwd);
        let field = entry(lines, name.as_str()).and_then(|line| line.split(':').nth(1));
        match field {
            // Only what holds no hash: a locked password stays locked.
            Some("!" | "!!" | "!*" | "*LK*") | None => self.set_password_field(name, NO_PASSWORD),
            Some(_) => Ok(()),
        }
    }

    fn set_password_field(&mut self, name: &UserName, field: &str) -> Result<(), String> {
        let missing = || format!("there is no user {name}");
        let has_shadow = self.shadow.is_some();
        let user = entry_mut(&mut self.passwd, name.as_str()).ok_or_else(missing)?;
        set_field(user, 1, if has_shadow { "x" } else { field });
        let Some(shadow) = &mut self.shadow else {
            return Ok(());
        };
        match entry_mut(shadow, name.as_str()) {
            Some(line) => set_field(line, 1, field),
            None => insert(shadow, format!("{name}:{field}::0:99999:7:::")),
        }
        Ok(())
    }

    /// Makes a user a member of a group, which is made if there is none: cloud-init does the same.
    ///
    /// # Errors
    /// No number is free.
    pub fn join(&mut self, user: &UserName, group: &UserName) -> Result<(), String> {
        if entry(&self.group, group.as_str()).is_none() {
            let gid = SYSTEM.rev().find(|number| !has_number(&self.group, *number)).ok_or("no group number is free")?;
            self.add_group(group.as_str(), gid);
        }
        for lines in [Some(&mut self.group), self.gshadow.as_mut()].into_iter().flatten() {
            let Some(line) = entry_mut(lines, group.as_str()) else {
                continue;
            };
            let members = line.split(':').nth(3).unwrap_or_default();
            if !members.split(',').any(|member| member == user.as_str()) {
                let all = if members.is_empty() { user.to_string() } else { format!("{members},{user}") };
                set_field(line, 3, &all);
            }
        }
        Ok(())
    }

    fn add_group(&mut self, name: &str, gid: u32) {
        insert(&mut self.group, format!("{name}:x:{gid}:"));
        if let Some(gshadow) = self.gshadow.as_mut().filter(|lines| entry(lines, name).is_none()) {
            insert(gshadow, format!("{name}:!::"));
        }
    }

    /// The numbers of `user` or `user:group`; without a group it is the user's own.
    ///
    /// # Errors
    /// There is no such user or group.
    pub fn owner(&self, owner: &str) -> Result<(u32, u32), String> {
        let (user, group) = owner.split_once(':').map_or((owner, None), |(user, group)| (user, Some(group)));
        let line = entry(&self.passwd, user).ok_or_else(|| format!("there is no user {user:?}"))?;
        let number = |index: usize| line.split(':').nth(index).and_then(|text| text.parse().ok());
        let (uid, own) = number(2).zip(number(3)).ok_or_else(|| format!("passwd has no numbers for {user:?}"))?;
        let gid = match group {
            Some(group) => number_of(&self.group, group).ok_or_else(|| format!("there is no group {group:?}"))?,
            None => own,
        };
        Ok((uid, gid))
    }
}

fn entry<'a>(lines: &'a [String], name: &str) -> Option<&'a String> {
    lines.iter().find(|line| line.split(':').next() == Some(name) && line.contains(':'))
}

fn entry_mut<'a>(lines: &'a mut [String], name: &str) -> Option<&'a mut String> {
    lines.iter_mut().find(|line| line.split(':').next() == Some(name) && line.contains(':'))
}

fn number_of(lines: &[String], name: &str) -> Option<u32> {
    entry(lines, name)?.split(':').nth(2)?.parse().ok()
}

fn has_number(lines: &[String], number: u32) -> bool {
    lines.iter().any(|line| line.split(':').nth(2).and_then(|text| text.parse::<u32>().ok()) == Some(number))
}

fn set_field(line: &mut String, index: usize, value: &str) {
    let mut fields: Vec<&str> = line.split(':').collect();
    while fields.len() <= index {
        fields.push("");
    }
    fields[index] = value;
    *line = fields.join(":");
}

/// Adds a line, in front of NIS's `+` at the end, behind which nothing is looked at.
fn insert(lines: &mut Vec<String>, line: String) {
    let at = lines.iter().position(|line| line.starts_with('+')).unwrap_or(lines.len());
    lines.insert(at, line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        Texts {
            passwd: "root:x:0:0:root:/root:/bin/bash\nbroken\nold:x:1000:1000:,,,:/srv/old:/bin/sh\n+::::::\n".to_owned(),
            shadow: Some("root:!*:20000:0:99999:7:::\nold:!$6$a$b:1:::::\n".to_owned()),
            group: "root:x:0:\nsudo:x:27:\nold:x:1001:\ndocker:x:999:old\n".to_owned(),
            gshadow: Some("root:*::\nsudo:*::\nold:!::\ndocker:!::old\n".to_owned()),
        }
    }

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_person_is_nobody_of_the_system() {
        let table = [
            (
                "root:x:0:0::/root:/bin/bash\nops:x:1001:1001::/home/ops:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n",
                Some("ann"),
            ),
            ("ann:x:1000:1000::/home/ann:/usr/sbin/nologin\nops:x:1001:1001::/home/ops:/bin/bash\n", Some("ops")),
            ("nobody:x:65534:65534::/:/bin/sh\nsync:x:4:65534::/bin:/bin/sync\n", None),
            ("a b:x:1000:1000::/:/bin/sh\nx:1000\n\0:x:y:z\n", None),
            ("", None),
        ];
        for (passwd, expected) in table {
            assert_eq!(first_person(passwd).as_ref().map(UserName::as_str), expected, "{passwd}");
        }
    }

    #[test]
    fn a_user_is_made_once() {
        let mut accounts = Accounts::parse(&texts());
        let home = "/home/admin".parse().unwrap();
        let admin = accounts.ensure(&name("admin"), "/bin/bash").unwrap();
        // 1000 is a user's and 1001 a group's.
        assert_eq!(admin, Person { uid: 1002, gid: 1002, home, new: true });
        assert_eq!(accounts.ensure(&name("admin"), "/bin/sh").unwrap(), Person { new: false, ..admin });
        accounts.join(&name("admin"), &name("sudo")).unwrap();
        accounts.join(&name("admin"), &name("docker")).unwrap();
        accounts.join(&name("admin"), &name("docker")).unwrap();
        accounts.join(&name("admin"), &name("lab")).unwrap();
        let now = accounts.texts();
        let passwd = texts().passwd.replace("+:", "admin:x:1002:1002::/home/admin:/bin/bash\n+:");
        assert_eq!(now.passwd, passwd);
        assert_eq!(now.shadow.unwrap(), texts().shadow.unwrap() + "admin:*::0:99999:7:::\n");
        assert_eq!(
            now.group,
            "root:x:0:\nsudo:x:27:admin\nold:x:1001:\ndocker:x:999:old,admin\nadmin:x:1002:\nlab:x:998:admin\n"
        );
        let gshadow = "root:*::\nsudo:*::admin\nold:!::\ndocker:!::old,admin\nadmin:!::\nlab:!::admin\n";
        assert_eq!(now.gshadow.unwrap(), gshadow);
    }

    #[test]
    fn an_existing_user_keeps_what_it_has() {
        let mut accounts = Accounts::parse(&texts());
        let home = "/srv/old".parse().unwrap();
        assert_eq!(accounts.ensure(&name("old"), "/bin/bash").unwrap(), Person { uid: 1000, gid: 1000, home, new: false });
        assert_eq!(accounts.ensure(&name("root"), "/bin/bash").unwrap().home.as_str(), "/root");
        accounts.open_to_keys(&name("root")).unwrap();
        accounts.open_to_keys(&name("old")).unwrap();
        let now = accounts.texts();
        assert_eq!(now.passwd, texts().passwd);
        assert_eq!(now.shadow.unwrap(), texts().shadow.unwrap().replace("!*", "*"));
        // A group that is there already becomes the user's own.
        let mut accounts = Accounts::parse(&Texts { passwd: "root:x:0:0::/:\n".to_owned(), ..texts() });
        let old = accounts.ensure(&name("old"), "/bin/bash").unwrap();
        assert_eq!((old.uid, old.gid), (1000, 1001));
    }

    #[test]
    fn passwords() {
        let mut accounts = Accounts::parse(&texts());
        accounts.set_password(&name("old"), "$6$salt$hash").unwrap();
        assert_eq!(accounts.texts().shadow.unwrap(), "root:!*:20000:0:99999:7:::\nold:$6$salt$hash:1:::::\n");
        let table = [
            ("old", "a:b", "the password hash of old is none that crypt(3) makes"),
            ("old", "a\nroot:", "the password hash of old is none that crypt(3) makes"),
            ("old", "", "the password hash of old is none that crypt(3) makes"),
            ("nobody", "$6$a$b", "there is no user nobody"),
        ];
        for (user, hash, error) in table {
            assert_eq!(accounts.set_password(&name(user), hash).unwrap_err(), error, "{hash:?}");
        }
        // Without shadow files the hash stands in passwd.
        let mut accounts = Accounts::parse(&Texts { shadow: None, gshadow: None, ..texts() });
        accounts.ensure(&name("admin"), "/bin/sh").unwrap();
        accounts.set_password(&name("admin"), "$6$a$b").unwrap();
        let now = accounts.texts();
        assert!(now.passwd.contains("\nadmin:$6$a$b:1002:1002::/home/admin:/bin/sh\n") && now.shadow.is_none());
    }

    #[test]
    fn owners() {
        let accounts = Accounts::parse(&texts());
        let table = [
            ("root", Ok((0, 0))),
            ("old", Ok((1000, 1000))),
            ("old:docker", Ok((1000, 999))),
            ("x", Err("there is no user \"x\"".to_owned())),
            ("old:x", Err("there is no group \"x\"".to_owned())),
            ("broken", Err("there is no user \"broken\"".to_owned())),
        ];
        for (owner, expected) in table {
            assert_eq!(accounts.owner(owner), expected, "{owner}");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_refused() {
        for line in ["u:x:1:", "u:x:a:b:c:/h:", "u:x:1:1::relative:/bin/sh", "u:x:1:1::/a/../b:/bin/sh"] {
            let mut accounts = Accounts::parse(&Texts { passwd: format!("{line}\n"), ..texts() });
            assert!(accounts.ensure(&name("u"), "/bin/sh").is_err(), "{line}");
        }
    }
}
