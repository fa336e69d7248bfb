//! `tpl seal-ops`: the table of seal operations.

use anyhow::Result;
use serde::Serialize;

use crate::{cli::Output, seal, ui};

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    summary: &'static str,
    families: Vec<String>,
    default: bool,
}

/// Runs `tpl seal-ops`.
///
/// # Errors
/// stdout cannot be written to.
pub fn run(output: Output) -> Result<()> {
    let rows: Vec<Row> = seal::table()
        .iter()
        .map(|operation| Row {
            name: operation.name,
            summary: operation.summary,
            families: operation.families.iter().map(|family| format!("{family:?}").to_lowercase()).collect(),
            default: operation.default,
        })
        .collect();
    if output == Output::Json {
        return ui::json(&rows);
    }
    let heading = ["OPERATION", "DEFAULT", "FAMILIES", "WHAT IT DOES"];
    let cells = rows.iter().map(|row| {
        let families = if row.families.is_empty() { "all".to_owned() } else { row.families.join(" ") };
        vec![row.name.to_owned(), if row.default { "on" } else { "off" }.to_owned(), families, row.summary.to_owned()]
    });
    ui::data(&ui::table(&heading, cells))
}
