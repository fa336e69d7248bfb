use super::*;
use crate::core::answers::tests::variables;

const OFF: &str = "d-i debian-installer/exit/poweroff boolean true\n";

fn said(kind: AnswersKind, text: &str) -> Result<String, String> {
    check("a.cfg", text, kind, &variables(&[])).map_err(|invalid| invalid.to_string())
}

#[test]
fn what_is_right_is_rendered() {
    let text = format!("d-i a/b string {{{{ locale }}}}\n{OFF}");
    assert_eq!(said(AnswersKind::Preseed, &text).unwrap(), format!("d-i a/b string C\n{OFF}"));
}

#[test]
fn faults_stand_at_their_place_in_the_template() {
    let undefined = "docs/pipelines.md lists those that an answer file may use";
    let gets = "of what the installer gets)";
    let table = [
        (
            format!("d-i a/b string {{{{ fnord }}}}\n{OFF}{{% if false %}}{{{{ other }}}}{{% endif %}}\n"),
            format!("a.cfg:1:19: undefined variable fnord; {undefined}\na.cfg:3:18: undefined variable other; {undefined}"),
        ),
        (
            format!("{{% if %}}\nd-i a/b string {{{{ fnord }}}}\n{OFF}"),
            "a.cfg:1:7: syntax error: unexpected end of block".to_owned(),
        ),
        (
            format!("{{%- if cloud_init %}}\nd-i a/b strin x\n{{%- endif %}}\n{OFF}"),
            "a.cfg:2:1: \"strin\" is no type of a question: there are string, boolean, select, multiselect, password, text, note, error, title".to_owned(),
        ),
        (
            format!("{{%- for i in range(2) %}}\nd-i a/{{{{ i }}}} boolean {{{{ locale }}}}\n{{%- endfor %}}\n{OFF}"),
            format!("a.cfg:2:1: a/0 is true or false (line 2 {gets}\na.cfg:2:1: a/1 is true or false (line 3 {gets}"),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(said(AnswersKind::Preseed, &text), Err(expected), "{text}");
    }
}

#[test]
fn each_installer_has_its_own_words() {
    let text = "autopart\npoweroff\n";
    assert!(said(AnswersKind::Kickstart, text).is_ok());
    assert!(said(AnswersKind::Preseed, text).is_err() && said(AnswersKind::Autoinstall, text).is_err());
}
