//! The file with a key for updates, in the format that BIND's `tsig-keygen` writes.

use crate::core::{secret::Secret, ssh_key::decode_base64};

/// A key that is shared with a server, RFC 8945.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsigKey {
    /// Its name, which the server knows it by; lower case.
    pub name: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The key itself.
    pub secret: Secret<Vec<u8>>,
}

/// The ways to sign that RFC 8945 recommends. It advises against those with MD5 and SHA-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    HmacSha256,
    /// HMAC with SHA-384.
    HmacSha384,
    /// HMAC with SHA-512.
    HmacSha512,
}

/// Reads a key file: `key "name" { algorithm hmac-sha256; secret "base64"; };`.
///
/// # Errors
/// What is wrong with it, without anything that might be the secret.
pub fn parse_key(text: &str) -> Result<TsigKey, String> {
    let tokens = tokens(text)?;
    let words: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let shape = || {
        "this is no key file: it has one  key \"name\" { algorithm hmac-sha256; secret \"…\"; };  as tsig-keygen writes"
            .to_owned()
    };
    let (name, statements) = match words.as_slice() {
        ["key", name, "{", statements @ .., "}", ";"] => (*name, statements),
        _ => return Err(shape()),
    };
    let (mut algorithm, mut secret) = (None, None);
    for statement in statements.chunks(3) {
        match statement {
            ["algorithm", word, ";"] if algorithm.is_none() => algorithm = Some(parse_algorithm(word)?),
            ["secret", word, ";"] if secret.is_none() => secret = Some(*word),
            _ => return Err(shape()),
        }
    }
    let name = parse_name(name).ok_or("the key's name is no name of DNS: labels of letters, digits, '-' and '_'")?;
    let algorithm = algorithm.ok_or("the key has no algorithm")?;
    let secret = decode_base64(secret.ok_or("the key has no secret")?).ok_or("the key's secret is no base64")?;
    Ok(TsigKey { name, algorithm, secret: Secret::new(secret) })
}

fn parse_name(word: &str) -> Option<String> {
    let name = word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase();
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
    (name.len() <= 253 && name.split('.').all(label)).then_some(name)
}

fn parse_algorithm(word: &str) -> Result<Algorithm, String> {
    match word.to_ascii_lowercase().trim_end_matches('.') {
        "hmac-sha256" => Ok(Algorithm::HmacSha256),
        "hmac-sha384" => Ok(Algorithm::HmacSha384),
        "hmac-sha512" => Ok(Algorithm::HmacSha512),
        _ => Err("the key's algorithm is none that tpl signs with: hmac-sha256, hmac-sha384, hmac-sha512".to_owned()),
    }
}

/// Words, braces and semicolons of a BIND configuration, without its three kinds of comments.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").ok_or("a comment has no end")? + 4,
            '{' | '}' | ';' => {
                tokens.push(first.to_string());
                1
            }
            '"' => {
                let word = rest[1..].split_once('"').ok_or("a quotation mark has no second one")?.0;
                tokens.push(word.to_owned());
                word.len() + 2
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "{};\"#".contains(c)).unwrap_or(rest.len());
                tokens.push(rest[..end].to_owned());
                end
            }
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files() {
        let key =
            |name: &str, algorithm| Ok(TsigKey { name: name.to_owned(), algorithm, secret: Secret::new(b"secret".to_vec()) });
        let shape =
            "this is no key file: it has one  key \"name\" { algorithm hmac-sha256; secret \"…\"; };  as tsig-keygen writes";
        let fault = |text: &str| Err(text.to_owned());
        let table = [
            ("key \"tpl_key\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n", key("tpl_key", Algorithm::HmacSha256)),
            (
                "# a\n// b\n/* c\n */key K.example. {secret c2VjcmV0; algorithm HMAC-SHA512;};",
                key("k.example", Algorithm::HmacSha512),
            ),
            ("", fault(shape)),
            ("key a { algorithm hmac-sha256; secret \"c2VjcmV0\"; }", fault(shape)),
            ("key a { algorithm hmac-sha256; algorithm hmac-sha256; secret \"c2VjcmV0\"; };", fault(shape)),
            ("key a { algorithm hmac-sha256; secret \"c2VjcmV0\"; }; key b { };", fault(shape)),
            (
                "key a { algorithm hmac-md5; secret \"c2VjcmV0\"; };",
                fault("the key's algorithm is none that tpl signs with: hmac-sha256, hmac-sha384, hmac-sha512"),
            ),
            ("key a { algorithm hmac-sha256; secret \"c2Vj cmV0\"; };", fault("the key's secret is no base64")),
            ("key a { algorithm hmac-sha256; };", fault("the key has no secret")),
            ("key a { secret c2VjcmV0; };", fault("the key has no algorithm")),
            (
                "key \"a b\" { algorithm hmac-sha256; secret c2VjcmV0; };",
                fault("the key's name is no name of DNS: labels of letters, digits, '-' and '_'"),
            ),
            ("key \"a", fault("a quotation mark has no second one")),
            ("/* key", fault("a comment has no end")),
        ];
        for (text, expected) in table {
            assert_eq!(parse_key(text), expected, "{text}");
        }
    }
}
