use proptest::prelude::{any, proptest};

use super::{super::Said, *};
use crate::core::{
    answers::{render, tests::variables},
    pipeline::PackageName,
};

fn words() -> Vec<PackageName> {
    ["vim", "htop"].map(|word| word.parse().unwrap()).to_vec()
}

#[test]
fn each_undefined_variable_has_its_place() {
    let table: [(&str, &[Said<'_>]); 8] = [
        ("{{ locale }} {{ mirror.host }} {% for p in packages %}{{ p }}{{ loop.index }}{% endfor %}", &[]),
        ("{{ a }} x\n {{ b.c }} {{ locale }}{{ a }}", &[(1, 4, "a"), (2, 5, "b.c"), (2, 27, "a")]),
        ("{% if layout == 'lvm' %}\n{% if fnord %}{% endif %}{% endif %}", &[(2, 7, "fnord")]),
        ("{{ mirror.hots }} {{ mirror.host.x }}", &[(1, 4, "mirror.hots")]),
        ("{{ 'fnord' }} {# fnord #} fnord {{ locale | fnord2 }} {{ fnord }}", &[(1, 58, "fnord")]),
        ("{% if fnord is defined %}{% endif %}{{ fnord | default('x') }}{% if other is not defined %}{% endif %}", &[]),
        ("{% for x in xs %}{{ x }}{% endfor %}", &[(1, 13, "xs")]),
        ("{{ range(3) }}{{ \"}}\" ~ fnord }}", &[(1, 25, "fnord")]),
    ];
    let words = words();
    for (template, expected) in table {
        let faults = undefined(template, &variables(&words));
        let shown: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column, fault.message.clone())).collect();
        let expected: Vec<_> = expected.iter().map(|(line, column, name)| (*line, *column, undefined_message(name))).collect();
        assert_eq!(shown, expected, "{template}");
    }
}

#[test]
fn lines_are_traced_to_the_template() {
    let words = words();
    let table: [(&str, &str, &[usize]); 6] = [
        ("a\nb\n", "a\nb\n", &[1, 2]),
        ("a\n{%- if true %}\nb\n{%- endif %}\nc\n", "a\nb\nc\n", &[1, 3, 5]),
        ("{% for p in packages -%}\n  {{ p }}\n{% endfor %}z\n", "vim\nhtop\nz\n", &[2, 2, 3]),
        ("{#- x\n y -#}\n  a\n {{\n locale }}\n", "a\n C\n", &[3, 4]),
        ("{% raw %}\n{{ x }}\n{% endraw %}\nb\n", "\n{{ x }}\n\nb\n", &[1, 2, 3, 4]),
        ("x {{ 'a\nb' }}\nc\n", "x a\nb\nc\n", &[1, 1, 3]),
    ];
    for (template, expected, lines) in table {
        let rendered = render("t", &marked(template), &variables(&words)).unwrap();
        let (text, origins) = origins(&rendered);
        assert_eq!((text.as_str(), origins.as_slice()), (expected, lines), "{template}");
        assert_eq!(text, render("t", template, &variables(&words)).unwrap(), "{template}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), words in "(\\{\\{|\\}\\}|\\{%-?|-?%\\}|\\{#|#\\}|if |for x in |endif|[a-z.'\"|\\\\ \n]){0,40}") {
        let packages = [];
        for template in [&text, &words] {
            undefined(template, &variables(&packages));
            let _ = render("t", &marked(template), &variables(&packages)).map(|rendered| origins(&rendered));
        }
    }
}
