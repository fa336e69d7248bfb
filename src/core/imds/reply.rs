//! What a caller that is known is answered.

use std::net::Ipv4Addr;

use super::{
    defaults::Item,
    directory::Told,
    ec2::Answer,
    instance::Kind,
    nocloud,
    request::{Asked, asked},
    token::{self, Key},
};

/// The methods that make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// PUT.
    Put,
    /// POST.
    Post,
    /// Any other; HEAD too, which would have handed out what it does not show.
    Other,
}

/// A request, as far as it counts.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Its method.
    pub method: Method,
    /// Its path, without what is after a question mark.
    pub path: &'a str,
    /// The token in `X-aws-ec2-metadata-token`.
    pub token: Option<&'a [u8]>,
    /// The life in `X-aws-ec2-metadata-token-ttl-seconds`.
    pub ttl: Option<&'a [u8]>,
    /// Whether it has an `X-Forwarded-For`: it came through a proxy that may not know whom it answers.
    pub forwarded: bool,
    /// The address that it came from.
    pub address: Ipv4Addr,
    /// The mark of the wire that it came in by.
    pub mark: u32,
    /// The second at which it came.
    pub now: u64,
}

/// How the service is set.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether the EC2 metadata are for those with a token alone.
    pub require_token: bool,
    /// What tokens are signed with.
    pub key: Key,
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 200, with this text.
    Text(String),
    /// The first text for whoever is the first to be handed that item; later the second, or 404 where there is none.
    Once(Item, String, Option<String>),
    /// 200, with a token of so many seconds.
    Token(String, u64),
    /// What is in the body is a report.
    Report,
    /// An error's status, and what is wrong.
    Refused(u16, &'static str),
}

const NOT_FOUND: Reply = Reply::Refused(404, "there is nothing here");
/// cloud-init asks again then, and does so for a while.
const LATER: Reply = Reply::Refused(503, "ask again later");

/// Decides on an answer.
pub fn reply(told: &Told, call: Call<'_>, rules: &Rules) -> Reply {
    let asked = asked(call.path);
    match (asked, call.method) {
        (Asked::Token, Method::Put) => give_token(told, call, rules),
        (Asked::Ready, Method::Post) => Reply::Report,
        (Asked::Token | Asked::Ready, _) => Reply::Refused(405, "this is not asked for by that method"),
        (Asked::Nothing, _) => NOT_FOUND,
        (_, Method::Get) => match check(told, asked, call, rules) {
            Some(refused) => refused,
            None if told.instance.lacks_seed() => LATER,
            None => read(told, asked, call),
        },
        _ => Reply::Refused(405, "this can only be read"),
    }
}

