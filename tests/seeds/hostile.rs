//! Text that means something else to YAML, to MIME, or to a template: cloud-init must read it as it was meant.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{
    clone::{KEY, Wishes},
    config,
};

const HOSTILE: [&str; 30] = [
    "no",
    "1:30",
    "0o17",
    "017",
    "1e3",
    ".5",
    "1_000",
    "2026-11-21",
    "~",
    "null",
    "=",
    "<<",
    "{{x}}",
    "{% raw %}",
    "- a",
    "#x",
    "a # b",
    "a: b",
    "key:",
    "'",
    "\"",
    "\\n",
    "%YAML 1.1",
    "--- a",
    "...",
    "!!python/object/apply:os.system [ls]",
    "&a *a",
    " lead and trail ",
    "ä\u{85}\u{2028}\u{feff}\u{1f600}",
    "\u{1}\u{7f}\u{1b}[2J\ttab",
];

#[test]
fn commands_and_contents_arrive_as_they_were_written() {
    let mut commands: Vec<String> = HOSTILE.iter().map(|text| (*text).to_owned()).collect();
    commands.push(format!("if true; then\n  {}\nfi\n\n", HOSTILE.join("\n  ")));
    commands.push(HOSTILE.join("\r\n"));
    commands.push("## template: jinja\n#cloud-config\nhostname: evil\n".to_owned());
    commands.push("x".repeat(5000));
    let files: Vec<_> =
        commands.iter().enumerate().map(|(index, text)| json!({ "path": format!("/{index}"), "content": text })).collect();
    let spec = toml::to_string(&json!({ "user": "no", "runcmd": commands, "write_files": files })).unwrap();
    let read = config(&Wishes::new(&spec).user_data());
    assert_eq!(read["runcmd"], json!(commands));
    assert_eq!(read["users"][0]["name"], "no");
    for (index, text) in commands.iter().enumerate() {
        assert_eq!(read["write_files"][index]["content"], json!(STANDARD.encode(text)));
    }
}

#[test]
fn comments_of_keys_stay_comments() {
    let comments = HOSTILE.iter().filter(|text| !text.contains(|c: char| c.is_control()));
    let keys: Vec<String> = comments.map(|comment| format!("{KEY} {}", comment.trim())).collect();
    let user = |(index, key): (usize, &String)| json!({ "name": format!("u{index}"), "ssh_keys": [key] });
    let users: Vec<_> = keys.iter().enumerate().map(user).collect();
    let config = config(&Wishes::new(&toml::to_string(&json!({ "users": users })).unwrap()).user_data());
    let read: Vec<_> = config["users"].as_array().unwrap().iter().map(|user| user["ssh_authorized_keys"].clone()).collect();
    assert_eq!(read, keys.iter().map(|key| json!([key])).collect::<Vec<_>>());
}

#[test]
fn a_text_about_mime_does_not_make_a_message() {
    // cloud-init takes for a message what has this word near its beginning, and damages what is not ASCII in it.
    let command = "printf 'MIME-Version: 1.0\\n\\nä' | sendmail root";
    let spec = toml::to_string(&json!({ "user": "debian", "ssh_keys": [format!("{KEY} Mime-Version: ä")], "runcmd": [command] }))
        .unwrap();
    let user_data = Wishes::new(&spec).user_data();
    let read = config(&user_data);
    assert_eq!(read["runcmd"], json!([command]));
    assert_eq!(read["users"][0]["ssh_authorized_keys"], json!([format!("{KEY} Mime-Version: ä")]));
    assert_eq!(read["hostname"], "web01");
    assert!(user_data.starts_with("Content-Type: multipart/mixed"), "{user_data}");
}
