//! `tpl schema`: the JSON Schema of what operators write.

use anyhow::Result;

use crate::{
    cli::{Schema, SchemaArgs},
    core::{fleet, imds::defaults, schema},
    ui,
};

/// Runs `tpl schema`.
///
/// # Errors
/// stdout cannot be written to.
pub fn run(args: &SchemaArgs) -> Result<()> {
    ui::json(&match args.what {
        Schema::Pipeline => schema::pipeline(),
        Schema::Fleet => fleet::schema(),
        Schema::Metadata => defaults::schema(),
    })
}
