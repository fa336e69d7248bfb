//! MIME multi-part archives, as cloud-init takes several documents at once.
//! <https://docs.cloud-init.io/en/latest/explanation/format/mime-multi-part.html>

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// One document of an archive.
pub(in crate::core) struct Part<'a> {
    /// Its MIME type; none if it is a MIME message itself, and brings its headers along.
    pub kind: Option<&'a str>,
    /// What cloud-init calls it in its log, and the file that it puts a script in.
    pub name: &'a str,
    /// How cloud-init merges it with the cloud-config before it.
    pub merge: Option<&'a str>,
    /// The document.
    pub text: &'a str,
}

/// The width of base64's lines, RFC 2045.
const WIDTH: usize = 76;

/// Writes an archive. No part can end early: its boundary is in none of them.
pub(in crate::core) fn archive(parts: &[Part<'_>]) -> String {
    let bodies: Vec<String> = parts.iter().map(Part::body).collect();
    // With so many tries as there can be occurrences one is free.
    let free = |boundary: &String| !bodies.iter().any(|body| body.contains(boundary.as_str()));
    let boundary = (0_u64..).map(|number| format!("==tpl-part-{number}==")).find(free).unwrap_or_default();
    let mut text = format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\n\n");
    for body in bodies {
        text.push_str(&format!("--{boundary}\n{body}\n"));
    }
    text.push_str(&format!("--{boundary}--\n"));
    text
}

impl Part<'_> {
    /// Headers and content. What is not plain ASCII goes in base64: Python's parser of messages damages it otherwise.
    fn body(&self) -> String {
        let Some(kind) = self.kind else {
            return self.text.trim_start().to_owned();
        };
        let plain = self.text.bytes().all(|b| b == b'\n' || b == b'\t' || (b' '..=b'~').contains(&b));
        let (encoding, content) = if plain { ("7bit", self.text.to_owned()) } else { ("base64", base64(self.text)) };
        let merge = self.merge.map(|merge| format!("Merge-Type: {merge}\n")).unwrap_or_default();
        format!(
            "Content-Type: {kind}; charset=\"utf-8\"\nContent-Transfer-Encoding: {encoding}\n\
             Content-Disposition: attachment; filename=\"{}\"\n{merge}\n{content}",
            self.name
        )
    }
}

fn base64(text: &str) -> String {
    let encoded = STANDARD.encode(text);
    let lines: Vec<&str> = (0..encoded.len()).step_by(WIDTH).map(|at| &encoded[at..encoded.len().min(at + WIDTH)]).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_ends_early() {
        let hostile = "#!/bin/sh\n--==tpl-part-0==--\n--==tpl-part-1==\n";
        let parts = [
            Part { kind: Some("text/x-shellscript"), name: "user-data", merge: None, text: hostile },
            Part { kind: Some("text/cloud-config"), name: "tpl", merge: Some("list(append)"), text: "#cloud-config\na: ä\n" },
            Part { kind: None, name: "mime", merge: None, text: "\nContent-Type: text/plain\nMIME-Version: 1.0\n\nx" },
        ];
        let expected = format!(
            "\
Content-Type: multipart/mixed; boundary=\"==tpl-part-2==\"
MIME-Version: 1.0

--==tpl-part-2==
Content-Type: text/x-shellscript; charset=\"utf-8\"
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment; filename=\"user-data\"

{hostile}
--==tpl-part-2==
Content-Type: text/cloud-config; charset=\"utf-8\"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename=\"tpl\"
Merge-Type: list(append)

I2Nsb3VkLWNvbmZpZwphOiDDpAo=
--==tpl-part-2==
Content-Type: text/plain
MIME-Version: 1.0

x
--==tpl-part-2==--
"
        );
        assert_eq!(archive(&parts), expected);
    }

    #[test]
    fn base64_has_short_lines() {
        let lines: Vec<usize> = base64(&"x".repeat(100)).lines().map(str::len).collect();
        assert_eq!(lines, [76, 60]);
        assert_eq!(base64(""), "");
    }
}