/// The method that something is asked for by: for the header `Allow` of a 405.
pub fn allowed(asked: Asked<'_>) -> &'static str {
    match asked {
        Asked::Token => "PUT",
        Asked::Ready => "POST",
        _ => "GET",
    }
}

fn give_token(told: &Told, call: Call<'_>, rules: &Rules) -> Reply {
    if call.forwarded {
        return Reply::Refused(403, "no token is given out through a proxy");
    }
    let Some(ttl) = token::ttl(call.ttl) else {
        return Reply::Refused(400, "X-aws-ec2-metadata-token-ttl-seconds must say 1 to 21600");
    };
    Reply::Token(rules.key.token(told.instance.uuid, call.now.saturating_add(ttl)), ttl)
}

/// Why somebody must not read that; none if they may.
fn check(told: &Told, asked: Asked<'_>, call: Call<'_>, rules: &Rules) -> Option<Reply> {
    let good = call.token.map(|token| rules.key.is_good(token, told.instance.uuid, call.now));
    match (good, asked) {
        (Some(false), _) => Some(Reply::Refused(401, "this token is not good, or not any more")),
        // cloud-init's NoCloud asks without one. A clone's maker has said so, and its secrets end when it is ready.
        (None, Asked::NoCloud(_)) if told.instance.kind == Kind::Clone => None,
        (None, _) if rules.require_token => Some(Reply::Refused(401, "this is for those with a token: PUT /latest/api/token")),
        _ => None,
    }
}

fn read(told: &Told, asked: Asked<'_>, call: Call<'_>) -> Reply {
    let instance = &told.instance;
    let (text, later) = match asked {
        Asked::Versions => return Reply::Text(super::request::VERSIONS.join("\n")),
        Asked::NoCloud(document) => (nocloud::document(instance, document), Some(nocloud::handed_out(instance, document))),
        Asked::Ec2(path) => match told.answers.get(path) {
            // A key that is listed has to be there: without it cloud-init's Ec2 drops all that it has read.
            Some(Answer::Text(text)) => (text.clone(), (asked.item() == Some(Item::Keys)).then(String::new)),
            Some(Answer::CardsAddress) => return Reply::Text(instance.address(call.mark, call.address).to_string()),
            None => return NOT_FOUND,
        },
        Asked::Token | Asked::Ready | Asked::Nothing => return NOT_FOUND,
    };
    match asked.item().filter(|item| instance.content.once.contains(item)) {
        Some(item) => Reply::Once(item, text, later),
        None => Reply::Text(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::imds::{
        ec2::{Answers, tests::instance},
        instance::{Content, Handed, Instance},
    };

    fn told(change: impl FnOnce(&mut Instance)) -> Told {
        let mut instance = Instance { kind: Kind::Other, ..instance() };
        change(&mut instance);
        Told { answers: Answers::of(&instance, "hv1"), instance }
    }

    fn get(path: &str) -> Call<'_> {
        let address = Ipv4Addr::new(192, 0, 2, 77);
        Call { method: Method::Get, path, token: None, ttl: None, forwarded: false, address, mark: 7, now: 1000 }
    }

    fn rules(require_token: bool) -> Rules {
        Rules { require_token, key: Key::new([7; 32]) }
    }

    fn status(reply: &Reply) -> u16 {
        if let Reply::Refused(status, _) = reply { *status } else { 200 }
    }

    #[test]
    fn what_is_read() {
        let told = told(|_| ());
        let text = |text: &str| Reply::Text(text.to_owned());
        let table = [
            ("/latest/meta-data/instance-id", text("11111111-2222-4333-8444-555555555555")),
            ("/2009-04-04/user-data", text("#!/bin/sh\n")),
            ("/nocloud/user-data", text("#!/bin/sh\n")),
            // What libvirt knows, and not what it uses.
            ("/latest/meta-data/local-ipv4", text("192.0.2.10")),
            ("/nocloud/network-config", text("{}\n")),
            ("/latest/vendor-data", NOT_FOUND),
            ("/healthz", NOT_FOUND),
            ("/tpl/ready", Reply::Refused(405, "this is not asked for by that method")),
        ];
        for (path, expected) in table {
            assert_eq!(reply(&told, get(path), &rules(false)), expected, "{path}");
        }
        let leased = Call { address: Ipv4Addr::new(192, 0, 2, 9), ..get("/latest/meta-data/local-ipv4") };
        assert_eq!(reply(&told, leased, &rules(false)), text("192.0.2.9"));
        let other_card = Call { mark: 8, ..get("/latest/meta-data/local-ipv4") };
        assert_eq!(reply(&told, other_card, &rules(false)), text("192.0.2.77"));
        assert_eq!(status(&reply(&told, Call { method: Method::Put, ..get("/latest/user-data") }, &rules(false))), 405);
        assert_eq!(reply(&told, Call { method: Method::Post, ..get("/tpl/ready") }, &rules(true)), Reply::Report);
    }

    #[test]
    fn tokens() {
        let (one, path) = (told(|_| ()), "/latest/meta-data/instance-id");
        let put = |ttl: &'static [u8]| Call { method: Method::Put, ttl: Some(ttl), ..get("/latest/api/token") };
        let Reply::Token(token, 60) = reply(&one, put(b"60"), &rules(true)) else { panic!() };
        let with = |now: u64| Call { token: Some(token.as_bytes()), now, ..get(path) };
        let clone = told(|instance| instance.kind = Kind::Clone);
        let other = told(|instance| instance.uuid = uuid::Uuid::nil());
        let nocloud = "/nocloud/meta-data";
        let table = [
            ("a life of nothing", status(&reply(&one, put(b"0"), &rules(true))), 400),
            ("through a proxy", status(&reply(&one, Call { forwarded: true, ..put(b"60") }, &rules(true))), 403),
            ("with it", status(&reply(&one, with(1059), &rules(true))), 200),
            ("too late", status(&reply(&one, with(1060), &rules(true))), 401),
            ("too late where none is needed", status(&reply(&one, with(1060), &rules(false))), 401),
            ("another's", status(&reply(&other, with(1000), &rules(true))), 401),
            ("without", status(&reply(&one, get(path), &rules(true))), 401),
            ("without where none is needed", status(&reply(&one, get(path), &rules(false))), 200),
            ("NoCloud without", status(&reply(&one, get(nocloud), &rules(true))), 401),
            ("a clone's NoCloud without", status(&reply(&clone, get(nocloud), &rules(true))), 200),
        ];
        for (case, found, expected) in table {
            assert_eq!(found, expected, "{case}");
        }
    }

    /// An empty seed would be a clone's for good. Whoever is told to ask again later has lost nothing.
    #[test]
    fn a_clone_whose_seed_is_not_known_is_told_nothing() {
        let seed = || Handed { meta_data: "a: 1\n".to_owned(), network_config: String::new() };
        let clone = |handed: bool, ready: bool, known: bool| {
            told(|instance| {
                (instance.kind, instance.handed, instance.ready) = (Kind::Clone, handed, ready);
                instance.content = Content { nocloud: known.then(seed), ..Content::default() };
            })
        };
        let table = [
            ("its seed is known", clone(true, false, true), 200),
            ("it is not", clone(true, false, false), 503),
            ("it has been told, and its seed is gone", clone(true, true, false), 200),
            ("it was made with a seed volume", clone(false, false, false), 200),
        ];
        for (case, told, expected) in table {
            for path in ["/", "/latest/meta-data/instance-id", "/nocloud/meta-data", "/nocloud/user-data", "/nocloud/vendor-data"]
            {
                assert_eq!(status(&reply(&told, get(path), &rules(false))), expected, "{case}: {path}");
            }
            assert_eq!(status(&reply(&told, get("/healthz"), &rules(false))), 404, "{case}");
            let ttl: Option<&[u8]> = Some(b"60");
            let token = Call { method: Method::Put, ttl, ..get("/latest/api/token") };
            assert!(matches!(reply(&told, token, &rules(false)), Reply::Token(..)), "{case}");
            // It says something, and is told nothing.
            let ready = Call { method: Method::Post, ..get("/tpl/ready") };
            assert_eq!(reply(&told, ready, &rules(false)), Reply::Report, "{case}");
        }
    }

    #[test]
    fn once() {
        let told = told(|instance| instance.content.once = Item::ALL.into());
        let Reply::Once(Item::UserData, first, None) = reply(&told, get("/latest/user-data"), &rules(false)) else { panic!() };
        assert_eq!(first, "#!/bin/sh\n");
        let Reply::Once(Item::Keys, first, Some(later)) = reply(&told, get("/nocloud/meta-data"), &rules(false)) else {
            panic!()
        };
        assert!(first.contains("ssh-ed25519") && !later.contains("ssh-ed25519"));
        let path = "/latest/meta-data/public-keys/0/openssh-key";
        assert!(matches!(reply(&told, get(path), &rules(false)), Reply::Once(Item::Keys, _, Some(later)) if later.is_empty()));
        assert!(matches!(reply(&told, get("/latest/meta-data/hostname"), &rules(false)), Reply::Text(_)));
    }
}
