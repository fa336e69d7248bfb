//! `tpl schema`.

use super::program::Home;

#[test]
fn each_schema_is_one_document_of_its_own() {
    let home = Home::new();
    for (args, title) in [
        (&["schema"][..], "a pipeline of tpl, pipelines/NAME.toml"),
        (&["schema", "pipeline"], "a pipeline of tpl, pipelines/NAME.toml"),
        (&["schema", "fleet"], "a fleet of tpl, fleets/NAME.toml"),
        (&["schema", "metadata"], "what tpl's metadata service tells domains, metadata.toml"),
    ] {
        let ran = home.tpl(args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
        let schema: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(schema["title"], title);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    }
    assert_eq!(home.tpl(&["schema", "fnord"]).code, 2);
}
